"""Weights larger than P7 lets a process have cross the broker, intact and in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pika
import pytest
from safetensors.numpy import save_file

from support.broker import Broker
from support.federation import NO_TORCH, SITES, Federation
from support.members import EVERYTHING
from support.process_memory import Memory, MemoryWatch
from support.waiting import wait_until
from tasuki.weights.chunks import CHUNK_BYTES
from tasuki.weights.digest import verify_digest
from tasuki.wire import names

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

def evaluate(turn):
    weights = turn.weights("numpy")
    return turn.scores({{"trained": float(weights["w"][:{TURNS}].sum())}}, samples=1)
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
    with Federation(tmp_path, broker, vhost, require=EVERYTHING) as federation:
        yield federation


def expected_digest(folder: Path) -> str:
    """Of the same done in one place, with the safetensors library."""
    values = np.arange(VALUES, dtype="float32")
    values[:TURNS] += 1
    path = folder / "expected.safetensors"
    save_file({"w": values}, path)
    return verify_digest(path)


def test_160_mb_go_round_intact_and_are_scored_and_cost_each_service_at_most_64_mib(
    federation: Federation, tmp_path: Path
) -> None:
    run = tmp_path / "run.toml"
    run.write_text(RUN)

    with MemoryWatch(pids(federation)) as turns:
        ended = federation.submit(run)

    assert ended.code == 0, ended.err
    assert ended.last["turns"] == TURNS
    assert ended.last["digest"] == expected_digest(tmp_path)
    assert too_much(turns) == {}

    with MemoryWatch(pids(federation)) as scores:
        scored = federation.ask("evaluate", "large")

    assert scored.code == 0, scored.err
    (row,) = scored.last["evaluated"][0]["rows"]
    assert {3 + sum(range(TURNS))} == {score["value"] for score in row["sites"]}
    assert TURNS == len(row["sites"])
    assert too_much(scores) == {}
    # A trainer that scores has no result to hold.
    assert max(scores.trainers.values()) <= max(turns.trainers.values())
    # Of a turn each site got the weights once, and to score them once more.
    twice = dict.fromkeys(SITES, 2)
    wait_until(lambda: transfers(federation) == twice, what="the broker counts two transfers")


def pids(federation: Federation) -> dict[str, int]:
    return {name: each.pid for name, each in federation.processes.items()}


def too_much(watch: MemoryWatch) -> dict[str, Memory]:
    return {name: each for name, each in watch.found.items() if each.extra > MOST_MIB}


def transfers(federation: Federation) -> dict[str, int]:
    """How often the weights lie in each site's stream."""
    url = federation.broker.url("admin", federation.vhost)
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        streams = {site: names.weights_stream(site) for site in SITES}
        counts = {
            site: channel.queue_declare(stream, passive=True).method.message_count
            for site, stream in streams.items()
        }
    return {site: round(count * CHUNK_BYTES / (VALUES * 4)) for site, count in counts.items()}
