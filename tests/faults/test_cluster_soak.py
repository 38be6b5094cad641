"""Nodes of the broker die at random, and whoever uses them too; `soak.py` says how."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from faults.soak import SETTINGS, Soak
from support.cluster import Cluster
from support.scripted import scripted

KILLS = 12  # `python -m faults.soak --kills 500` is the long version


@pytest.mark.timeout(1800)
def test_nodes_killed_at_random_change_no_bit(cluster: Cluster, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    sys.stderr.write(f"seed {seed}\n")
    cluster.mend()
    with scripted(tmp_path, cluster, settings=SETTINGS) as federation:
        soak = Soak(cluster, federation, tmp_path, random.Random(seed))
        assert soak.run(KILLS, told=lambda said: sys.stderr.write(f"{said}\n")) >= len(
            federation.federation.processes
        )
