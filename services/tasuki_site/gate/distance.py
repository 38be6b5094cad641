"""A turn moves the weights no further than its run allows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from tasuki.errors import GateRejected
from tasuki.weights.container import DTYPES, open_excerpts, widened
from tasuki_site.gate.candidate import Candidate

# Measured: what fits into a core's own cache with what is computed from it.
_STEP_BYTES = 2**18


def check(candidate: Candidate) -> None:
    """Raises GateRejected: the turn moved too far."""
    if (most := candidate.task.max_norm) is None:
        return
    norm = _distance(candidate.received, candidate.result)
    if not norm <= most:
        raise GateRejected(f"the turn moved the weights by {norm:.4g}, over {most:g}")


def _distance(received: Path, result: Path) -> float:
    """The L2 norm of what a turn changed, over tensors of every floating type; in float64."""
    total = 0.0
    with open_excerpts(received) as before, open_excerpts(result) as after:
        for spec in after.manifest.tensors:
            if DTYPES[spec.dtype].is_floating:
                for at in range(0, spec.size, _STEP_BYTES):
                    size = min(_STEP_BYTES, spec.size - at)
                    old = before.read(spec.name, at, size)
                    total += _moved(spec.dtype, old, after.read(spec.name, at, size))
    return math.sqrt(total)


def _moved(dtype: str, old: memoryview, new: memoryview) -> float:
    """The square of how far these elements went, of those that were and are finite."""
    before, after = widened(dtype, old), widened(dtype, new)
    with np.errstate(invalid="ignore", over="ignore"):
        moved = after.astype(np.float64)
        moved -= before
        square = float(moved @ moved)
        if math.isfinite(square):  # nearly always
            return square
        known = np.isfinite(before) & np.isfinite(after)
        return float(moved[known] @ moved[known])
