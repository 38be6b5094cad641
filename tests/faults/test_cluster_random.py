"""Nodes of the broker killed at random, among everybody else: P1, P2 and P4."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from faults.soak import SETTINGS, Soak
from support.cluster import Cluster
from support.scripted import scripted

NODES = 60


@pytest.mark.timeout(1500)
def test_no_random_kill_of_nodes_and_services_changes_a_bit(
    cluster: Cluster, tmp_path: Path
) -> None:
    seed = secrets.randbelow(2**31)
    print(f"seed {seed}")  # noqa: T201 - shown if it fails
    with scripted(tmp_path, cluster, settings=SETTINGS) as federation:
        soak = Soak(cluster, federation, seed=seed)
        laps = soak.run(NODES, tmp_path)

    assert NODES == soak.killed["node"]
    assert {"site", "trainer", "controller"} <= set(soak.killed)
    assert all(each.count for each in laps)
