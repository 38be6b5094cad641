"""The checks that a result must pass before it is handed on.

Finite values, names, shapes and dtypes were checked while the result was written; what is left
needs the run's own settings.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from tasuki.core.model import Task
from tasuki.errors import GateRejected, ManifestMismatch
from tasuki.wire.weights import DTYPES, open_excerpts, read_manifest, widened
from tasuki_site.spell import Outcome

# Measured: what fits into a core's own cache with what is computed from it.
_STEP_BYTES = 2**18


def check(task: Task, *, received: Path, result: Path, outcome: Outcome) -> None:
    """Let a result pass, or say what is wrong with it.

    Raises:
        ManifestMismatch: other tensors than those received.
        GateRejected: a metric that the run needs is missing, or the turn moved too far.
    """
    difference = read_manifest(received).difference(read_manifest(result))
    if difference is not None:
        raise ManifestMismatch(difference)
    missing = [name for name in task.requires if name not in outcome.metrics]
    if missing:
        given = ", ".join(sorted(outcome.metrics)) or "none at all"
        raise GateRejected(
            f"the result has no metric {missing[0]!r}, which the run chooses its best checkpoint "
            f"by; it has {given}: pass metrics={{{missing[0]!r}: ...}}"
        )
    if task.max_norm is not None:
        norm = _distance(received, result)
        if not norm <= task.max_norm:
            raise GateRejected(f"the turn moved the weights by {norm:.4g}, over {task.max_norm:g}")


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
