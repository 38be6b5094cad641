"""Trainers that are ended in the middle."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from support.in_process import InProcessTrainer
from support.requests import a_request
from support.simulation import TRAINERS
from support.waiting import until
from tasuki.errors import TrainerDied, TrainerOverdue
from tasuki.trainer import turn_seed
from tasuki_site.model_files.initial import write_initial
from tasuki_site.tensors import save_state
from tasuki_site.trainer.child_trainer import ChildTrainer
from tasuki_site.trainer.pool import TrainerPool
from tasuki_site.trainer.process_limit import ProcessLimit, as_many_as_fit
from tasuki_site.trainer.request import Began, Log, TurnRequest, unnoticed
from tasuki_site.trainer.result import Outcome
from tasuki_site.trainer.source import Source

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
    request = a_request(received=str(received), result=str(result))

    async def abort() -> None:
        trainer = InProcessTrainer(Source(run="held:train", folder=tmp_path))
        training = asyncio.create_task(trainer.train(request, lambda _: None))
        assert await asyncio.to_thread(held.started.wait, 30)
        training.cancel()
        with pytest.raises(asyncio.CancelledError):
            await training
        held.go_on.set()

    asyncio.run(abort())  # returns when its threads have ended
    assert not result.exists()


@pytest.mark.parametrize("kind", ["fork", "daemon"])
def test_a_trainer_that_dies_is_missed_whatever_it_leaves_behind(tmp_path: Path, kind: str) -> None:
    (tmp_path / "orphaned.py").write_text(ORPHANED)
    request = a_request(params={"pid": str(tmp_path / "pid")})

    async def train() -> None:
        trainer = ChildTrainer(Source(run=f"orphaned:{kind}", folder=tmp_path), lambda *_: None)
        async with asyncio.timeout(20):
            with pytest.raises(TrainerDied, match=r"SIGKILL(.|\n)*so long"):
                await trainer.train(request, lambda _: None)

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

    def request(round: int) -> TurnRequest:
        return a_request(received=str(received), result=str(result), round=round)

    async def replace() -> None:
        trainer = ChildTrainer(
            Source(run="waits:train", folder=tmp_path), lambda _, line: lines.append(line)
        )
        void = asyncio.create_task(trainer.train(request(0), lambda _: None))
        await until(lambda: "waits" in lines, what="the first turn is under way")
        valid = asyncio.create_task(trainer.train(request(1), lambda _: None))
        await asyncio.sleep(0)  # it begins
        void.cancel()
        assert (await valid).digest
        await trainer.close()

    asyncio.run(replace())


@dataclass
class Gated:
    """A trainer of the test's own: trains until it is let go, and says whether it was ended."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    has_begun: bool = False
    ended: bool = False

    async def train(self, request: TurnRequest, log: Log, *, began: Began = unnoticed) -> Outcome:
        self.has_begun = True
        began()
        await self.go_on.wait()
        return Outcome(digest=f"blake3:{request.run}", size=0, metrics={}, samples=0)

    async def farewell(self) -> None:
        self.ended = True

    async def close(self) -> None:
        self.ended = True


def test_only_a_trainer_without_a_turn_makes_room_for_another_run() -> None:
    made: list[Gated] = []

    def make(_: str) -> Gated:
        made.append(Gated())
        return made[-1]

    def request(run: str) -> TurnRequest:
        return a_request(run=run)

    async def train() -> None:
        pool = TrainerPool(make, limit=ProcessLimit(2))
        first = asyncio.create_task(pool.train("t", request("first"), lambda _: None))
        await asyncio.sleep(0)
        for run in ("second", "third"):
            other = asyncio.create_task(pool.train("t", request(run), lambda _: None))
            await asyncio.sleep(0)
            made[-1].go_on.set()
            await other
        assert [False, True, False] == [trainer.ended for trainer in made]
        made[0].go_on.set()
        assert "blake3:first" == (await first).digest

    asyncio.run(train())


def test_as_many_processes_stay_as_there_are_active_runs() -> None:
    """Bug: two, whatever the number of runs: with three, nearly every turn started a process."""
    made: list[Gated] = []

    def make(_: str) -> Gated:
        made.append(Gated())
        made[-1].go_on.set()
        return made[-1]

    async def train() -> None:
        pool = TrainerPool(make, limit=ProcessLimit(as_many_as_fit(8 * 2**30)))
        for run in ("first", "second", "third", "first", "second", "third"):
            await pool.train("t", a_request(run=run), lambda _: None)

    asyncio.run(train())
    assert [False, False, False] == [trainer.ended for trainer in made]


def test_sites_that_share_a_room_end_whoever_of_them_all_was_longest_unused() -> None:
    """As in a simulation. Whose process was ended has a turn again like any other."""
    trainers = {site: Gated() for site in ("a", "b", "c")}

    async def train() -> None:
        limit = ProcessLimit(2)
        makers = {site: {"t": trainer}.__getitem__ for site, trainer in trainers.items()}
        pools = {site: TrainerPool(make, limit=limit) for site, make in makers.items()}
        for trainer in trainers.values():
            trainer.go_on.set()
        for site, ended in (("a", ""), ("b", ""), ("a", ""), ("c", "b"), ("b", "ba")):
            assert "blake3:r" == (await pools[site].train("t", a_request(), lambda _: None)).digest
            assert set(ended) == {site for site in trainers if trainers[site].ended}

    asyncio.run(train())


def test_of_many_sites_that_score_at_once_only_as_many_as_there_is_room_for_have_a_process() -> (
    None
):
    """Bug: in a simulation with a process for each site, all were started at the same time."""
    trainers = {site: Gated() for site in "abcd"}

    async def train() -> None:
        limit = ProcessLimit(2, at_once=2)
        makers = {site: {"t": trainer}.__getitem__ for site, trainer in trainers.items()}
        pools = {site: TrainerPool(make, limit=limit) for site, make in makers.items()}
        turns = {
            site: asyncio.create_task(pool.train("t", a_request(), lambda _: None))
            for site, pool in pools.items()
        }
        for first, both in (("a", "ab"), ("b", "bc"), ("c", "cd"), ("d", "d")):
            await until(partial(are_at_work, both), what=f"{both} are at work")
            trainers[first].go_on.set()
        await asyncio.gather(*turns.values())

    def are_at_work(sites: str) -> bool:
        begun = {site: trainer for site, trainer in trainers.items() if trainer.has_begun}
        return list(sites) == [site for site, its in begun.items() if not its.go_on.is_set()]

    asyncio.run(train())
    assert ["a", "b"] == [site for site, trainer in trainers.items() if trainer.ended]


def test_a_turn_begins_once_it_need_not_wait_for_others() -> None:
    """Bug: how long it waited for a process was part of how long it took."""
    began: list[str] = []

    async def train() -> None:
        trainer, limit = Gated(), ProcessLimit(1, at_once=1)
        pool = TrainerPool(lambda _: trainer, limit=limit)
        turns = [
            asyncio.create_task(
                pool.train(
                    "t", a_request(run=run), lambda _: None, began=partial(began.append, run)
                )
            )
            for run in ("first", "second")
        ]
        await until(lambda: bool(began), what="one has begun")
        assert ["first"] == began
        trainer.go_on.set()
        await asyncio.gather(*turns)

    asyncio.run(train())
    assert ["first", "second"] == began


def test_a_turn_that_shares_a_process_begins_when_that_is_free(tmp_path: Path) -> None:
    (tmp_path / "counts.py").write_text(COUNTS)
    began: list[str] = []

    async def train() -> None:
        shared = ChildTrainer(Source(run="counts:train", folder=tmp_path), lambda *_: None)
        save_state(tmp_path / "received", {"w": np.zeros(2, np.float32)})

        async def turn(site: str) -> None:
            request = a_request(tmp_path, site=site)
            await shared.train(request, lambda _: None, began=partial(began.append, site))
            began.append("over")

        await asyncio.gather(turn("a"), turn("b"))
        await shared.close()

    asyncio.run(train())
    assert ["a", "over", "b", "over"] == began


def test_each_lane_of_a_run_has_a_trainer_of_its_own_until_the_run_is_over() -> None:
    made: list[Gated] = []

    def make(_: str) -> Gated:
        made.append(Gated())
        made[-1].go_on.set()
        return made[-1]

    async def train() -> None:
        pool = TrainerPool(make, limit=ProcessLimit(4))
        for run, lane in (("r", 0), ("r", 1), ("other", 0), ("r", 1)):
            await pool.train("t", a_request(run=run, lane=lane), lambda _: None)
        pool.end("r")
        await pool.all_gone()

    asyncio.run(train())
    assert [True, True, False] == [trainer.ended for trainer in made]


def test_each_lane_draws_from_a_seed_of_its_own_and_lane_0_from_the_one_of_before() -> None:
    turn = {"seed": 7, "round": 1, "hop": 2}
    alone = turn_seed(**turn, site="a")
    assert 1094788354 == alone == turn_seed(**turn, site="a", lane=0)
    assert 3 == len({alone, *(turn_seed(**turn, site="a", lane=lane) for lane in (1, 2))})


@pytest.mark.parametrize(("gib", "processes"), [(1, 2), (8, 4), (1024, 16)])
def test_how_many_processes_stay_depends_on_memory(gib: int, processes: int) -> None:
    assert processes == as_many_as_fit(gib * 2**30)


COUNTS = """
turns = 0

def train(turn):
    global turns
    turns += 1
    return turn.result(turn.weights("numpy"), metrics={"turns": turns})
"""


def test_what_a_module_keeps_is_kept_for_each_lane_of_each_site(tmp_path: Path) -> None:
    """In one process, as in a simulation: each finds what it would find in its own."""
    (tmp_path / "counts.py").write_text(COUNTS)
    save_state(tmp_path / "received", {"w": np.zeros(2, np.float32)})

    async def train() -> list[float]:
        trainer = ChildTrainer(Source(run="counts:train", folder=tmp_path), lambda *_: None)
        turns = [("a", 0), ("a", 1), ("b", 1), ("a", 1), ("a", 0), ("a", 0)]
        requests = [a_request(tmp_path, site=site, lane=lane) for site, lane in turns]
        outcomes = [await trainer.train(request, lambda _: None) for request in requests]
        await trainer.close()
        return [outcome.metrics["turns"] for outcome in outcomes]

    assert [1, 1, 1, 2, 2, 3] == asyncio.run(train())


LOOPLESS = """
import sys
sys.modules["torch"] = None  # as on a site that has none; importing it takes seconds
import os
import tasuki.flare as flare

flare.init()
w = flare.receive().params["w"]
flare.send(flare.FLModel(params={"w": w + 1}))
print(f"process {os.getpid()}")
"""

BUSY_AFTERWARDS = """
import sys
sys.modules["torch"] = None
import time
from pathlib import Path
import tasuki.flare as flare

flare.init()
while flare.is_running():
    flare.send(flare.FLModel(params=flare.receive().params))
time.sleep(float(sys.argv[1]))
Path(__file__).with_name("done").touch()
"""


def a_script(folder: Path, script: str) -> TurnRequest:
    """A request for it, with weights of one tensor."""
    (folder / "client.py").write_text(script)
    save_state(folder / "received", {"w": np.zeros(2, np.float32)})
    return a_request(received=str(folder / "received"), result=str(folder / "result"), rounds=3)


def test_a_script_without_a_loop_is_started_again_for_each_turn(tmp_path: Path) -> None:
    """Bug: every turn but the first failed once, and was tried again."""
    request = a_script(tmp_path, LOOPLESS)
    lines: list[str] = []

    async def train() -> None:
        source = Source(run="client.py", folder=tmp_path)
        trainer = ChildTrainer(source, lambda _, line: lines.append(line))
        for _ in range(3):
            assert (await trainer.train(request, lambda _: None)).digest
        await trainer.farewell()

    asyncio.run(train())
    assert 3 == len(set(lines))


@pytest.mark.parametrize(("works_s", "is_done"), [("0.2", True), ("600", False)])
def test_a_script_may_work_on_after_its_last_turn_for_a_while(
    tmp_path: Path, works_s: str, is_done: bool
) -> None:
    request = a_script(tmp_path, BUSY_AFTERWARDS)
    lines: list[str] = []

    async def train() -> None:
        source = Source(run=f"client.py {works_s}", folder=tmp_path)
        farewell_s = 60 if is_done else 0.2
        trainer = ChildTrainer(source, lambda _, line: lines.append(line), farewell_s)
        pool = TrainerPool(lambda _: trainer)
        await pool.train("t", request, lambda _: None)
        pool.end("r")
        await pool.all_gone()

    asyncio.run(train())
    said = "ended, because it still worked farewell_s = 0.2 s after its last turn"
    assert ([] if is_done else [said]) == lines
    assert is_done == (tmp_path / "done").exists()


FAILS_AFTERWARDS = f"""{BUSY_AFTERWARDS}
os_exits = sys.argv[2] == "os"
import os
os._exit(3) if os_exits else sys.exit(3)
"""


@pytest.mark.parametrize("way", ["os", "sys"])
@pytest.mark.parametrize(("form", "code"), [("client.py", 1), ("python client.py", 3)])
def test_work_after_the_last_turn_that_fails_is_said(
    tmp_path: Path, form: str, code: int, way: str
) -> None:
    """Bug: an upload that ended with an exit code ended like one that had done its work."""
    request = a_script(tmp_path, FAILS_AFTERWARDS)
    lines: list[str] = []

    async def train() -> None:
        source = Source(run=f"{form} 0 {way}", folder=tmp_path)
        trainer = ChildTrainer(source, lambda _, line: lines.append(line), 60)
        await trainer.train(request, lambda _: None)
        await trainer.farewell()

    asyncio.run(train())
    assert f"ended with exit code {3 if way == 'os' else code} after its last turn" == lines[-1]


HANGS = """
import time


def stuck_in_this_function(turn):
    print("batch 7 of 9")
    time.sleep(600)


def talks(turn):
    for step in range(12):
        time.sleep(0.25)
        turn.log(step=step)
    return turn.result(turn.weights("numpy"))
"""


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"turn_s": 2.0}, r"longer than \[failure\] turn_s = 2 s"),
        ({"progress_s": 2.0}, r"printed nothing for \[failure\] progress_s = 2 s"),
    ],
)
def test_a_trainer_that_hangs_is_ended_with_its_last_lines_and_where_it_was(
    tmp_path: Path, limit: dict[str, float], said: str
) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    request = a_request(**limit)

    async def train() -> None:
        source = Source(run="hangs:stuck_in_this_function", folder=tmp_path)
        trainer = ChildTrainer(source, lambda *_: None)
        async with asyncio.timeout(30):
            with pytest.raises(TrainerOverdue, match=said) as raised:
                await trainer.train(request, lambda _: None)
        assert "batch 7 of 9" in str(raised.value)
        assert "in stuck_in_this_function" in str(raised.value)

    asyncio.run(train())


def test_a_trainer_that_shows_progress_may_take_its_time(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    save_state(tmp_path / "received", {"w": np.zeros(2, np.float32)})
    request = a_request(
        received=str(tmp_path / "received"), result=str(tmp_path / "result"), progress_s=2.5
    )

    async def train() -> None:
        trainer = ChildTrainer(Source(run="hangs:talks", folder=tmp_path), lambda *_: None)
        assert (await trainer.train(request, lambda _: None)).digest
        await trainer.close()

    asyncio.run(train())


SEEDED = """
import random, sys
import numpy as np


def lean(turn):
    w = turn.weights("numpy")["w"] + 1
    assert not [name for name in ("torch", "tensorflow") if name in sys.modules]
    return turn.result({"w": w})


def late(turn):
    import torch
    assert torch.__spec__.loader.get_filename("torch") == torch.__file__
    return turn.result(turn.weights(), metrics={"drawn": torch.rand(1).item()})


def both(turn):
    import tensorflow
    return turn.result(turn.weights("numpy"), metrics={"drawn": tensorflow.drawn})
"""

TENSORFLOW = """
from types import SimpleNamespace

drawn = 0


def set_seed(seed):
    global drawn
    drawn = seed


random = SimpleNamespace(set_seed=set_seed)
"""


def drawn_by(folder: Path, function: str, *seeds: int) -> list[float]:
    """What a function of `SEEDED` drew in turns with these seeds, one after the other."""
    (folder / "seeded.py").write_text(SEEDED)
    save_state(folder / "received", {"w": np.zeros(2, np.float32)})
    files = {"received": str(folder / "received"), "result": str(folder / "result")}

    async def train() -> list[float]:
        trainer = ChildTrainer(Source(run=f"seeded:{function}", folder=folder), lambda *_: None)
        turns = [a_request(seed=seed, **files) for seed in seeds]
        outcomes = [await trainer.train(request, lambda _: None) for request in turns]
        await trainer.close()
        return [outcome.metrics.get("drawn", 0.0) for outcome in outcomes]

    return asyncio.run(train())


def test_a_trainer_that_never_touches_torch_does_not_wait_for_its_import(tmp_path: Path) -> None:
    assert [0.0] == drawn_by(tmp_path, "lean", 1)


def test_torch_is_seeded_for_a_trainer_that_imports_it_late(tmp_path: Path) -> None:
    first, again, other = drawn_by(tmp_path, "late", 1, 1, 2)
    assert first == again != other


def test_tensorflow_is_seeded_with_the_rest(tmp_path: Path) -> None:
    """With a stand-in of that name: what counts is when it is told, and what."""
    (tmp_path / "tensorflow.py").write_text(TENSORFLOW)
    assert [5, 7] == drawn_by(tmp_path, "both", 5, 7)
