"""Followers get every row of the ledger in its order, and no run waits for one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.relay import relay
from support.runs import FIRST, Relay, moved
from support.waiting import until
from tasuki.core import run as machine
from tasuki.core.model import CONTROLLER
from tasuki.core.run import RunState, Status
from tasuki.ledger.sqlite import Row, SqliteLedger
from tasuki.wire.messages import encode
from tasuki_controller import history
from tasuki_controller.followers import Follower
from tasuki_controller.followers.following import Following
from tasuki_controller.history import Replay, Step

ORDER = '["site-2", "site-1", "site-3"]'


class Counting(Follower):
    """The follower of the guide for contributors, with what it was told."""

    name = "counting"

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def follow(self, step: Step) -> None:
        self.steps.append(step)

    @property
    def rows(self) -> list[Row]:
        return [step.row for step in self.steps]


class AtOnce(Counting):
    name = ""


class Failing(Counting):
    """Fails so often, wherever it is."""

    name = "failing"

    def __init__(self, times: int, error: BaseException | None = None) -> None:
        super().__init__()
        self.times, self.error = times, error or RuntimeError("the tracker is on fire")

    def follow(self, step: Step) -> None:
        if self.times > 0:
            self.times -= 1
            raise self.error
        super().follow(step)


class Recorded(Relay):
    """A run whose events are recorded and taken as the controller's service does it."""

    def __init__(self, ledger: SqliteLedger, take: Callable[[Step], None]) -> None:
        self.ledger, self.take = ledger, take
        self.before: RunState | None = None
        super().__init__()

    def __call__(self, event: machine.Event) -> tuple[machine.Effect, ...]:
        if self.before is None:
            self.before = self.state
            for first in (self.plan, FIRST):
                self.ledger.append("r", encode(first), at=0)
        effects = super().__call__(event)
        row, _ = self.ledger.append("r", encode(event), at=1)
        step = Step(row=row, event=event, before=self.before, after=self.state, effects=effects)
        self.before = self.state
        self.take(step)
        return effects


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as ledger:
        yield ledger


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasuki_controller.followers.following.FIRST_PAUSE_S", 0.01)


def lead(ledger: SqliteLedger, *followers: Counting, upto: int) -> None:
    """Until each of them was told so many rows."""

    async def run() -> None:
        async with Following(ledger, followers).led():
            for each in followers:
                await until(lambda each=each: len(each.steps) >= upto, what="it is told")  # type: ignore[misc]

    asyncio.run(run())


def replayed(ledger: SqliteLedger) -> list[Step]:
    replay = Replay(ledger)
    return [replay.step(row) for row in ledger.rows()]


def test_a_follower_sees_each_row_of_a_run_once_though_the_controller_starts_anew(
    tmp_path: Path,
) -> None:
    before, after, at_once = Counting(), Counting(), AtOnce()

    async def run() -> None:
        async with relay(tmp_path, {"order": ORDER}, followers=[before, at_once]) as it:
            it.submit()
            await it.until(lambda state: state.turns >= 4)
            late = machine.TurnFailed(
                id=moved(it.state.lanes[0].relay.expected, term=0), site="site-1", error="x"
            )
            assert "stale_term" == it.controller.apply(it.run, late), "and it is on record"
            await until(lambda: len(before.steps) > 5, what="it follows")
            await it.stop(CONTROLLER)
            it.followers = [after, at_once]
            await it.start_controller()
            assert Status.FINISHED is (await it.until_over()).status
            rows = list(it.ledger.rows())
            await until(lambda: after.rows[-1:] == rows[-1:], what="it has followed")
            assert rows == [*before.rows, *after.rows]
            assert rows == at_once.rows
            expected = replayed(it.ledger)
            assert expected == [*before.steps, *after.steps]
            assert expected == at_once.steps
            assert expected[-1].after == history.replay(it.ledger.rows(it.run)) == it.state

    asyncio.run(run())


def test_a_follower_that_fails_or_never_comes_back_holds_up_nothing(tmp_path: Path) -> None:
    over = threading.Event()

    class Stuck(Counting):
        name = "stuck"

        def follow(self, step: Step) -> None:
            super().follow(step)
            over.wait()

    class FailingAtOnce(Failing):
        name = ""

    stuck, healthy = Stuck(), Counting()
    followers = [FailingAtOnce(10**6), Failing(10**6), stuck, healthy]

    async def run() -> None:
        async with relay(tmp_path, {"order": ORDER}, followers=followers) as it:
            it.submit()
            assert Status.FINISHED is (await it.until_over()).status
            rows = list(it.ledger.rows())
            await until(lambda: healthy.rows == rows, what="the others follow")
            assert rows[:1] == stuck.rows
            assert 0 == it.ledger.position("failing") == it.ledger.position("stuck")
            assert rows[-1].position == it.ledger.position("counting")

    asyncio.run(asyncio.wait_for(run(), 30))
    over.set()


@pytest.mark.parametrize("error", [RuntimeError(), SystemExit(3), StopIteration(), KeyError("x")])
def test_a_row_that_a_follower_failed_at_is_told_again_and_counted(
    ledger: SqliteLedger, error: BaseException
) -> None:
    failed: list[str] = []
    failing = Failing(3, error)

    async def run() -> None:
        following = Following(ledger, [failing], failed=failed.append)
        async with following.led():
            Recorded(ledger, following.take).finish_round()
            await until(lambda: len(failing.steps) == 7, what="it has followed")

    asyncio.run(run())
    assert list(ledger.rows()) == failing.rows
    assert ["failing"] * 3 == failed


def test_a_row_that_one_told_at_once_failed_at_is_missed_and_counted(ledger: SqliteLedger) -> None:
    class FailingAtOnce(Failing):
        name = ""

    failed: list[str] = []
    failing = FailingAtOnce(2)
    following = Following(ledger, [failing], failed=failed.append)
    Recorded(ledger, following.take).finish_round()
    assert list(ledger.rows())[2:] == failing.rows
    assert ["FailingAtOnce"] * 2 == failed


def test_one_that_is_told_at_once_begins_with_the_newest_row(ledger: SqliteLedger) -> None:
    run = Recorded(ledger, lambda _: None)
    at_once = AtOnce()
    run.take = Following(ledger, [at_once]).take
    run.finish_turn()
    assert list(ledger.rows())[3:] == at_once.rows


def test_a_follower_goes_on_from_its_position_and_begins_again_from_none(
    ledger: SqliteLedger,
) -> None:
    Recorded(ledger, lambda _: None).finish_round()
    rows = list(ledger.rows())
    ledger.save_position("counting", 3)
    rest, again = Counting(), Counting()
    lead(ledger, rest, upto=4)
    ledger.save_position("counting", 0)
    lead(ledger, again, upto=7)
    assert (rows[3:], rows) == (rest.rows, again.rows)
    assert replayed(ledger) == again.steps


def test_a_follower_with_a_store_of_its_own_says_itself_where_it_goes_on(
    ledger: SqliteLedger,
) -> None:
    class Keeping(Counting):
        def begin(self, position: int) -> int:
            return position + 2

    Recorded(ledger, lambda _: None).finish_round()
    keeping = Keeping()
    lead(ledger, keeping, upto=5)
    assert list(ledger.rows())[2:] == keeping.rows


def test_a_ledger_that_was_put_back_from_a_copy_is_followed_from_its_first_row(
    ledger: SqliteLedger,
) -> None:
    """Whoever keeps its position itself may know more rows than there are."""

    class Keeping(Counting):
        def begin(self, position: int) -> int:
            return 1000

    Recorded(ledger, lambda _: None).finish_round()
    keeping = Keeping()
    lead(ledger, keeping, upto=7)
    assert list(ledger.rows()) == keeping.rows


def test_one_replay_feeds_all_that_are_behind(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    Recorded(ledger, lambda _: None).finish_round()
    decided: list[Row] = []
    step = Replay.step

    def counted(replay: Replay, row: Row) -> Step:
        decided.append(row)
        return step(replay, row)

    monkeypatch.setattr(Replay, "step", counted)
    followers = [Counting(), Counting(), Counting()]
    for number, each in enumerate(followers):
        each.name = f"counting-{number}"
    lead(ledger, *followers, upto=7)
    assert list(ledger.rows()) == decided
    assert all(each.steps == followers[0].steps for each in followers)


def test_what_the_service_has_just_taken_is_not_decided_again(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()

    async def run() -> None:
        following = Following(ledger, [counting])
        run = Recorded(ledger, following.take)
        monkeypatch.setattr(Replay, "step", lambda *_: pytest.fail("decided again"))
        ledger.save_position("counting", 3)
        async with following.led():
            run.finish_round()
            await until(lambda: len(counting.steps) == 4, what="it has followed")

    asyncio.run(run())
    assert list(ledger.rows())[3:] == counting.rows


def test_a_step_within_a_step_is_told_in_the_order_of_the_ledger(ledger: SqliteLedger) -> None:
    """What one event leads to may be recorded before the first is told of."""
    at_once, held = AtOnce(), list[Step]()
    following = Following(ledger, [at_once])
    run = Recorded(ledger, following.take)
    run.take = held.append
    run.finish_turn()
    run.take = following.take
    run.finish_turn()
    following.take(held[0])
    assert list(ledger.rows()) == at_once.rows
