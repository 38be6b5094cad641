"""The real services on queues in memory, with sites that die and messages that go astray."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from support.relay import Relay, relay
from support.waiting import until
from tasuki.core.model import Task, Turn, TurnId, TurnRecord, WeightsRef
from tasuki.core.report import TurnDone, TurnProgressed, TurnTaken
from tasuki.core.run import LeaseExpired, RunState, Status, TurnFinished
from tasuki.core.turn import Phase, Progress
from tasuki.errors import DiskFull, RunExists
from tasuki.ledger import migrations
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.observe.controller import ControllerMetrics
from tasuki.observe.metrics import Subject
from tasuki.ports import Route
from tasuki.transport.amqp import Counters
from tasuki.wire import names
from tasuki.wire.messages import encode
from tasuki_controller import history
from tasuki_controller.news import HeldUp, TurnOut
from tasuki_controller.operations import Operations
from tasuki_controller.uploads import Uploads
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


def test_a_turn_that_takes_long_to_be_sent_has_its_lease_renewed_by_what_is_confirmed(
    tmp_path: Path,
) -> None:
    """Large weights over a thin line take longer than a holder may be silent."""

    async def run() -> None:
        changes = {"order": ORDER, "failure": 'lease_s = 1\non_silent = "fail"'}
        async with relay(tmp_path, {**changes, "initial": "walk:make_large"}, running=[]) as it:
            sent: list[bytes] = []
            slow = asyncio.Semaphore(0)
            put = it.queues.put

            async def put_slowly(route: Route, body: bytes, sender: str) -> None:
                if route == names.to_weights("site-2"):
                    await slow.acquire()
                    sent.append(body)
                await put(route, body, sender)

            it.queues.put = put_slowly  # type: ignore[method-assign]  # a thin line
            it.submit()
            for count in range(1, 3):
                await until(lambda: (it.controller.lease_left_s(it.run) or 0) < 0.5, what="down")
                slow.release()
                await until(lambda: len(sent) == count, what="sent")  # noqa: B023 - awaited here
                await until(lambda: (it.controller.lease_left_s(it.run) or 0) > 0.5, what="again")
            assert it.state.status is Status.RELAYING
            for name in it.sites:
                it.start_site(name)
            for _ in range(100):
                slow.release()
            assert (await it.until_over()).status is Status.FINISHED

    asyncio.run(run())


STANDS = "site-2 has handed nothing on to site-1 for 0.4 s"


def standing(on_silent: str, **changes: object) -> dict[str, object]:
    """A run of a relay in which the first hand-over between sites stands still."""
    return {"order": ORDER, "failure": f'lease_s = 0.4\non_silent = "{on_silent}"', **changes}


def expiries(it: Relay) -> list[str]:
    """In which phase each lease ran out."""
    return [u.what.phase for u in it.updates if isinstance(u.what, LeaseExpired)]


def test_a_hand_over_that_stands_still_for_a_lease_fails_a_run_that_is_to_fail(
    tmp_path: Path,
) -> None:
    """Bug: it stood for ever without a word, since its site said all the while that it lived."""

    async def run() -> None:
        async with relay(tmp_path, standing("fail")) as it:
            it.stuck.routes.add(names.to_turns("site-1"))
            it.submit()
            state = await it.until_over()
            assert (Status.FAILED, STANDS) == (state.status, state.reason)
            assert ["trained"] == expiries(it)
            await until(lambda: it.stuck.withdrawn, what="its site lets go of it")

    asyncio.run(run())


def test_a_hand_over_that_stands_still_is_shown_before_its_lease_is_over(tmp_path: Path) -> None:
    async def run() -> None:
        async with relay(tmp_path, standing("fail")) as it:
            it.stuck.routes.add(names.to_turns("site-1"))
            it.submit()

            def stands() -> bool:
                turn = it.controller.turn_now(it.run)
                return turn.phase == "trained" and turn.still_s > 0.1

            await until(stands, what="it is shown")
            assert it.state.status is Status.RELAYING
            told = [u.what for u in it.updates if isinstance(u.what, TurnProgressed)]
            assert told[-1].phase == "trained"
            assert told[-1].still_s > 0

    asyncio.run(run())


def test_who_looks_on_late_is_told_how_long_the_turn_has_been_out(tmp_path: Path) -> None:
    """By then there may be nothing else to know that from, and no site has to be asked."""

    async def run() -> None:
        hold = 'hold = { site-2 = "go" }'
        async with relay(tmp_path, {"order": ORDER, "params": hold}) as it:
            it.submit()
            out = it.state.lanes[0].relay.expected
            await until(
                lambda: it.controller.turn_now(it.run).held_s > 0.3, what="it takes its time"
            )
            with closing(SqliteLedger(tmp_path / "operations.sqlite")) as ledger:
                operations = operations_of(ledger, tmp_path)
                operations.serve(it.controller)
                seen = operations.follow(it.run, beat_s=60)
                first, told = [await anext(seen) for _ in range(2)]
                await seen.aclose()  # type: ignore[attr-defined]  # it is a generator
            assert first is not None
            assert first.run is not None
            assert told is not None
            assert isinstance(told.what, TurnOut)
            assert (out, "site-2") == (
                first.run.lanes[0].relay.expected,
                first.run.lanes[0].relay.holder,
            )
            assert told.what.held_s > 0.3
            (tmp_path / "go").touch()
            assert (await it.until_over()).status is Status.FINISHED
            assert 0 == it.controller.turn_now(it.run).held_s

    asyncio.run(run())


def operations_of(ledger: SqliteLedger, folder: Path) -> Operations:
    subject = Subject(service="controller", counters=Counters(), is_up=lambda: True, folder=folder)
    return Operations(
        ledger=ledger,
        uploads=Uploads(folder / "uploads"),
        metrics=ControllerMetrics(subject),
        stream_bytes=1,
    )


def test_a_hand_over_that_stands_still_is_done_again_by_a_run_that_retries(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path / "whole")
    folder = tmp_path / "stands"
    folder.mkdir()

    async def run() -> None:
        async with relay(folder, standing("retry", attempts=20)) as it:
            it.stuck.routes.add(names.to_turns("site-1"))
            it.submit()
            await it.until(lambda state: state.lanes[0].relay.attempts == 3)
            assert it.state.lanes[0].relay.holder == "site-2"
            it.stuck.free()
            state = await it.until_over()
            assert (Status.FINISHED, expected) == (state.status, state.weights.digest)
            assert {"trained"} == set(expiries(it))

    asyncio.run(run())


def test_a_hand_over_that_stands_still_each_time_ends_a_run_that_retries(tmp_path: Path) -> None:
    async def run() -> None:
        async with relay(tmp_path, standing("retry", attempts=2)) as it:
            it.stuck.routes.add(names.to_turns("site-1"))
            it.submit()
            state = await it.until_over()
            assert (Status.FAILED, f"{STANDS} (2 attempts)") == (state.status, state.reason)

    asyncio.run(run())


def test_a_queue_that_takes_nothing_has_its_site_skipped_by_a_run_that_skips(
    tmp_path: Path,
) -> None:
    """Neither its predecessor gets a turn into it, nor the controller after that."""

    async def run() -> None:
        async with relay(tmp_path, standing("skip", min_sites=1, rounds=1)) as it:
            it.stuck.routes.add(names.to_turns("site-1"))
            it.submit()
            state = await it.until_over()
            assert state.status is Status.FINISHED
            assert [("site-2", "stood_still"), ("site-1", "stood_still")] == [
                (skip.site, skip.reason) for skip in state.skipped
            ]
            assert ["trained", "given_out"] == expiries(it)
            await until(lambda: not it.stuck.waiting, what="nobody waits for that queue any more")

    asyncio.run(run())


def test_a_run_that_waits_goes_on_when_the_hand_over_does_and_is_told_of_it_once(
    tmp_path: Path,
) -> None:
    """Its site lives, and says so all the time: that is no reason to say that the run goes on."""
    expected = undisturbed(tmp_path / "whole")
    folder = tmp_path / "stands"
    folder.mkdir()

    async def run() -> None:
        async with relay(folder, standing("wait")) as it:
            it.stuck.routes.add(names.to_turns("site-1"))
            it.submit()
            await it.until(lambda state: state.reason == f"waiting: {STANDS}")
            waits = len(it.updates)

            def beats() -> int:
                return sum(isinstance(u.what, TurnProgressed) for u in it.updates[waits:])

            await until(lambda: beats() > 20, what="two leases go by")
            assert f"waiting: {STANDS}" == it.state.reason
            it.stuck.free()
            state = await it.until_over()
            assert (Status.FINISHED, expected) == (state.status, state.weights.digest)
            assert ["trained"] == expiries(it)
            assert state.lanes[0].relay.term == 3, "nothing was taken back: one term a round"

    asyncio.run(run())


def test_weights_of_a_hand_over_that_was_let_go_of_do_not_stay_where_they_were_sent(
    tmp_path: Path,
) -> None:
    """Nobody would ever claim them: their turn follows, is refused, and they go with it."""

    async def run() -> None:
        changes = standing("fail", initial="walk:make_large")
        async with relay(tmp_path, changes) as it:
            put = it.queues.put
            never, sent = asyncio.Event(), list[bytes]()

            async def put_some(route: Route, body: bytes, sender: str) -> None:
                if route == names.to_weights("site-1"):
                    if sent:
                        await never.wait()
                    sent.append(body)
                await put(route, body, sender)

            def spooled(site: str) -> list[Path]:
                return list((tmp_path / "spool" / site).iterdir())

            it.queues.put = put_some  # type: ignore[method-assign]  # it takes one piece
            it.submit()
            await until(lambda: spooled("site-1"), what="some of it has come")
            assert STANDS == (await it.until_over()).reason
            await until(lambda: not spooled("site-1"), what="what was sent is gone")
            assert not spooled("site-2")

    asyncio.run(run())


@pytest.mark.parametrize("on_silent", ["fail", "skip"])
def test_a_turn_that_cannot_be_sent_by_the_controller_stands_still_for_no_longer_than_a_lease(
    tmp_path: Path, on_silent: str
) -> None:
    async def run() -> None:
        async with relay(tmp_path, standing(on_silent, min_sites=1, rounds=1)) as it:
            it.stuck.routes.add(names.to_weights("site-2"))
            it.submit()
            state = await it.until_over()
            assert ["given_out"] == expiries(it)
            if on_silent == "fail":
                assert "nothing more could be sent to site-2 for 0.4 s" == state.reason
            else:
                assert Status.FINISHED is state.status
                assert ["site-2"] == [skip.site for skip in state.skipped]

    asyncio.run(run())


def test_a_control_queue_that_takes_nothing_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the fence of a turn nor the question whether the broker takes anything."""
    monkeypatch.setattr("tasuki_controller.turns_out.ANSWER_S", 0.2)
    expected = undisturbed(tmp_path / "whole")
    folder = tmp_path / "stands"
    folder.mkdir()

    async def run() -> None:
        failure = 'lease_s = 0.4\non_silent = "retry"'
        changes = {"order": ORDER, "failure": failure, "attempts": 20}
        async with relay(folder, changes, running=["site-2", "site-3"]) as it:
            it.stuck.routes |= {names.to_control(), names.to_control("site-1")}
            it.submit()
            await it.until(lambda state: state.lanes[0].relay.attempts == 2)
            it.start_site("site-1")
            await it.until(lambda state: state.turns == 9)
            it.stuck.free()
            state = await it.until_over()
            assert (Status.FINISHED, expected) == (state.status, state.weights.digest)

    asyncio.run(run())


def test_a_run_says_that_the_broker_holds_everybody_up(tmp_path: Path) -> None:
    async def run() -> None:
        async with relay(tmp_path, standing("fail")) as it:
            it.stuck.routes.add(names.to_turns("site-1"))
            it.submit()
            it.hears_since, it.held_up = None, "the broker takes nothing: low on memory"
            it.controller.note_held_up()
            told = [u for u in it.updates if isinstance(u.what, HeldUp)]
            assert [("walk", it.held_up)] == [
                (u.run and u.run.plan.run, u.what.reason)
                for u in told
                if isinstance(u.what, HeldUp)
            ]
            assert it.held_up == it.controller.turn_now(it.run).held_up

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
                patched.setattr("tasuki_controller.checkpoints.copy_whole", fail)
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
            assert state.lanes[0].relay.term == 3

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
            await it.until(lambda state: state.lanes[0].relay.holder == victim)
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
                while not it.queues.queue(names.DEAD).messages:
                    it.raise_what_ended_early()
                    await asyncio.sleep(0)  # lets the controller take it in
            for site in it.sites:
                it.start_site(site)
            state = await it.until_over()
            assert state.status is Status.FINISHED
            assert state.weights.digest == expected
            assert state.lanes[0].relay.term == 1

    asyncio.run(run())
