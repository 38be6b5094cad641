"""Trainers that are ended in the middle."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path

import pytest

from support.simulation import TRAINERS
from tasuki_site.model_files import write_initial
from tasuki_site.source import Source
from tasuki_site.spell import Spell
from tasuki_site.trainers import InProcessTrainer

HELD = """
import threading

started, go_on = threading.Event(), threading.Event()


def train(turn):
    weights = turn.weights("numpy")
    started.set()
    go_on.wait(30)
    return turn.result(weights)
"""


def test_what_an_aborted_trainer_still_writes_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "held.py").write_text(HELD)
    monkeypatch.syspath_prepend(tmp_path)
    held = importlib.import_module("held")
    received, result = tmp_path / "received.safetensors", tmp_path / "result.part"
    write_initial("walk:make", received, folder=TRAINERS, seed=0)
    spell = Spell(
        run="r", lane=0, term=1, round=0, hop=0, rounds=1, site="a", seed=1, kind="train",
        device="cpu", received=str(received), result=str(result),
    )  # fmt: skip

    async def abort() -> None:
        trainer = InProcessTrainer(Source(run="held:train", folder=tmp_path))
        training = asyncio.create_task(trainer.train(spell, lambda _: None))
        assert await asyncio.to_thread(held.started.wait, 30)
        training.cancel()
        with pytest.raises(asyncio.CancelledError):
            await training
        held.go_on.set()

    asyncio.run(abort())  # returns when its threads have ended
    assert not result.exists()
