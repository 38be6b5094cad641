"""Whether a turn takes far longer than turns usually do: what the alert TasukiTurnOverdue asks too.

The alert compares with every site's turns of a day, this with the last ones of the turn's own site.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from tasuki.core.model import TurnRecord
from tasuki.core.run.state import RunState

FACTOR = 5
"""So many times the usual is far longer."""

LEAST_S = 600.0
"""No turn is overdue before."""

UNKNOWN_S = 4320.0
"""What counts as usual where there has been no turn to compare with."""

LAST = 3
"""So many turns of a site are kept in mind."""


def with_turn(
    took: Mapping[str, tuple[float, ...]], record: TurnRecord
) -> Mapping[str, tuple[float, ...]]:
    """How long each site's last turns took, with this one; a site may claim whatever it likes."""
    if not isfinite(record.seconds):
        return took
    return {**took, record.site: (*took.get(record.site, ()), record.seconds)[-LAST:]}


def overdue_after_s(last: Sequence[float]) -> float:
    """How long a turn may take behind turns that took so long."""
    usual = sum(last) / len(last) if last else UNKNOWN_S
    return max(FACTOR * usual, LEAST_S)


def is_overdue(state: RunState, holder: str, *, held_s: float) -> bool:
    """Whether the turn that its holder has had for so long takes far too long.

    A run that limits its turns has said itself how long they may take.
    """
    task = state.plan.task
    if not task.turn_s is task.progress_s is None:
        return False
    return held_s > overdue_after_s(state.took.get(holder, ()))
