"""Weights larger than P7 lets a process have cross the broker, intact and in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from support.broker import Broker
from support.federation import NO_TORCH, Federation
from support.process_memory import MemoryWatch
from tasuki.weights.digest import verify_digest

MOST_MIB = 64
VALUES = 40_000_000  # 160 MB
TURNS = 3

# Values that differ, so that a piece at another's place would show.
TRAINER = f"""
import numpy as np

def make():
    return {{"w": np.arange({VALUES}, dtype="float32")}}

def train(turn):
    weights = turn.weights("numpy")
    weights["w"][turn.hop] += 1
    return turn.result(weights)
"""

RUN = """
name = "large"
rounds = 1
order = "fixed"
trainer = "walk"
sites = ["site-1", "site-2", "site-3"]
[weights]
initial = "walk:make"
"""


@pytest.fixture
def federation(
    tmp_path: Path, broker: Broker, vhost: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Federation]:
    (tmp_path / "walk.py").write_text(TRAINER)
    path = os.pathsep.join([str(NO_TORCH), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path.rstrip(os.pathsep))
    with Federation(tmp_path, broker, vhost) as federation:
        yield federation


def expected_digest(folder: Path) -> str:
    """Of the same done in one place, with the safetensors library."""
    values = np.arange(VALUES, dtype="float32")
    values[:TURNS] += 1
    path = folder / "expected.safetensors"
    save_file({"w": values}, path)
    return verify_digest(path)


def test_160_mb_go_round_intact_and_cost_each_service_at_most_64_mib(
    federation: Federation, tmp_path: Path
) -> None:
    run = tmp_path / "run.toml"
    run.write_text(RUN)

    with MemoryWatch({name: each.pid for name, each in federation.processes.items()}) as watch:
        ended = federation.submit(run)

    assert ended.code == 0, ended.err
    assert ended.last["turns"] == TURNS
    assert ended.last["digest"] == expected_digest(tmp_path)
    too_much = {name: each for name, each in watch.found.items() if each.extra > MOST_MIB}
    assert too_much == {}
