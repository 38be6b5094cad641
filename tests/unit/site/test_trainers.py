"""Trainers that are ended in the middle."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.in_process import InProcessTrainer
from support.simulation import TRAINERS
from support.waiting import until
from tasuki.errors import TrainerDied
from tasuki_site.model_files import write_initial
from tasuki_site.source import Source
from tasuki_site.spell import Log, Outcome, Spell
from tasuki_site.trainers import ChildTrainer, TrainerPool

HELD = """
import threading

started, go_on = threading.Event(), threading.Event()


def train(turn):
    weights = turn.weights("numpy")
    started.set()
    go_on.wait(30)
    return turn.result(weights)
"""

WAITS = """
import time


def train(turn):
    if turn.round == 0:
        print("waits", flush=True)
        time.sleep(600)
    return turn.result(turn.weights("numpy"))
"""

ORPHANED = """
import os, signal, subprocess, sys, time
from pathlib import Path
from typing import Any


def fork(turn):
    \"\"\"Leave a worker that was forked, and so has all that its parent had open; then die.\"\"\"
    if not os.fork():
        time.sleep(600)
    die(turn)


def daemon(turn):
    \"\"\"Leave one that made itself independent, and prints where its parent did; then die.\"\"\"
    lives = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                             start_new_session=True)
    Path(turn.params["pid"]).write_text(str(lives.pid))
    die(turn)


def die(turn):
    print("so long", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_an_aborted_trainer_still_writes_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "held.py").write_text(HELD)
    monkeypatch.syspath_prepend(tmp_path)
    held = importlib.import_module("held")
    received, result = tmp_path / "received.safetensors", tmp_path / "result.part"
    write_initial("walk:make", received, folder=TRAINERS, seed=0)
    spell = a_spell(received=str(received), result=str(result))

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


def a_spell(**changes: Any) -> Spell:  # Any: of each part's own type
    parts: dict[str, Any] = {
        "run": "r", "lane": 0, "term": 1, "round": 0, "hop": 0, "rounds": 1, "site": "a", "seed": 1,
        "kind": "train", "device": "cpu", "received": "", "result": "",
    }  # fmt: skip
    return Spell(**{**parts, **changes})


@pytest.mark.parametrize("kind", ["fork", "daemon"])
def test_a_trainer_that_dies_is_missed_whatever_it_leaves_behind(tmp_path: Path, kind: str) -> None:
    (tmp_path / "orphaned.py").write_text(ORPHANED)
    spell = a_spell(params={"pid": str(tmp_path / "pid")})

    async def train() -> None:
        trainer = ChildTrainer(Source(run=f"orphaned:{kind}", folder=tmp_path), lambda *_: None)
        async with asyncio.timeout(20):
            with pytest.raises(TrainerDied, match=r"SIGKILL(.|\n)*so long"):
                await trainer.train(spell, lambda _: None)

    try:
        asyncio.run(train())
    finally:
        if (tmp_path / "pid").exists():
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_turn_that_begins_before_the_one_it_replaces_is_gone_gets_a_trainer_of_its_own(
    tmp_path: Path,
) -> None:
    """Bug: it was given the trainer that was then ended with the other, and so was the site."""
    (tmp_path / "waits.py").write_text(WAITS)
    received, result = tmp_path / "received.safetensors", tmp_path / "result.part"
    write_initial("walk:make", received, folder=TRAINERS, seed=0)
    lines: list[str] = []

    def spell(round: int) -> Spell:
        return a_spell(received=str(received), result=str(result), round=round)

    async def replace() -> None:
        trainer = ChildTrainer(
            Source(run="waits:train", folder=tmp_path), lambda _, line: lines.append(line)
        )
        void = asyncio.create_task(trainer.train(spell(0), lambda _: None))
        await until(lambda: "waits" in lines, what="the first turn is under way")
        valid = asyncio.create_task(trainer.train(spell(1), lambda _: None))
        await asyncio.sleep(0)  # it begins
        void.cancel()
        assert (await valid).digest
        await trainer.close()

    asyncio.run(replace())


@dataclass
class Gated:
    """A trainer of the test's own: trains until it is let go, and says whether it was ended."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    async def train(self, spell: Spell, log: Log) -> Outcome:
        await self.go_on.wait()
        return Outcome(digest=f"blake3:{spell.run}", size=0, metrics={}, samples=0)

    async def close(self) -> None:
        self.ended = True


def test_only_a_trainer_without_a_turn_makes_room_for_another_run() -> None:
    made: list[Gated] = []

    def make(_: str) -> Gated:
        made.append(Gated())
        return made[-1]

    def spell(run: str) -> Spell:
        return a_spell(run=run)

    async def train() -> None:
        pool = TrainerPool(make, limit=2)
        first = asyncio.create_task(pool.train("t", spell("first"), lambda _: None))
        await asyncio.sleep(0)
        for run in ("second", "third"):
            other = asyncio.create_task(pool.train("t", spell(run), lambda _: None))
            await asyncio.sleep(0)
            made[-1].go_on.set()
            await other
        assert [False, True, False] == [trainer.ended for trainer in made]
        made[0].go_on.set()
        assert "blake3:first" == (await first).digest

    asyncio.run(train())
