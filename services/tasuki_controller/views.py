"""Runs, ledgers and what happens in them as plain values: for tables, for JSON, for onlookers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from tasuki.core.model import TurnRecord
from tasuki.core.report import TurnProgressed
from tasuki.core.run import RunState, Skip, Status, TurnFailed, TurnFinished
from tasuki.core.scores import mean_metrics
from tasuki.ledger.sqlite import Row
from tasuki.wire.strict_json import json_text
from tasuki_controller import history
from tasuki_controller.account import skips
from tasuki_controller.controller import HeldUp, TurnOut, Update
from tasuki_controller.course import Course, trouble

View = dict[str, Any]  # Any: JSON
UNKNOWN = Course()
_SHOWN: dict[str, type] = {
    kind.__name__: kind for kind in (TurnFinished, TurnFailed, TurnProgressed, HeldUp, TurnOut)
}
"""What is told with all that it says; of the rest, onlookers get the state that it led to."""


def run_row(state: RunState, course: Course = UNKNOWN) -> View:
    """A run in one line. `course`: how its turn goes, where that is known."""
    return {
        "run": state.plan.run,
        "status": state.status.value,
        "rounds": f"{state.round + 1}/{state.plan.task.rounds}",
        "turns": state.turns,
        "skipped": len(state.skipped),
        "digest": state.weights.digest,
        "reason": state.reason or trouble(state, course),
        **_turn_now(course),
    }


def summary(state: RunState, records: list[TurnRecord], *, wall_s: float) -> View:
    """A run's standing, the object that `--json` prints last."""
    newest = max((record.id.round for record in records), default=0)
    last = tuple(record for record in records if record.id.round == newest)
    return {
        "run": state.plan.run,
        "status": state.status.value,
        "reason": state.reason,
        "rounds": len({record.id.round for record in records}),
        "turns": state.turns,
        "skipped": len(state.skipped),
        "skips": skips(state.skipped),
        "left_out": list(state.left_out),
        "unchanged": sum(record.is_unchanged for record in records),
        "digest": state.weights.digest,
        "metrics": {
            # JSON has no NaN, and some of its readers refuse one.
            name: value if math.isfinite(value) else None
            for name, value in mean_metrics(last).items()
        },
        "wall_s": round(wall_s, 3),
    }


def standing(state: RunState, rows: list[Row], course: Course = UNKNOWN) -> View:
    """The summary of a run that this controller has, with who holds the weights and every turn."""
    records = history.records(rows)
    return {
        **summary(state, records, wall_s=rows[-1].at - rows[0].at),
        "reason": state.reason or trouble(state, course),
        **_turn_now(course),
        "holder": state.holder,
        "error": history.failure(rows) if state.status is Status.FAILED else None,
        "best": state.plan.checkpoint.best,
        "history": [_adapter(TurnRecord).dump_python(record, mode="json") for record in records],
    }


def _turn_now(course: Course) -> View:
    return {"phase": course.phase, "still_s": round(course.still_s, 1)}


def load_history(view: Mapping[str, Any]) -> tuple[list[TurnRecord], list[Skip]]:  # Any: JSON
    """The turns of a `standing`, accepted and skipped."""
    records = [
        _adapter(TurnRecord).validate_python({**record, "metrics": _known(record["metrics"])})
        for record in view["history"]
    ]
    return records, [_adapter(Skip).validate_python(skip) for skip in view["skips"]]


def dump_update(update: Update) -> str:
    """What happened as one line of JSON, with the run's state after it."""
    name = type(update.what).__name__
    what = _adapter(_SHOWN[name]).dump_python(update.what, mode="json") if name in _SHOWN else None
    state = _adapter(RunState).dump_python(update.run, mode="json") if update.run else None
    return json_text({"kind": name, "what": what, "outcome": update.outcome, "state": state})


def load_update(line: str) -> Update:
    """The other way."""
    content: Mapping[str, Any] = json.loads(line)  # Any: JSON
    state, what = content["state"], content["what"]
    kind = _SHOWN.get(content["kind"])
    return Update(
        run=None if state is None else _adapter(RunState).validate_python(state),
        what=None if kind is None or what is None else _adapter(kind).validate_python(_told(what)),
        outcome=content["outcome"],
    )


def _told(what: Mapping[str, Any]) -> Mapping[str, Any]:  # Any: JSON
    """With NaN where a number was none: that a loss became one is worth seeing."""
    if "values" in what:
        return {**what, "values": _with_nan(what["values"])}
    if "record" in what:
        record = what["record"]
        return {**what, "record": {**record, "metrics": _with_nan(record["metrics"])}}
    return what


def _with_nan(numbers: Mapping[str, float | None]) -> Mapping[str, float]:
    return {name: math.nan if value is None else value for name, value in numbers.items()}


def _known(metrics: Mapping[str, Any]) -> Mapping[str, Any]:  # Any: JSON
    """Without those that are no number, which JSON has as null."""
    return {name: value for name, value in metrics.items() if value is not None}


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:  # Any: one adapter for each kind
    return TypeAdapter(kind)
