"""The checks that a result must pass before it is handed on.

Finite values, names, shapes and dtypes were checked while the result was written; what is left
needs the run's own settings.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tasuki.core.model import Kind, Task, Turn
from tasuki.errors import GateRejected, ManifestMismatch
from tasuki.weights.container import (
    BLOCK_BYTES,
    DTYPES,
    WeightsFile,
    open_excerpts,
    open_weights,
    read_manifest,
    widened,
)
from tasuki_site.trainer.result import Outcome

# Measured: what fits into a core's own cache with what is computed from it.
_STEP_BYTES = 2**18

MOST_NAMES = 12


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
        given = _some(sorted(outcome.metrics)) or "none at all"
        raise GateRejected(
            f"the result has no metric {missing[0]!r}, which the run chooses its best checkpoint "
            f"by; it has {given}: pass metrics={{{missing[0]!r}: ...}}"
        )
    if task.max_norm is not None:
        norm = _distance(received, result)
        if not norm <= task.max_norm:
            raise GateRejected(f"the turn moved the weights by {norm:.4g}, over {task.max_norm:g}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")


def as_received(turn: Turn, *, received: Path, result: Path, outcome: Outcome) -> Outcome:
    """The outcome, by the digest that was received if the values are the same, in whatever form.

    First weights may be a file that others wrote: the same tensors in a container of another form.
    Then the result becomes that very file, so that the record alone says that nothing was trained.

    Raises:
        GateRejected: nothing was trained, and the run refuses that.
    """
    if outcome.digest != turn.weights.digest:
        if _header(received) == _header(result) or not _are_equal(received, result):
            return outcome
        shutil.copyfile(received, result)
    if turn.task.refuses_unchanged and turn.kind is Kind.TRAIN:
        raise GateRejected(
            "the turn handed on exactly what it received, which [gate] unchanged refuses: look for"
            " training that believes it is done, or that resumed from a file of its own"
        )
    return replace(outcome, digest=turn.weights.digest, size=turn.weights.size)


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(8)
        return head + file.read(int.from_bytes(head, "little"))


def _are_equal(received: Path, result: Path) -> bool:
    with open_weights(received) as before, open_weights(result) as after:
        olds, news = (dict(_by_name(file)) for file in (before, after))
        return olds.keys() == news.keys() and all(_is_same(olds[name], news[name]) for name in olds)


def _by_name(file: WeightsFile) -> Iterator[tuple[str, memoryview]]:
    return ((spec.name, view) for spec, view in file.tensors())


def _is_same(one: memoryview, other: memoryview) -> bool:
    step = BLOCK_BYTES
    pieces = range(0, max(len(one), len(other)), step)
    return all(bytes(one[at : at + step]) == bytes(other[at : at + step]) for at in pieces)


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
