"""A run's hours are those of the clock, counted from when it was submitted."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from support.runs import FIRST, Relay, plan
from support.waiting import until
from tasuki.core.model import StopPolicy
from tasuki.core.run import RunState, Status
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.wire.messages import encode
from tasuki_controller.time_limits import TimeLimits

HOUR = 3600.0
NOW = 1e9


@dataclass
class SetClock:
    """Shows what the test says."""

    shows: float = NOW

    def now(self) -> float:
        return self.shows


def limited(hours: float | None = 2.0) -> RunState:
    stop = None if hours is None else StopPolicy(hours=hours)
    return Relay(replace(plan(rounds=9), stop=stop)).state


def submitted(folder: Path, state: RunState, *, at: float) -> SqliteLedger:
    ledger = SqliteLedger(folder / "ledger.sqlite")
    for event in (state.plan, FIRST):
        ledger.append("r", encode(event), at=at)
    return ledger


def told_at_once(folder: Path, state: RunState, *, began: float) -> list[str]:
    """The runs whose time is up when they begin to be watched."""
    expired: list[str] = []

    async def work() -> None:
        with closing(submitted(folder, state, at=NOW + began)) as ledger:
            limits = TimeLimits(ledger, SetClock(), {"r": state}, expire=expired.append)
            limits.watch("r")
            limits.close()

    asyncio.run(work())
    return expired


@pytest.mark.parametrize(
    ("began", "expired"), [(-1.9 * HOUR, []), (-2 * HOUR, ["r"]), (-90 * HOUR, ["r"])]
)
def test_a_run_is_over_so_long_after_it_was_submitted_whoever_was_away_meanwhile(
    tmp_path: Path, began: float, expired: list[str]
) -> None:
    assert expired == told_at_once(tmp_path, limited(), began=began)


@pytest.mark.parametrize(
    "state",
    [
        limited(None),
        replace(limited(), is_time_up=True),
        replace(limited(), status=Status.FINISHED),
    ],
    ids=["no limit", "told before", "over"],
)
def test_a_run_that_is_not_limited_any_more_is_left_alone(tmp_path: Path, state: RunState) -> None:
    assert [] == told_at_once(tmp_path, state, began=-3 * HOUR)


def test_a_run_is_told_as_soon_as_its_time_is_up_and_not_before(tmp_path: Path) -> None:
    async def work() -> None:
        expired: list[str] = []
        clock, state = SetClock(), limited()
        with closing(submitted(tmp_path, state, at=NOW - 2 * HOUR + 0.05)) as ledger:
            limits = TimeLimits(ledger, clock, {"r": state}, expire=expired.append)
            limits.watch("r")
            assert [] == expired
            clock.shows += 1.0
            await until(lambda: expired == ["r"], what="its time is up")
            limits.close()

    asyncio.run(work())
