"""What happens to a run while it goes on, as documents, one line of JSON each.

An onlooker's display goes by the whole state, as the controller's own does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from pydantic import Field, TypeAdapter

from tasuki.core.model import EVALUATION, Plan, WeightsRef
from tasuki.core.relay import Failed, Phase, RelayState
from tasuki.core.report import TurnProgressed
from tasuki.core.run import (
    Asked,
    Best,
    Evaluation,
    LaneState,
    LeaseExpired,
    LeftOut,
    RunState,
    Skip,
    Status,
    TurnFailed,
    TurnFinished,
)
from tasuki_controller.documents import AcceptedTurn, Document
from tasuki_controller.news import HeldUp, TurnOut, Update

_SHOWN: dict[str, type] = {
    kind.__name__: kind
    for kind in (TurnFinished, TurnFailed, LeaseExpired, TurnProgressed, HeldUp, TurnOut)
}
"""What is told with all that it says; of the rest, onlookers get the state that it led to."""


_PHASES = {
    Status.RELAYING: Phase.OUT,
    Status.CLOSING: Phase.DONE,
    Status.EVALUATING: Phase.DONE,
    Status.FINISHED: Phase.DONE,
}
"""How the relay of a run stands by where the run does; at rest otherwise."""


class EvaluationNow(Document):
    """An evaluation that is under way. `waiting`: the sites that have not scored yet."""

    asked: Asked
    sites: tuple[str, ...]
    waiting: tuple[str, ...]
    scores: tuple[AcceptedTurn, ...]
    left_out: tuple[LeftOut, ...]

    @classmethod
    def of(cls, evaluation: Evaluation) -> EvaluationNow:
        return cls.model_construct(
            asked=evaluation.asked,
            sites=evaluation.sites,
            waiting=tuple(evaluation.relays),
            scores=tuple(map(AcceptedTurn.of, evaluation.scores)),
            left_out=evaluation.left_out,
        )

    def evaluation(self, run: str) -> Evaluation:
        """The other way; of those that are waited for, no more than that."""
        weights = self.asked.weights
        waits = RelayState(run=run, lane=EVALUATION, weights=weights, base=weights)
        return Evaluation(
            asked=self.asked,
            sites=self.sites,
            relays=dict.fromkeys(self.waiting, waits),
            scores=tuple(turn.record() for turn in self.scores),
            left_out=self.left_out,
        )


class LaneNow(Document):
    """One model on its way, and how far it is in the round; not what it weighs in a merge."""

    phase: Phase
    term: int
    round: int
    hop: int
    itinerary: tuple[str, ...]
    weights: WeightsRef
    base: WeightsRef
    at: str
    attempts: int
    failed: Failed | None
    waits: str = ""
    losses: int
    early: tuple[AcceptedTurn, ...]
    records: tuple[AcceptedTurn, ...]
    last: str | None
    is_here: bool = Field(False, description="Its weights of the round's end have arrived.")
    is_late: bool = Field(False, description="The round goes on without it.")

    @classmethod
    def of(cls, lane: LaneState) -> LaneNow:
        told = {
            key: getattr(lane if key in _OF_LANE else lane.relay, key) for key in cls.model_fields
        }
        for key in ("early", "records"):
            told[key] = tuple(map(AcceptedTurn.of, getattr(lane.relay, key)))
        return cls.model_construct(**told)

    def lane(self, plan: Plan, number: int) -> LaneState:
        """The other way."""
        told = dict(self)
        for key in ("early", "records"):
            told[key] = tuple(turn.record() for turn in told[key])
        relay = RelayState(run=plan.run, lane=number, failure=plan.failure, **_of(RelayState, told))
        return LaneState(relay=relay, **{key: told[key] for key in _OF_LANE})


_OF_LANE = ("last", "is_here", "is_late")


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
    early: tuple[AcceptedTurn, ...]
    records: tuple[AcceptedTurn, ...]
    last: str | None
    lanes: tuple[LaneNow, ...] = Field((), description="Of each model on its way, if several are.")
    merged: WeightsRef | None = None
    turns: int
    skipped: tuple[Skip, ...]
    trained: frozenset[str]
    took: Mapping[str, tuple[float, ...]]
    pausing: bool
    unattended: bool
    evaluation: EvaluationNow | None = None
    evaluations: int = 0
    best: Best | None = None

    @classmethod
    def of(cls, state: RunState) -> RunNow:
        first = LaneNow.of(state.lanes[0])
        told = {
            key: getattr(first if key in LaneNow.model_fields else state, key)
            for key in cls.model_fields
        }
        told["lanes"] = tuple(map(LaneNow.of, state.lanes)) if state.has_lanes else ()
        if state.evaluation is not None:
            told["evaluation"] = EvaluationNow.of(state.evaluation)
        return cls.model_construct(**told)

    def state(self) -> RunState:
        """The other way."""
        told = {key: value for key, value in dict(self).items() if key not in {"lanes", "merged"}}
        if self.evaluation is not None:
            told["evaluation"] = self.evaluation.evaluation(self.plan.run)
        phase = _PHASES.get(self.status, Phase.RESTING)
        only = LaneNow.model_validate({**_of_lane(dict(self)), "phase": phase, "round": self.round})
        lanes = tuple(
            lane.lane(self.plan, number) for number, lane in enumerate(self.lanes or (only,))
        )
        return RunState(lanes=lanes, merged=self.merged or self.weights, **_of(RunState, told))


def _of_lane(told: Mapping[str, Any]) -> dict[str, Any]:  # Any: of each key's type
    return {key: value for key, value in told.items() if key in LaneNow.model_fields}


def _of(kind: type, told: Mapping[str, Any]) -> dict[str, Any]:  # Any: of each key's type
    return {each.name: told[each.name] for each in fields(kind) if each.name in told}


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
            what=None if shown is None else _dumped(shown, update.what),
            outcome=update.outcome,
            state=None if update.run is None else RunNow.of(update.run),
        )

    def update(self) -> Update:
        """What an onlooker is to show."""
        run, kind = None if self.state is None else self.state.state(), _SHOWN.get(self.kind)
        if kind is None or self.what is None:
            return Update(run=run, what=None, outcome=self.outcome)
        return Update(run=run, what=_loaded(kind, self.what), outcome=self.outcome)


def _dumped(kind: type, what: object) -> dict[str, Any]:  # Any: JSON
    if isinstance(what, TurnFinished):
        return {"record": AcceptedTurn.of(what.record).model_dump(mode="json")}
    # What its site has signed is no text, and nobody looks at it here.
    dumped: dict[str, Any] = _adapter(kind).dump_python(what, mode="json", exclude={"said"})
    return dumped


def _loaded(kind: type, what: Mapping[str, Any]) -> object:  # Any: JSON
    """With NaN where a number was none: that a loss became one is worth seeing."""
    if kind is TurnFinished:
        turn = AcceptedTurn.model_validate(what["record"])
        return TurnFinished(record=turn.record(instead=math.nan))
    if "values" in what:
        values = {
            key: math.nan if value is None else value for key, value in what["values"].items()
        }
        what = {**what, "values": values}
    return _adapter(kind).validate_python(what)


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:  # Any: one adapter for each kind
    return TypeAdapter(kind)
