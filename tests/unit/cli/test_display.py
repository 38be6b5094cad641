"""What a run looks like while it is watched: also where nothing moves."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from support.runs import Relay, plan
from tasuki.core.model import OnSilent
from tasuki.core.report import TurnProgressed
from tasuki_cli.display import RunDisplay, turns_table
from tasuki_controller.live_updates import LiveUpdate
from tasuki_controller.news import HeldUp, TurnOut, Update


class Watched:
    """A run, and what was printed above its display."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self._out = io.StringIO()
        self._display = RunDisplay(Console(file=self._out, width=200))
        self.see(None)

    def see(self, what: object, outcome: str = "") -> None:
        self._display.watch(Update(run=self.relay.state, what=what, outcome=outcome))

    def beat(self, *, still_s: float, outcome: str = "") -> None:
        id, site = (
            self.relay.state.lanes[0].relay.expected,
            self.relay.state.lanes[0].relay.holder or "",
        )
        self.see(TurnProgressed(id=id, site=site, phase="trained", still_s=still_s), outcome)

    @property
    def lines(self) -> list[str]:
        return self._out.getvalue().splitlines()

    @property
    def shown(self) -> str:
        out = io.StringIO()
        Console(file=out, width=200).print(self._display.render())
        return out.getvalue()


def test_what_a_turn_is_at_is_shown() -> None:
    watched = Watched(Relay())
    watched.beat(still_s=0)
    assert "a hands over" in watched.shown
    assert [] == watched.lines


def test_a_turn_that_stands_still_is_told_of_once_and_shown_for_as_long() -> None:
    watched = Watched(Relay())
    for still_s in (5.0, 23.0, 28.0):
        watched.beat(still_s=still_s)
    assert ["r a hands over: it has stood still for 23 s"] == watched.lines
    assert "it has stood still for 28 s" in watched.shown
    watched.beat(still_s=0)
    assert "r goes on" == watched.lines[-1]
    assert "it has stood still for 28 s (round 1, over)" in watched.shown


def test_what_is_said_of_a_turn_that_is_not_awaited_is_not_shown() -> None:
    watched = Watched(Relay())
    watched.beat(still_s=30, outcome="stale_term")
    assert [] == watched.lines


def test_a_new_holder_does_not_stand_still_because_the_one_before_did() -> None:
    watched = Watched(Relay())
    watched.beat(still_s=30)
    watched.relay.finish_turn()
    watched.see(None)
    assert "a hands over: it has stood still for 30 s (round 1, over)" in watched.shown
    assert "b hands over" not in watched.shown


def test_a_run_that_waits_says_so_and_does_not_say_the_same_twice() -> None:
    watched = Watched(Relay(plan(on_silent=OnSilent.WAIT)))
    watched.beat(still_s=30)
    watched.relay.expire("trained")
    watched.see(None)
    watched.beat(still_s=65)
    assert [
        "r a hands over: it has stood still for 30 s",
        "r waiting: a has handed nothing on to b for 60 s",
    ] == watched.lines


def test_whoever_watches_from_elsewhere_is_told_of_a_lease_that_ran_out() -> None:
    """Bug: only the state was told, and a turn that is tried again says in none that it is."""
    watched = Watched(Relay())
    watched.relay.expire()
    expired = Update(run=watched.relay.state, what=watched.relay.history[-1])
    heard = LiveUpdate.model_validate_json(LiveUpdate.of(expired).line()).update()
    watched.see(heard.what)
    assert ["r a was silent for 60 s"] == watched.lines


def test_a_turn_that_takes_far_too_long_is_told_of_once_and_shown_for_as_long() -> None:
    watched = Watched(Relay())
    watched.relay.finish_round()
    watched.see(None)
    watched.beat(still_s=0)
    assert [] == watched.lines
    for held_s in (700.0, 800.0):
        watched.see(TurnOut(held_s=held_s))
    assert ["r a hands over: it has had the turn for 12 min, where its last took 2 s"] == (
        watched.lines
    )
    assert "it has had the turn for 13 min, where its last took 2 s" in watched.shown
    watched.relay.finish_turn()
    watched.see(None)
    assert "r goes on" == watched.lines[-1]
    assert "where its last took 2 s (round 2, over)" in watched.shown


def test_a_failure_that_repeats_itself_is_told_as_that() -> None:
    watched = Watched(Relay(plan(on_silent=OnSilent.SKIP, max_attempts=3)))
    for _ in range(2):
        watched.relay.fail()
        watched.see(watched.relay.history[-1])
    assert [
        "a TrainerRaised: boom",
        "a skipped in round 1: TrainerRaised",
        "a TrainerRaised: boom (as before)",
        "a the same failure twice: not tried again",
    ] == watched.lines


def test_a_failure_that_is_tried_again_is_told_as_no_more_than_that() -> None:
    watched = Watched(Relay(plan(max_attempts=3)))
    for detail in ("boom", "bang"):
        watched.relay.fail(detail)
        watched.see(watched.relay.history[-1])
    assert ["a TrainerRaised: boom", "a TrainerRaised: bang"] == watched.lines


def test_a_broker_that_holds_everybody_up_is_told_of_and_nobody_is_called_silent() -> None:
    watched = Watched(Relay())
    watched.see(HeldUp(reason="the broker takes nothing: low on memory"))
    watched.beat(still_s=40)
    assert "the broker takes nothing: low on memory" in watched.shown
    assert "stood still" not in watched.shown
    watched.see(HeldUp(reason=""))
    watched.beat(still_s=0)
    assert "r the broker takes nothing: low on memory" == watched.lines[0]
    assert "r goes on" == watched.lines[-1]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.0, "0.0000"), (0.9, "0.9000"), (2.2e-8, "2.2e-08"), (-4e-5, "-4e-05")],
)
def test_a_small_loss_keeps_its_digits_in_the_table(value: float | None, shown: str) -> None:
    """Bug: rounds of `0.0000`, which is not what was trained."""
    metrics = {} if value is None else {"loss": value}
    relay = Relay(plan())
    one = replace(relay.record(), metrics=metrics)
    out = io.StringIO()
    Console(file=out, width=200).print(turns_table([one], [], "loss"))
    assert shown == out.getvalue().split()[-2]
