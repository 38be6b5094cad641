"""How the turn that is out goes, for whoever looks on: before its lease is over, and not after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasuki.core.report import Stage
from tasuki.core.run import RunState, is_overdue

_DOES = {
    Stage.WAITING: "waits until it has room for the turn",
    Stage.TAKEN: "waits for the turn's weights",
    Stage.TRAINING: "trains",
    Stage.TRAINED: "hands over",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnNow:
    """What is known of the turn that is out.

    Attributes:
        phase: what it is at, a `Stage`; empty: its holder has not said so yet.
        still_s: how long it has not come on, as far as was heard.
        silent_s: how long its holder has said nothing of it.
        held_s: how long its holder has had it.
        refused: why the broker does not take it for its holder; empty if it does.
        held_up: why nobody can come on or be heard; empty if that is not so.
    """

    phase: str = ""
    still_s: float = 0.0
    silent_s: float = 0.0
    held_s: float = 0.0
    refused: str = ""
    held_up: str = ""


UNKNOWN = TurnNow()


def doing(holder: str, phase: str) -> str:
    """What a turn is at, in words; empty if nobody said."""
    if phase == Stage.GIVEN_OUT:
        return f"{holder} is being sent the turn"
    return f"{holder} {_DOES[Stage(phase)]}" if phase in _DOES else ""


def troubles(state: RunState, turns: Sequence[TurnNow]) -> str:
    """Of the turns of all lanes, in their order; what holds all of them up is said once."""
    found = (trouble(state, turn, lane=lane) for lane, turn in enumerate(turns))
    return "; ".join(dict.fromkeys(filter(None, found)))


def trouble(state: RunState, turn: TurnNow, *, lane: int = 0) -> str:
    """What an operator has to know of the turn before its lease is over; empty if all is well."""
    holder = state.lanes[lane].relay.holder
    if turn.held_up or holder is None:
        return turn.held_up
    said = _trouble(state, turn, holder)
    return f"lane {lane + 1}: {said}" if said and state.has_lanes else said


def _trouble(state: RunState, turn: TurnNow, holder: str) -> str:
    """A quarter of a lease is as long as a site may take from one word to the next."""
    lease_s = state.plan.failure.lease_s
    if turn.silent_s >= lease_s / 2:
        return f"{holder} was last heard of {turn.silent_s:.0f} s ago"
    does = doing(holder, turn.phase) or f"the turn of {holder}"
    if turn.still_s - turn.silent_s >= lease_s / 4:
        why = f"; {turn.refused}" if turn.refused else ""
        return f"{does}: it has stood still for {turn.still_s:.0f} s{why}"
    if is_overdue(state, holder, held_s=turn.held_s):
        usual = _compared(state.took.get(holder, ()))
        return f"{does}: it has had the turn for {span(turn.held_s)}, {usual}"
    return ""


def _compared(took: Sequence[float]) -> str:
    if not took:
        return "and none of this run before to compare with"
    return f"where its last took {', '.join(map(span, took))}"


def span(seconds: float) -> str:
    """A time as short as it can be told."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
