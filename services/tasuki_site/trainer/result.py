"""What a trainer handed back: checked, and weights written where the service looks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from tasuki.core.model import Kind
from tasuki.disk.errors import disk_errors
from tasuki.errors import TrainerError
from tasuki.trainer import Result, Scores, plain_numbers
from tasuki.weights.container import ResultOf, open_excerpts
from tasuki_site.tensors import apply_difference, save_state
from tasuki_site.trainer.request import TurnRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a trainer achieved: its result is in the request's file already.

    Of a turn that evaluates these are the scores: there is no file, and `digest` is empty.
    """

    digest: str = ""
    size: int = 0
    metrics: Mapping[str, float]
    samples: int


def outcome_of(request: TurnRequest, returned: object) -> Outcome:
    """What came of a turn; see `write_result` and `scored`."""
    if request.kind == Kind.EVALUATE:
        return scored(returned)
    return write_result(request, returned)


def scored(returned: object) -> Outcome:
    """The scores of a turn that evaluates.

    Raises:
        TrainerError: these are none, or one of them is not finite.
    """
    if not isinstance(returned, Scores):
        raise TrainerError(
            f"evaluate returned {_what(returned)}; return turn.scores({{'accuracy': ...}},"
            " samples=n)"
        )
    metrics = plain_numbers(returned.metrics, what="scores")
    if not metrics:
        raise TrainerError(
            "the scores are empty; give at least one, as in turn.scores({'accuracy': ...})"
        )
    for name, value in metrics.items():
        if not isfinite(value):
            raise TrainerError(
                f"the score {name!r} is {value}, which compares with nothing; leave it out, or look"
                " at the data and the weights that it comes from"
            )
    return Outcome(metrics=metrics, samples=_whole(returned.samples, what="the evaluation"))


def _what(returned: object) -> str:
    if isinstance(returned, Result):
        return "weights (a Result), and an evaluation changes none"
    return "nothing (None)" if returned is None else f"a {type(returned).__name__}"


def write_result(request: TurnRequest, result: object) -> Outcome:
    """Put a trainer's result where the service looks for it, digest and checks in one pass.

    Raises:
        TrainerError: it is no `Result`.
        NonFiniteWeights, WeightsError: it cannot be handed on.
        DiskFull, StorageError: it cannot be written.
    """
    if not isinstance(result, Result):
        raise TrainerError(
            f"the trainer returned {type(result).__name__}; return turn.result(state, metrics=...)"
        )
    metrics = plain_numbers(result.metrics, what="metrics")
    samples = _whole(result.samples, what="the result")
    received = Path(request.received)
    state = result.state
    if result.is_difference:
        state = apply_difference(received, state)
    path = Path(request.result)
    with disk_errors(path), open_excerpts(received) as before:
        written = save_state(
            path,
            state,
            like=before.manifest,
            look=ResultOf(before).look,
            exempt=request.non_finite,
        )
    return Outcome(digest=written.digest, size=written.size, metrics=metrics, samples=samples)


def _whole(samples: Any, *, what: str) -> int:  # Any: of whatever scalar type it is
    """Raises TrainerError: it is no number of samples."""
    number = plain_numbers({"samples": samples}, what=what)["samples"]
    if not 0 <= number < 2**53 or number != int(number):
        raise TrainerError(f"{what} has samples={samples!r:.60}, which is no number of samples")
    return int(number)
