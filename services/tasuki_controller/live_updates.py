"""What happens to a run while it goes on, as documents, one line of JSON each.

An onlooker's display goes by the whole state, as the controller's own does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from tasuki.core.model import Plan, WeightsRef
from tasuki.core.report import TurnProgressed
from tasuki.core.run import RunState, Skip, Status, TurnFailed, TurnFinished
from tasuki.core.run.state import Failed
from tasuki_controller.documents import Accepted, Document
from tasuki_controller.news import HeldUp, TurnOut, Update

_SHOWN: dict[str, type] = {
    kind.__name__: kind for kind in (TurnFinished, TurnFailed, TurnProgressed, HeldUp, TurnOut)
}
"""What is told with all that it says; of the rest, onlookers get the state that it led to."""


class RunNow(Document):
    """A run's state: these keys stay, whatever the state consists of inside."""

    plan: Plan
    status: Status
    reason: str
    term: int
    round: int
    hop: int
    itinerary: tuple[str, ...]
    weights: WeightsRef
    base: WeightsRef
    at: str
    attempts: int
    failed: Failed | None
    losses: int
    silent: frozenset[str]
    early: tuple[Accepted, ...]
    records: tuple[Accepted, ...]
    last: str | None
    turns: int
    skipped: tuple[Skip, ...]
    trained: frozenset[str]
    took: Mapping[str, tuple[float, ...]]
    pausing: bool
    unattended: bool

    @classmethod
    def of(cls, state: RunState) -> RunNow:
        return cls.model_construct(**{key: getattr(state, key) for key in cls.model_fields})

    def state(self) -> RunState:
        """The other way."""
        return RunState(**dict(self))


class LiveUpdate(Document):
    """Something happened, and the run is in this state after it."""

    kind: str
    what: dict[str, Any] | None  # Any: JSON of its kind
    outcome: str
    state: RunNow | None

    @classmethod
    def of(cls, update: Update) -> LiveUpdate:
        kind = type(update.what).__name__
        shown = _SHOWN.get(kind)
        return cls(
            kind=kind,
            what=None if shown is None else _adapter(shown).dump_python(update.what, mode="json"),
            outcome=update.outcome,
            state=None if update.run is None else RunNow.of(update.run),
        )

    def update(self) -> Update:
        """What an onlooker is to show."""
        run, kind = None if self.state is None else self.state.state(), _SHOWN.get(self.kind)
        if kind is None or self.what is None:
            return Update(run=run, what=None, outcome=self.outcome)
        what = _adapter(kind).validate_python(_with_nan(self.what))
        return Update(run=run, what=what, outcome=self.outcome)


def _with_nan(what: Mapping[str, Any]) -> Mapping[str, Any]:  # Any: JSON
    """With NaN where a number was none: that a loss became one is worth seeing."""
    if "record" in what:
        return {**what, "record": _with_nan(what["record"])}
    numbers = {
        key: {name: math.nan if value is None else value for name, value in what[key].items()}
        for key in ("values", "metrics")
        if key in what
    }
    return {**what, **numbers}


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:  # Any: one adapter for each kind
    return TypeAdapter(kind)
