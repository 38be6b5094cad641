"""The real services on queues in memory, with sites that die and messages that go astray."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from support.relay import relay
from support.waiting import until
from tasuki.core.model import Task, Turn, TurnId, TurnRecord, WeightsRef
from tasuki.core.report import TurnDone, TurnTaken
from tasuki.core.run import RunState, Status, TurnFinished
from tasuki.core.turn import Phase, Progress
from tasuki.errors import DiskFull, RunExists
from tasuki.ledger import migrations
from tasuki.ports import Route
from tasuki.wire import names
from tasuki.wire.messages import encode
from tasuki_controller import history
from tasuki_site.journal import Journal

ORDER = '["site-2", "site-1", "site-3"]'
Fault = Callable[[Route, bytes], Iterable[bytes]]


def undisturbed(folder: Path, **changes: object) -> str:
    """The digest that the same run has when nothing goes wrong."""

    async def run() -> str:
        async with relay(folder, {"order": ORDER, **changes}) as it:
            it.submit()
            return (await it.until_over()).weights.digest

    folder.mkdir()
    return asyncio.run(run())


def with_fault(folder: Path, fault: Fault, **changes: object) -> RunState:
    async def run() -> RunState:
        async with relay(folder, {"order": ORDER, **changes}) as it:
            it.queues.fault = fault
            it.submit()
            state = await it.until_over()
            it.ledger.verify(it.run)
            assert history.replay(it.ledger.rows(it.run)) == state
            return state

    folder.mkdir()
    return asyncio.run(run())


def test_messages_that_come_twice_change_nothing(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path / "whole")
    state = with_fault(tmp_path / "twice", lambda _, body: [body, body])
    assert state.status is Status.FINISHED
    assert state.weights.digest == expected
    assert state.turns == 9


def test_reports_that_are_lost_are_made_up_for_by_the_next(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path / "whole")

    def lose_turn_reports(route: Route, body: bytes) -> list[bytes]:
        return [] if route.exchange == names.REPORTS and b"TurnDone" in body else [body]

    state = with_fault(tmp_path / "lost", lose_turn_reports)
    assert state.status is Status.FINISHED
    assert state.weights.digest == expected
    assert state.turns == 9


@pytest.mark.parametrize("what", [names.TURNS, names.WEIGHTS])
def test_a_hand_over_that_is_lost_is_issued_again(tmp_path: Path, what: str) -> None:
    expected = undisturbed(tmp_path / "whole")
    lost: list[bytes] = []

    def lose_once(route: Route, body: bytes) -> list[bytes]:
        if route == Route(exchange=what, key="site-1") and not lost:
            lost.append(body)
            return []
        return [body]

    state = with_fault(tmp_path / "lost", lose_once, attempts=3, failure="lease_s = 0.4")
    assert lost
    assert state.status is Status.FINISHED
    assert state.weights.digest == expected


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_lost_or_doubled_the_weights_are_the_same(tmp_path: Path, seed: int) -> None:
    expected = undisturbed(tmp_path / "whole", rounds=2)
    draws = random.Random(seed)

    def chance(_: Route, body: bytes) -> list[bytes]:
        return [body] * draws.choices([0, 1, 2], [2, 16, 2])[0]

    state = with_fault(tmp_path / "chance", chance, rounds=2, attempts=50, failure="lease_s = 0.4")
    assert state.status is Status.FINISHED
    assert state.weights.digest == expected


def test_a_silent_site_is_skipped_and_takes_part_again_when_it_is_back(tmp_path: Path) -> None:
    async def run() -> None:
        failure = 'lease_s = 0.4\non_silent = "skip"'
        up = ["site-2", "site-3"]
        async with relay(
            tmp_path, {"order": ORDER, "failure": failure, "pause_s": 0.05}, running=up
        ) as it:
            it.submit()
            await it.until(lambda state: bool(state.skipped))
            it.start_site("site-1")
            state = await it.until_over()
            assert state.status is Status.FINISHED
            assert [skip.site for skip in state.skipped][:1] == ["site-1"]
            trained = {
                update.what.record.site
                for update in it.updates
                if isinstance(update.what, TurnFinished) and not update.outcome
            }
            assert trained == {"site-1", "site-2", "site-3"}
            assert state.turns + len(state.skipped) == 9

    asyncio.run(run())


def test_too_few_sites_pause_the_run_until_one_returns(tmp_path: Path) -> None:
    async def run() -> None:
        failure = 'lease_s = 0.4\non_silent = "skip"'
        async with relay(
            tmp_path,
            {"order": ORDER, "failure": failure, "min_sites": 3},
            running=["site-2", "site-3"],
        ) as it:
            it.submit()
            paused = await it.until(lambda state: state.status is Status.PAUSED)
            assert "2 of at least 3" in paused.reason
            it.start_site("site-1")
            state = await it.until_over()
            assert state.status is Status.FINISHED
            assert not state.skipped

    asyncio.run(run())


def test_a_run_that_waits_goes_on_when_its_site_is_there(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path / "whole")
    folder = tmp_path / "late"
    folder.mkdir()

    async def run() -> None:
        failure = 'lease_s = 0.3\non_silent = "wait"'
        async with relay(
            folder, {"order": ORDER, "failure": failure}, running=["site-2", "site-3"]
        ) as it:
            it.submit()
            waiting = await it.until(lambda state: "site-1" in state.silent)
            assert waiting.status is Status.RELAYING
            it.start_site("site-1")
            state = await it.until_over()
            assert state.status is Status.FINISHED
            assert state.weights.digest == expected

    asyncio.run(run())


def test_a_run_that_waits_gives_a_lost_turn_out_again_once_its_site_says_it_is_idle(
    tmp_path: Path,
) -> None:
    expected = undisturbed(tmp_path / "whole")
    lost: list[bytes] = []

    def lose_once(route: Route, body: bytes) -> list[bytes]:
        if route == names.to_turns("site-1") and not lost:
            lost.append(body)
            return []
        return [body]

    state = with_fault(tmp_path / "lost", lose_once, failure='lease_s = 0.3\non_silent = "wait"')
    assert state.status is Status.FINISHED
    assert state.weights.digest == expected


def test_nobody_is_silent_while_the_controller_hears_nobody(tmp_path: Path) -> None:
    """A broker that is away for longer than all leases together fails no run."""

    async def run() -> None:
        failure = 'lease_s = 0.2\non_silent = "fail"'
        up = ["site-2", "site-3"]
        async with relay(tmp_path, {"order": ORDER, "failure": failure}, running=up) as it:
            it.hears_since = None
            it.submit()
            await it.until(lambda state: state.turns == 1)
            renewed = it.controller.lease_left_s(it.run)
            assert renewed is not None
            for _ in range(3):  # it runs down, and begins again
                await until(lambda: (it.controller.lease_left_s(it.run) or 0) < 0.1, what="down")
                await until(lambda: (it.controller.lease_left_s(it.run) or 0) > 0.1, what="again")
            assert it.state.status is Status.RELAYING
            it.hears_since = asyncio.get_running_loop().time()
            state = await it.until_over()
            assert "site-1 was silent" in state.reason
            assert asyncio.get_running_loop().time() - it.hears_since > 0.2

    asyncio.run(run())


def test_a_lease_begins_when_the_controller_has_sent_the_turn(tmp_path: Path) -> None:
    """Large weights over a thin line take longer than a holder may be silent."""

    async def run() -> None:
        failure = 'lease_s = 0.3\non_silent = "fail"'
        async with relay(tmp_path, {"order": ORDER, "failure": failure}, running=[]) as it:
            # Nobody reads, and the stream takes no more than this before somebody does.
            stream = names.weights_stream("site-2")
            full = await it.queues.connect("site-2").consume(stream, lambda _: None)
            junk = it.queues.connect("site-3").publish(names.to_weights("site-2"), [(b"?",)] * 17)
            filling = asyncio.create_task(junk)
            await until(lambda: it.queues.depth(stream) > 16, what="full")
            it.submit()
            for _ in range(3):
                await until(lambda: (it.controller.lease_left_s(it.run) or 0) < 0.1, what="down")
                await until(lambda: (it.controller.lease_left_s(it.run) or 0) > 0.1, what="again")
            assert it.state.status is Status.RELAYING
            await full.cancel()
            for name in it.sites:
                it.start_site(name)
            await filling
            assert (await it.until_over()).status is Status.FINISHED

    asyncio.run(run())


def test_a_site_that_comes_from_another_federation_with_a_turn_is_rid_of_it(
    tmp_path: Path,
) -> None:
    """Bug: it waited for that turn's weights for ever, and every other turn behind it."""

    async def run() -> None:
        failure = 'lease_s = 2\non_silent = "fail"'
        async with relay(tmp_path, {"order": ORDER, "failure": failure}, running=[]) as it:
            old = Turn(
                id=TurnId(run="elsewhere", term=3, round=0, hop=0),
                itinerary=("site-1",),
                weights=WeightsRef(digest="blake3:" + "0" * 64, size=5),
                task=Task(trainer="walk"),
            )
            journal = migrations.connect(tmp_path / "site-1.sqlite", migrations.JOURNAL)
            with closing(journal):
                Journal(journal, "site-1").write(Progress(turn=old))
            for name in it.sites:
                it.start_site(name)
            it.submit()
            assert (await it.until_over()).status is Status.FINISHED

    asyncio.run(run())


def test_a_submission_that_found_the_disk_full_can_be_repeated_and_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: half a run stayed, whose ledger told of another than was started in the end."""

    async def run() -> None:
        async with relay(tmp_path, {"order": ORDER, "rounds": 1}) as it:
            with monkeypatch.context() as patched:
                patched.setattr("tasuki_controller.checkpoints._copy", fail)
                with pytest.raises(DiskFull):
                    it.submit()
            assert not it.controller.runs
            first, it.run_file = it.run_file, it.run_file.model_copy(update={"seed": 8})
            with pytest.raises(RunExists, match="never begun"):
                it.submit()
            it.run_file = first
            it.submit()
            state = await it.until_over()
            assert state.status is Status.FINISHED
            assert history.replay(it.ledger.rows(it.run)) == state

    def fail(*_: object) -> None:
        raise DiskFull

    asyncio.run(run())


def test_a_run_with_the_name_of_one_that_its_sites_remember_says_so(tmp_path: Path) -> None:
    """Bug: a new controller's run was refused by each site, and failed because they were silent."""

    async def run() -> None:
        async with relay(tmp_path, {"order": ORDER}, running=[]) as it:
            earlier = Turn(
                id=TurnId(run=it.run, term=9, round=0, hop=0),
                itinerary=("site-2",),
                weights=WeightsRef(digest="blake3:" + "0" * 64, size=5),
                task=Task(trainer="walk"),
            )
            journal = migrations.connect(tmp_path / "site-2.sqlite", migrations.JOURNAL)
            with closing(journal):
                Journal(journal, "site-2").write(Progress(turn=earlier, phase=Phase.DONE))
            for name in it.sites:
                it.start_site(name)
            it.submit()
            state = await it.until_over()
            assert state.status is Status.FAILED
            assert "an earlier run of this name" in state.reason
            assert "RunExists" == history.failure(it.ledger.rows(it.run))

    asyncio.run(run())


def test_a_run_that_may_not_lose_a_site_fails_with_its_name(tmp_path: Path) -> None:
    async def run() -> None:
        failure = 'lease_s = 0.3\non_silent = "fail"'
        async with relay(tmp_path, {"order": ORDER, "failure": failure}, running=["site-2"]) as it:
            it.submit()
            state = await it.until_over()
            assert state.status is Status.FAILED
            assert "site-1 was silent" in state.reason

    asyncio.run(run())


def test_a_round_ends_between_the_sites_while_the_controller_is_down(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path / "whole")
    folder = tmp_path / "down"
    folder.mkdir()

    async def run() -> None:
        async with relay(folder, {"order": ORDER, "pause_s": 0.1}) as it:
            round_done = asyncio.Event()

            def listen(route: Route, body: bytes) -> list[bytes]:
                if route.exchange == names.REPORTS and b"RoundDone" in body:
                    round_done.set()
                return [body]

            it.queues.fault = listen
            it.submit()
            await it.until(lambda state: state.turns == 1)
            await it.stop("controller")
            it.ledger.close()
            await asyncio.wait_for(round_done.wait(), 30)
            await it.start_controller()
            state = await it.until_over()
            assert state.status is Status.FINISHED
            assert state.weights.digest == expected
            # Nothing was taken back: one term a round.
            assert state.term == 3

    asyncio.run(run())


@pytest.mark.parametrize("victim", ["site-1", "site-2", "site-3"])
def test_a_site_that_is_ended_in_training_starts_again_from_its_journal(
    tmp_path: Path, victim: str
) -> None:
    expected = undisturbed(tmp_path / "whole")
    folder = tmp_path / "ended"
    folder.mkdir()

    async def run() -> None:
        async with relay(folder, {"order": ORDER, "pause_s": 0.1}) as it:
            it.submit()
            await it.until(lambda state: state.holder == victim)
            await it.stop(victim)
            it.start_site(victim)
            state = await it.until_over()
            assert state.status is Status.FINISHED
            assert state.weights.digest == expected
            assert state.turns == 9

    asyncio.run(run())


FORGED = TurnId(run="walk", term=1, round=0, hop=0)
RECORD = TurnRecord(
    id=FORGED,
    site="site-2",
    received="blake3:" + "0" * 64,
    sent=WeightsRef(digest="blake3:" + "1" * 64, size=1),
)
HOSTILE = {
    "a history that is no record": (
        "site-3",
        TurnTaken(id=replace(FORGED, hop=2), site="site-3", history=(b"\xc1",)),
    ),
    "another site's name": ("site-3", TurnDone(record=RECORD, site="site-2")),
    "no name at all": ("", TurnDone(record=RECORD, site="site-2")),
    "another site's result": ("site-3", TurnDone(record=RECORD, site="site-3")),
    "a history told by someone who is not there": (
        "site-3",
        TurnTaken(id=replace(FORGED, hop=1), site="site-3", history=(encode(RECORD),)),
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_report_is_dead_lettered_and_the_run_goes_on(tmp_path: Path, kind: str) -> None:
    expected = undisturbed(tmp_path / "whole", rounds=1)
    folder = tmp_path / "hostile"
    folder.mkdir()
    sender, report = HOSTILE[kind]

    async def run() -> None:
        async with relay(folder, {"order": ORDER, "rounds": 1}, running=[]) as it:
            it.submit()
            hostile = it.queues.connect(sender)
            await hostile.publish(names.to_controller(), [(encode(report),)])
            async with asyncio.timeout(10):
                while not it.queues.depth(names.DEAD):
                    it.raise_what_ended_early()
                    await asyncio.sleep(0)  # lets the controller take it in
            for site in it.sites:
                it.start_site(site)
            state = await it.until_over()
            assert state.status is Status.FINISHED
            assert state.weights.digest == expected
            assert state.term == 1

    asyncio.run(run())
