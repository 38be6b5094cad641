"""The lanes of a round: what each has of the weights, and what all of them are made one of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasuki.core.model import TurnRecord, WeightsRef
from tasuki.core.relay import Phase, RelayState, at_rest


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """One lane, now.

    Attributes:
        relay: its way through the round under way; at rest before the first, and in a pause.
        last: the site that trained it last.
        before: the one that had done so when its round began.
        turns, samples: what it was trained by since all lanes were one, in rounds that are over.
        is_here: its weights of the round's end are with the controller.
        is_late: the round goes on without it.
    """

    relay: RelayState
    last: str | None = None
    before: str | None = None
    turns: int = 0
    samples: int = 0
    is_here: bool = False
    is_late: bool = False

    @property
    def is_in(self) -> bool:
        """Whether the round need not wait for it: it is done, late, or has no turn."""
        return self.is_here or self.is_late or not self.relay.itinerary

    @property
    def is_under_way(self) -> bool:
        """Whether sites have, or will have, turns of it."""
        return not self.is_late and self.relay.phase is not Phase.DONE and bool(self.itinerary)

    @property
    def itinerary(self) -> tuple[str, ...]:
        return self.relay.itinerary

    @property
    def records(self) -> tuple[TurnRecord, ...]:
        """What the round's weights have of it."""
        return () if self.is_late else self.relay.records


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A lane's weights that all are made of, and on how many samples it was trained since."""

    lane: int
    weights: WeightsRef
    samples: int


def closed(lane: LaneState) -> LaneState:
    """After its round: with what that trained it on; one that was late has what it began with."""
    relay, records = lane.relay, lane.records
    if lane.is_late:
        return replace(lane, relay=replace(relay, weights=relay.base), last=lane.before)
    return replace(
        lane,
        relay=replace(relay, is_merged=relay.is_merged and not records),
        turns=lane.turns + len(records),
        samples=lane.samples + sum(record.samples for record in records),
    )


def parts(lanes: Sequence[LaneState]) -> tuple[Part, ...]:
    """Of what all are made one: every lane that was trained since they were, in their order."""
    return tuple(
        Part(lane=lane.relay.lane, weights=lane.relay.weights, samples=lane.samples)
        for lane in lanes
        if lane.turns
    )


def one_again(lane: LaneState, weights: WeightsRef, *, made_of: Sequence[Part]) -> LaneState:
    """As all lanes are, with these weights; made of nothing, they are what they were."""
    is_merged = len(made_of) > 1 if made_of else lane.relay.is_merged
    relay = replace(lane.relay, weights=weights, base=weights, is_merged=is_merged)
    return replace(lane, relay=relay, turns=0, samples=0)


def replaced(lanes: tuple[LaneState, ...], lane: LaneState) -> tuple[LaneState, ...]:
    """All of them, with this one as it is now."""
    number = lane.relay.lane
    return (*lanes[:number], lane, *lanes[number + 1 :])


def rested(lane: LaneState, *, round: int) -> LaneState:
    """Before a round of which nothing is decided yet."""
    relay = at_rest(lane.relay, round=round)
    return replace(lane, relay=relay, before=lane.last, is_here=False, is_late=False)
