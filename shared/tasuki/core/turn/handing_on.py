"""What a turn's successor gets, and what proves that its predecessor gave it."""

from __future__ import annotations

from dataclasses import replace

from tasuki.core.model import CONTROLLER, Turn, TurnRecord


def onward(turn: Turn, record: TurnRecord, *, written: bytes) -> Turn:
    """The turn as the successor gets it; for the controller, past the end of the itinerary.

    Args:
        written: the record as it travels.
    """
    following = replace(turn.id, hop=turn.id.hop + 1)
    itinerary = turn.itinerary
    if turn.successor == CONTROLLER:
        itinerary = (*itinerary, CONTROLLER)
    history = (*turn.history, written)
    after = replace(turn, id=following, itinerary=itinerary, weights=record.sent)
    return replace(after, history=history, merged=False)  # they were trained since


def needs_proof(turn: Turn, *, site: str, sender: str) -> bool:
    """Whether the sender must have trained the turn before.

    The machine drops what is not this site's; the controller gives out in anybody's stead.
    """
    return turn.site == site and sender == turn.predecessor and sender != CONTROLLER


def is_proved(turn: Turn, before: TurnRecord, *, sender: str) -> bool:
    """Whether the last record is that of the sender, about the weights that come with the turn."""
    own = (replace(turn.id, hop=turn.id.hop - 1), sender, turn.weights)
    return (before.id, before.site, before.sent) == own
