"""A trainer that is a command: whatever it starts speaks for the turn, and ends with it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.processes import naming
from support.requests import a_request
from support.waiting import until, wait_until
from tasuki.errors import NonFiniteWeights, TrainerDied, TrainerError, TrainerOverdue
from tasuki_site.tensors import load_state, save_state
from tasuki_site.trainer.child_trainer import ChildTrainer
from tasuki_site.trainer.request import TurnRequest
from tasuki_site.trainer.source import Source

# As torchrun does: each rank in a session of its own, all ended when one fails.
LAUNCH = """
import os, subprocess, sys, time

ranks = [
    subprocess.Popen(
        [sys.executable, *sys.argv[1:]], env={**os.environ, "RANK": str(rank)},
        start_new_session=True,
    )
    for rank in range(2)
]
while True:
    codes = [rank.poll() for rank in ranks]
    if all(code == 0 for code in codes):
        sys.exit(0)
    if any(codes):
        for rank in ranks:
            rank.kill()
        sys.exit(1)
    time.sleep(0.02)
"""

CLIENT = """
import os, sys, time
from pathlib import Path
import numpy as np
import tasuki.flare as flare

rank = int(os.environ.get("RANK", 0))
what = sys.argv[1]


def hang_in_this_rank():
    Path(f"hangs-{rank}").touch()
    time.sleep(600)


if what == "never_connects" and rank == 1:
    hang_in_this_rank()
def meet(round):
    # As a collective does: nobody goes on before the other has come.
    Path(f"at-{round}-{rank}").touch()
    while what != "never_connects" and not Path(f"at-{round}-{1 - rank}").exists():
        time.sleep(0.01)


flare.init()
if what == "leads_away" and rank == 0:
    sys.exit(0)
while flare.is_running():
    model = flare.receive()
    w = model.params["w"]
    print(f"rank {rank} has {w.tolist()} of round {model.current_round}", flush=True)
    if "RANK" in os.environ:
        meet(model.current_round)
    if what == "dies" and rank == 1:
        os._exit(7)
    if what == "slips_away" and rank == 1:
        os._exit(0)
    if what == "hangs" and rank == 1 or what == "never_connects":
        hang_in_this_rank()
    if what == "closes":
        os.closerange(3, 256)
    if what == "forks" and rank == 1:
        if not os.fork():
            sys.exit()  # and says good-bye, as whoever ends like this does
        os.wait()
        time.sleep(1)
        Path("worked").touch()
    if what == "nan":
        w = w * np.nan
    flare.log("rank", rank)
    if rank == 0 or what == "all_send":
        flare.send(flare.FLModel(params={"w": w + 1 + 10 * rank}))
    if what == "once":
        break
"""


CLIENT_OF_RANK_0 = """
import os, time
from pathlib import Path
import tasuki.flare.rank0 as flare

rank = int(os.environ["RANK"])
flare.init(rank=rank)
if rank:
    flare.send(flare.FLModel(params={}))
    print("rank 1:", flare.is_running(), flare.receive(), flare.log("x", 1), flush=True)
    while not Path("over").exists():
        time.sleep(0.01)
while flare.is_running():
    flare.send(flare.FLModel(params={"w": flare.receive().params["w"] + 1}))
Path("over").touch()
"""


@pytest.fixture(autouse=True)
def code(tmp_path: Path) -> None:
    (tmp_path / "launch.py").write_text(LAUNCH)
    (tmp_path / "client.py").write_text(CLIENT)


def a_turn(folder: Path, **changes: object) -> TurnRequest:
    save_state(folder / "received", {"w": np.zeros(2, np.float32)})
    return a_request(folder, rounds=3, **changes)


def a_trainer(folder: Path, words: str, lines: list[str]) -> ChildTrainer:
    source = Source(run=words, folder=folder)
    source.check()
    return ChildTrainer(source, lambda _, line: lines.append(line), farewell_s=30)


def train(folder: Path, words: str, *, turns: int = 1, **changes: object) -> list[str]:
    """Train so many turns; what was printed."""
    lines: list[str] = []

    async def run() -> None:
        trainer = a_trainer(folder, words, lines)
        try:
            async with asyncio.timeout(60):
                for round in range(turns):
                    await trainer.train(a_turn(folder, round=round, **changes), lambda _: None)
                await trainer.farewell()
        finally:
            await trainer.close()

    asyncio.run(run())
    return lines


def lives(folder: Path) -> list[str]:
    """What is still there of a command: its launcher, its ranks, and our own before them."""
    return naming(folder, "client.py")


@pytest.mark.parametrize("what", ["rank_0_sends", "all_send"])
def test_every_rank_gets_every_turn_and_rank_0_speaks_for_all(tmp_path: Path, what: str) -> None:
    lines = train(tmp_path, f"python launch.py client.py {what}", turns=3)
    assert [1, 1] == load_state(tmp_path / "result", framework="numpy")["w"].tolist()
    printed = "".join(lines)  # both at once, so that their lines may be mixed
    for round in range(3):
        assert all(f"rank {rank} has [0.0, 0.0] of round {round}" in printed for rank in (0, 1))
    assert [] == lives(tmp_path)


def test_a_rank_that_closes_what_it_does_not_know_keeps_its_turn(tmp_path: Path) -> None:
    """Bug: it lost its way to its site with the descriptors that it closed."""
    train(tmp_path, "python launch.py client.py closes", turns=3)
    assert [1, 1] == load_state(tmp_path / "result", framework="numpy")["w"].tolist()


def test_a_copy_of_a_rank_that_ends_does_not_end_the_ranks_turn(tmp_path: Path) -> None:
    """Bug: the turn was over while one of its ranks still worked on it."""

    async def run() -> None:
        trainer = a_trainer(tmp_path, "python launch.py client.py forks", [])
        try:
            await trainer.train(a_turn(tmp_path), lambda _: None)
            assert (tmp_path / "worked").exists()
        finally:
            await trainer.close()

    asyncio.run(run())


def test_where_rank_0_alone_receives_no_turn_waits_for_the_others(tmp_path: Path) -> None:
    (tmp_path / "rank_0.py").write_text(CLIENT_OF_RANK_0)
    lines = train(tmp_path, "python launch.py rank_0.py", turns=3)
    assert ["rank 1: False None False"] == lines
    assert [1, 1] == load_state(tmp_path / "result", framework="numpy")["w"].tolist()


def test_a_command_without_a_loop_is_started_again_for_each_turn(tmp_path: Path) -> None:
    lines = train(tmp_path, "python client.py once", turns=3)
    assert [f"rank 0 has [0.0, 0.0] of round {round}" for round in range(3)] == lines


def test_a_rank_that_dies_fails_the_turn_with_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(TrainerDied, match=r"exit code 1(.|\n)*rank 1 has"):
        train(tmp_path, "python launch.py client.py dies")
    assert [] == lives(tmp_path)


def test_a_rank_whose_end_the_launcher_takes_for_good_is_missed(tmp_path: Path) -> None:
    with pytest.raises(TrainerDied, match=r"a process of the command ended in(.|\n)*rank 1 has"):
        train(tmp_path, "python launch.py client.py slips_away")
    assert [] == lives(tmp_path)


def test_rank_0_is_missed_by_those_that_wait_for_it(tmp_path: Path) -> None:
    """Bug: it had ended well before it received, and the others waited for ever."""
    with pytest.raises(TrainerDied, match=r"rank 0 of the command ended in(.|\n)*rank 1 has"):
        train(tmp_path, "python launch.py client.py leads_away")
    assert [] == lives(tmp_path)


@pytest.mark.parametrize("name", ["queue", "types"])
def test_a_file_that_hides_one_of_the_standard_library_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("")
    with pytest.raises(TrainerDied, match=rf"{name}\.py has the name of a module of Python's"):
        train(tmp_path, "python client.py once")


def test_a_file_of_such_a_name_that_is_not_to_blame_is_not_named(tmp_path: Path) -> None:
    (tmp_path / "site.py").write_text("")
    with pytest.raises(TrainerDied, match="exit code 3") as raised:
        train(tmp_path, 'python -c "import sys; sys.exit(3)" client.py')
    assert "site.py" not in str(raised.value)


def test_a_result_that_cannot_be_handed_on_fails_the_turn_by_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteWeights):
        train(tmp_path, "python client.py nan")


def test_a_command_that_never_asks_for_a_turn_fails_it(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"ended without flare\.send"):
        train(tmp_path, "true")


def test_a_rank_that_hangs_is_ended_and_says_where_it_was(tmp_path: Path) -> None:
    with pytest.raises(TrainerOverdue, match="hang_in_this_rank"):
        train(tmp_path, "python launch.py client.py hangs", progress_s=5.0)
    assert [] == lives(tmp_path)


@pytest.mark.parametrize("what", ["hangs", "never_connects"])
def test_an_aborted_turn_leaves_no_process(tmp_path: Path, what: str) -> None:
    async def run() -> None:
        trainer = a_trainer(tmp_path, f"python launch.py client.py {what}", [])
        turn = asyncio.create_task(trainer.train(a_turn(tmp_path), lambda _: None))
        await until(lambda: (tmp_path / "hangs-1").exists(), what="a rank hangs")
        assert lives(tmp_path)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn

    asyncio.run(run())
    wait_until(lambda: [] == lives(tmp_path), what="every process is gone")


SERVICE = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_command import a_trainer, a_turn

folder = Path(sys.argv[2])
trainer = a_trainer(folder, "python launch.py client.py never_connects", [])
asyncio.run(trainer.train(a_turn(folder), lambda _: None))
"""


def test_a_service_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    tests = Path(__file__).parents[2]
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(Path(__file__).parent), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(tests)},
    )
    with service:
        wait_until(lambda: (tmp_path / "hangs-1").exists(), what="a rank hangs")
        service.send_signal(signal.SIGKILL)
    wait_until(lambda: [] == lives(tmp_path), what="every process is gone")


def test_a_program_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="there is no program 'horovodrunn'"):
        Source(run="horovodrunn -np 2 client.py", folder=tmp_path).check()
