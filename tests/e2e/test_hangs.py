"""Trainers that hang, at sites on RabbitMQ: ended in time, with all that they started."""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.broker import Broker
from support.federation import Federation, Waiting
from support.plain import plain_loop
from support.processes import naming
from support.simulation import write_run
from support.waiting import wait_until
from tasuki.errors import RunStopped, SitesLeftOut, TrainerOverdue

ROUND = ("site-2", "site-1", "site-3")
HANGS = "site-1"  # in the middle of the order
LIMITS = ("turn_s", "progress_s")

RANKS = """
import os, time
from pathlib import Path
import tasuki.flare as flare

rank = int(os.environ["RANK"])


def hang_in_this_rank(params):
    (Path(params["flag"]) / "hangs").touch()
    time.sleep(600)  # what hangs is the point: its limit ends it


def wait_for_the_other_rank():
    time.sleep(600)  # ended with the rank that hangs


flare.init()
while flare.is_running():
    model = flare.receive()
    if "hold" in model.meta:
        hang_in_this_rank(model.meta) if rank else wait_for_the_other_rank()
    params = {name: value + 1 for name, value in model.params.items()}
    flare.send(flare.FLModel(params=params, metrics={"accuracy": 1.0}))
"""
TORCHRUN = '[trainers.ranks]\nrun = "torchrun --nproc_per_node=2 ranks.py"'
OTHERS = '[trainers.ranks]\nrun = "walk:train"'

_names = (f"hangs-{number}" for number in itertools.count(1))
Write = Callable[..., Path]
Rows = list[dict[str, Any]]  # Any: JSON


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Federation]:
    """With torchrun at one site, which needs torch: so here it is not hidden from trainers."""
    folder, vhost = tmp_path_factory.mktemp("federation"), broker.vhost()
    write_run(folder)
    (folder / "ranks.py").write_text(RANKS)
    trainers = {site: TORCHRUN if site == HANGS else OTHERS for site in ROUND}
    with Federation(folder, broker, vhost, trainers=trainers) as federation:
        yield federation
    broker.drop_vhost(vhost)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A run of one round. At one site its trainer waits for the file `go`, or a rank for ever."""

    def write(failure: str = "", *, trainer: str = "walk", hangs: bool = True) -> Path:
        params = f'hold = {{ {HANGS} = "go" }}' if hangs else ""
        order = json.dumps(ROUND)
        path = write_run(
            tmp_path, order=order, rounds=1, attempts=2, params=params, failure=failure
        )
        text = path.read_text().replace('name = "walk"', f'name = "{next(_names)}"')
        path.write_text(text.replace('trainer = "walk"', f'trainer = "{trainer}"'))
        return path

    return write


def overdue(federation: Federation, run: str) -> list[str]:
    """What was told of each turn that was ended for its limit."""
    rows: Rows = federation.ledger(run)
    failed = [row for row in rows if row["event"] == "TurnFailed"]
    assert {HANGS} >= {row["turn"]["site"] for row in failed}
    return [row["what"] for row in failed if "TrainerOverdue" in row["what"]]


def ranks(federation: Federation) -> list[str]:
    """What lives of the command: torchrun, its ranks, and our own process before them."""
    return naming("ranks.py", federation.folder)


def await_no_rank(federation: Federation) -> None:
    wait_until(lambda: [] == ranks(federation), what="no process of the command is left")


@pytest.mark.parametrize("limit", LIMITS)
def test_a_trainer_that_hangs_is_skipped_by_a_run_that_skips(
    federation: Federation, write: Write, limit: str
) -> None:
    ended = federation.submit(write(f'{limit} = 4\non_silent = "skip"'))
    assert (SitesLeftOut.exit_code, 2) == (ended.code, ended.last["turns"])
    assert [HANGS] == [skip["site"] for skip in ended.last["skips"]]
    assert plain_loop([["site-2", None, "site-3"]]) == ended.last["digest"]
    assert 1 == len(overdue(federation, ended.last["run"]))


@pytest.mark.parametrize("limit", LIMITS)
def test_a_trainer_that_hangs_trains_again_in_a_run_that_retries(
    federation: Federation, write: Write, tmp_path: Path, limit: str
) -> None:
    run = federation.begin(write(f'{limit} = 4\non_silent = "retry"'))
    federation.await_turns(run.name, 1)
    federation.await_row(run.name, f"issued to {HANGS}, term 2, attempt 2")
    (tmp_path / "go").touch()
    last = run.finished()
    assert (3, 0) == (last["turns"], last["skipped"])
    assert plain_loop([ROUND]) == last["digest"]
    assert 1 == len(overdue(federation, run.name))


@pytest.mark.parametrize(("on_silent", "attempts"), [("retry", 2), ("fail", 1)])
@pytest.mark.parametrize("limit", LIMITS)
def test_a_trainer_that_hangs_each_time_fails_a_run_that_does_not_skip(
    federation: Federation, write: Write, limit: str, on_silent: str, attempts: int
) -> None:
    ended = federation.submit(write(f'{limit} = 4\non_silent = "{on_silent}"'))
    assert ("failed", 1) == (ended.last["status"], ended.last["turns"])
    assert TrainerOverdue.exit_code == ended.code
    assert f"{limit} = 4 s" in ended.last["reason"]
    assert attempts == len(overdue(federation, ended.last["run"]))


def test_every_rank_of_torchrun_takes_part_in_a_turn(federation: Federation, write: Write) -> None:
    ended = federation.submit(write(trainer="ranks", hangs=False))
    assert (0, 3) == (ended.code, ended.last["turns"]), ended.err
    await_no_rank(federation)


@pytest.mark.parametrize(
    ("on_silent", "status", "attempts"),
    [("skip", "finished", 1), ("retry", "failed", 2), ("fail", "failed", 1)],
)
@pytest.mark.parametrize("limit", LIMITS)
def test_a_rank_of_torchrun_that_hangs_is_ended_with_all_others_and_the_run_decides(
    federation: Federation, write: Write, limit: str, on_silent: str, status: str, attempts: int
) -> None:
    """The limit is above what torchrun takes to start, and nothing else depends on it."""
    failure = f'{limit} = 6\non_silent = "{on_silent}"'
    ended = federation.submit(write(failure, trainer="ranks"))
    assert status == ended.last["status"]
    assert (status == "finished") == ended.last["skipped"]
    assert attempts == len(overdue(federation, ended.last["run"]))
    await_no_rank(federation)


@pytest.fixture
def hanging(federation: Federation, write: Write, tmp_path: Path) -> Iterator[Waiting]:
    """A run that stands in a rank of torchrun."""
    run = federation.begin(write('lease_s = 3\non_silent = "skip"', trainer="ranks"))
    wait_until((tmp_path / "hangs").exists, what="a rank hangs", within_s=60)
    assert ranks(federation)
    yield run
    await_no_rank(federation)


def test_a_run_that_is_stopped_leaves_no_process_of_torchrun(
    federation: Federation, hanging: Waiting
) -> None:
    assert federation.ask("stop", hanging.name).code == 0
    await_no_rank(federation)
    assert RunStopped.exit_code == hanging.ended().code


def test_a_turn_that_is_fenced_leaves_no_process_of_torchrun(
    federation: Federation, hanging: Waiting
) -> None:
    site = federation[HANGS]
    site.signal(signal.SIGSTOP)
    try:
        federation.await_row(hanging.name, f"{HANGS} skipped: silent")
        assert ranks(federation)
    finally:
        site.signal(signal.SIGCONT)
    await_no_rank(federation)
    assert [HANGS] == hanging.finished(code=SitesLeftOut.exit_code)["left_out"]


def test_a_site_that_is_killed_leaves_no_process_of_torchrun(
    federation: Federation, hanging: Waiting
) -> None:
    federation[HANGS].kill()
    await_no_rank(federation)
    assert [HANGS] == hanging.finished(code=SitesLeftOut.exit_code)["left_out"]
