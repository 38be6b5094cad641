"""What may become of a run that was planned to an end: more rounds, or removal."""

from __future__ import annotations

from tasuki.core.run.state import OVER, RunState, Status

REMOVED = "removed_already"
NOT_OVER = "not_over"
NOT_FINISHED = "run_over"
HAS_AS_MANY = "has_as_many"
HAS_MORE = "has_more"


def why_no_rounds(state: RunState, rounds: int) -> str:
    """Why the run cannot have so many rounds in all; "" if it can.

    One that failed or was stopped ended in the middle of a round, whose order would be another now.
    """
    if state.removed:
        return REMOVED
    if state.status in OVER - {Status.FINISHED}:
        return NOT_FINISHED
    has = state.plan.task.rounds
    if rounds == has:
        return HAS_AS_MANY
    return HAS_MORE if rounds < has else ""


def why_not_removed(state: RunState) -> str:
    """Why the run's weights cannot go; "" if they can."""
    if state.removed:
        return REMOVED
    return "" if state.status in OVER else NOT_OVER
