"""What a turn is at in its site, and when it last came on.

Whoever is alive and does not come on says so: a lease is renewed by progress and not by words.
Times are seconds of one clock, whichever; here they only come in.
"""

from __future__ import annotations

from collections.abc import Mapping

from tasuki.core.model import TurnId
from tasuki.core.report import Stage
from tasuki.core.turn.state import Phase, SiteState

NEVER = float("-inf")
_STAGES = {
    Phase.TAKEN: Stage.TAKEN,
    Phase.TRAINING: Stage.TRAINING,
    Phase.TRAINED: Stage.TRAINED,
}


def stage_of(state: SiteState, id: TurnId) -> Stage | None:
    """What this turn is at; None if the site has it no more."""
    if (held := state.under_way(id)) is not None:
        return _STAGES[held.phase]
    is_waiting = any(held.turn.id == id for held in state.waiting)
    return Stage.WAITING if is_waiting else None


def came_on_at(
    state: SiteState, id: TurnId, moved_at: Mapping[TurnId, float], *, weights_at: float, now: float
) -> float:
    """When this turn last came on.

    A trainer that lives counts as coming on. A turn that waits for room comes on as long as one of
    those under way does: behind turns that stand still it gets nowhere by waiting.

    Args:
        moved_at: when each turn entered its phase, or more of its result was confirmed.
        weights_at: when a piece of weights last came; a stream is read in its order, so that any
            piece brings the one that is waited for nearer.
    """
    own = moved_at.get(id, NEVER)
    match stage_of(state, id):
        case Stage.TRAINING:
            return now
        case Stage.TAKEN:
            return max(own, weights_at)
        case Stage.WAITING:
            ahead = (held.turn.id for held in state.active)
            moved = (
                came_on_at(state, each, moved_at, weights_at=weights_at, now=now) for each in ahead
            )
            return max(own, *moved)
    return own


def stands_since(state: SiteState, moved_at: Mapping[TurnId, float], *, now: float) -> float:
    """Since when a site that is to end waits for nothing but hand-overs that stand still.

    A trainer is waited for, however long it takes.
    """
    if not state.active or any(held.phase is not Phase.TRAINED for held in state.active):
        return now
    return max(moved_at.get(held.turn.id, NEVER) for held in state.active)
