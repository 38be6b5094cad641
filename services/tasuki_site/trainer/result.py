"""What a trainer handed back: checked, and written where the service looks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasuki.disk.errors import disk_errors
from tasuki.errors import TrainerError
from tasuki.trainer import Result, plain_numbers
from tasuki.weights.container import ResultOf, open_excerpts
from tasuki_site.tensors import apply_difference, save_state
from tasuki_site.trainer.request import TurnRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a trainer achieved: its result is in the request's file already."""

    digest: str
    size: int
    metrics: Mapping[str, float]
    samples: int


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
    samples = _whole(result.samples)
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


def _whole(samples: Any) -> int:  # Any: of whatever scalar type it is
    """Raises TrainerError: it is no number of samples."""
    number = plain_numbers({"samples": samples}, what="the result")["samples"]
    if not 0 <= number < 2**53 or number != int(number):
        raise TrainerError(f"the result has samples={samples!r:.60}, which is no number of samples")
    return int(number)
