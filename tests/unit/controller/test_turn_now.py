"""What an operator is told of a turn before its lease is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.runs import Relay, plan
from tasuki.core import run
from tasuki.core.report import Stage
from tasuki_controller.documents import run_row
from tasuki_controller.turn_now import TurnNow, doing, trouble

STANDS = TurnNow(phase=Stage.TRAINED, still_s=23, silent_s=2)


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        (TurnNow(), ""),
        (TurnNow(phase=Stage.TRAINING, still_s=4, silent_s=4), ""),
        (TurnNow(phase=Stage.TRAINED, still_s=14, silent_s=4), ""),
        (STANDS, "a hands over: it has stood still for 23 s"),
        (
            TurnNow(phase=Stage.GIVEN_OUT, still_s=20),
            "a is being sent the turn: it has stood still for 20 s",
        ),
        (
            TurnNow(phase=Stage.GIVEN_OUT, still_s=20, refused="its queue is full"),
            "a is being sent the turn: it has stood still for 20 s; its queue is full",
        ),
        (
            TurnNow(phase=Stage.TAKEN, still_s=20),
            "a waits for the turn's weights: it has stood still for 20 s",
        ),
        (TurnNow(phase="other", still_s=20), "the turn of a: it has stood still for 20 s"),
        (TurnNow(phase=Stage.TRAINING, still_s=31, silent_s=31), "a was last heard of 31 s ago"),
        (TurnNow(phase=Stage.TRAINED, still_s=23, held_up="it is full"), "it is full"),
    ],
)
def test_what_is_wrong_with_a_turn_is_told_in_words(turn: TurnNow, told: str) -> None:
    assert told == trouble(Relay().state, turn)


def test_nothing_is_wrong_with_a_turn_that_nobody_has() -> None:
    relay = Relay()
    relay.finish_round()
    relay.finish_round()
    assert "" == trouble(relay.state, STANDS)


def after_a_round(*seconds: float) -> Relay:
    """A run in which `a` has its second turn, or a later one."""
    relay = Relay(plan(rounds=len(seconds) + 1))
    for each in seconds:
        relay(run.TurnFinished(record=replace(relay.record(), seconds=each)))
        relay.finish_round()
    return relay


@pytest.mark.parametrize(
    ("seconds", "turn", "told"),
    [
        (
            (480.0, 540.0),
            TurnNow(phase=Stage.TRAINING, held_s=3120),
            "a trains: it has had the turn for 52 min, where its last took 8 min, 9 min",
        ),
        (
            (0.4,),
            TurnNow(phase=Stage.TRAINING, held_s=9000),
            "a trains: it has had the turn for 2.5 h, where its last took 0 s",
        ),
        (
            (),
            TurnNow(held_s=6.1 * 3600),
            "the turn of a: it has had the turn for 6.1 h, and none of this run before to compare"
            " with",
        ),
        ((100.0,), TurnNow(phase=Stage.TRAINING, held_s=600), ""),
        ((9.0,), replace(STANDS, held_s=9000), "a hands over: it has stood still for 23 s"),
        (
            (9.0,),
            TurnNow(phase=Stage.TRAINING, silent_s=31, still_s=31, held_s=9000),
            "a was last heard of 31 s ago",
        ),
    ],
)
def test_a_turn_that_takes_far_longer_than_the_last_ones_is_told_with_both(
    seconds: tuple[float, ...], turn: TurnNow, told: str
) -> None:
    assert told == trouble(after_a_round(*seconds).state, turn)


def test_a_run_is_listed_with_its_turn_that_takes_too_long() -> None:
    row = run_row(after_a_round(9.0).state, [TurnNow(phase=Stage.TRAINING, held_s=700)])
    assert "a trains: it has had the turn for 12 min, where its last took 9 s" == row.reason


@pytest.mark.parametrize("phase", list(Stage))
def test_whatever_a_turn_is_at_has_words(phase: Stage) -> None:
    assert doing("a", phase).startswith("a ")


def test_of_what_nobody_said_nothing_is_told() -> None:
    assert {"", doing("a", ""), doing("a", "of another version")} == {""}


def test_a_run_is_listed_with_what_is_wrong_with_its_turn() -> None:
    row = run_row(Relay().state, [STANDS])
    assert ("a hands over: it has stood still for 23 s", "trained", 23) == (
        row.reason,
        row.phase,
        row.still_s,
    )


def test_what_the_run_itself_says_comes_first() -> None:
    relay = Relay()
    relay(run.PauseRequested())
    relay.finish_round()
    assert "paused by an operator" == run_row(relay.state, [STANDS]).reason
