"""When a turn takes far longer than turns usually do."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from support.runs import Relay, plan
from tasuki.core import run
from tasuki.core.run.pace import FACTOR, LAST, LEAST_S, UNKNOWN_S, overdue_after_s

ALERTS = Path(__file__).parents[3] / "compose/prometheus/alerts.yml"
A_BIT = 0.001


def after_turns(
    *seconds: float, turn_s: float | None = None, progress_s: float | None = None
) -> run.RunState:
    """A run whose site `a` has its next turn, after turns that took so long."""
    of = plan(sites=("a", "b"), rounds=len(seconds) + 1)
    limited = replace(of.task, turn_s=turn_s, progress_s=progress_s)
    relay = Relay(replace(of, task=limited))
    for each in seconds:
        relay(run.TurnFinished(record=replace(relay.record(), seconds=each)))
        relay.finish_round()
    assert "a" == relay.state.lanes[0].relay.holder
    return relay.state


@pytest.mark.parametrize(
    ("seconds", "border_s"),
    [
        ((200.0,), 1000.0),
        ((100.0, 200.0, 300.0), 1000.0),
        ((9999.0, 100.0, 200.0, 300.0), 1000.0),  # the last three count
        ((120.0,), 600.0),
        ((1.0,), 600.0),
        ((), 6 * 3600.0),
    ],
)
def test_a_turn_is_overdue_beyond_five_times_the_usual_and_ten_minutes(
    seconds: tuple[float, ...], border_s: float
) -> None:
    state = after_turns(*seconds)
    assert not run.is_overdue(state, "a", held_s=border_s)
    assert run.is_overdue(state, "a", held_s=border_s + A_BIT)


def test_another_site_s_turns_are_not_compared_with() -> None:
    relay = Relay(plan(sites=("a", "b")))
    relay(run.TurnFinished(record=replace(relay.record(), seconds=1.0)))
    assert "b" == relay.state.lanes[0].relay.holder
    assert not run.is_overdue(relay.state, "b", held_s=LEAST_S + A_BIT)


@pytest.mark.parametrize(("turn_s", "progress_s"), [(1e6, None), (None, 1e6), (1e6, 1e6)])
def test_a_run_that_limits_its_turns_is_told_nothing(
    turn_s: float | None, progress_s: float | None
) -> None:
    state = after_turns(1.0, turn_s=turn_s, progress_s=progress_s)
    assert not run.is_overdue(state, "a", held_s=1e5)


@pytest.mark.parametrize("claimed", [math.nan, math.inf])
def test_a_time_that_is_none_is_not_kept_in_mind(claimed: float) -> None:
    assert {"a": (2.0,)} == {"a": after_turns(2.0, claimed).took["a"]}


def test_no_more_is_kept_in_mind_than_is_compared_with() -> None:
    assert tuple(map(float, range(9)))[-LAST:] == after_turns(*map(float, range(9))).took["a"]


def test_the_alert_has_the_same_border() -> None:
    mean = "max(tasuki:turn_seconds:mean1d)"
    border = f"clamp_min({FACTOR} * ({mean} or on () vector({UNKNOWN_S:g})), {LEAST_S:g})"
    assert 1 == ALERTS.read_text().count(border)
    assert FACTOR * UNKNOWN_S == overdue_after_s(())
