"""Several weights made into one: what the lanes of a round end with.

Piece by piece, so that neither the size of a tensor nor the number of lanes costs memory, and in an
order of operations that a plain loop over the elements reproduces bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from io import FileIO
from itertools import zip_longest
from operator import add
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tasuki.core.model import WeightsRef
from tasuki.disk.errors import disk_errors
from tasuki.disk.writing import copy_whole, sync
from tasuki.errors import BadWeights, ManifestMismatch, WeightsError
from tasuki.weights.container.dtypes import DTYPES
from tasuki.weights.container.floats import MERGEABLE, rounded, widened
from tasuki.weights.container.manifest import Manifest, TensorSpec
from tasuki.weights.container.names import quoted
from tasuki.weights.container.reader import read_header, read_manifest
from tasuki.weights.container.writer import BLOCK_BYTES, Contents, write_weights
from tasuki.weights.digest import opened, verify_digest

# Measured: fewer cost more in calls, and what is computed from more stays in no core's cache.
STEP = 2**16
"""Elements that are merged at a time."""

_MOST_NAMED = 50  # in a message that has to be read

_T = TypeVar("_T")
_Words = NDArray[np.unsignedinteger[Any]]  # Any: of whatever width


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The weights that a lane ends with, and on how many samples it trained them."""

    path: Path
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lane:
    """A part that is open, and what it counts for."""

    path: Path
    file: FileIO
    data_at: int
    weight: float

    def read(self, at: int, block: NDArray[Any]) -> None:  # Any: whatever the bytes stand for
        """Fill a block with the bytes from `at` on, counted from the end of the header."""
        with disk_errors(self.path):
            self.file.seek(self.data_at + at)
            size = self.file.readinto(block.data.cast("B"))
        if size != block.nbytes:
            raise BadWeights(f"{self.path} became shorter while it was merged")


def merge(parts: Sequence[Part], into: Path, *, equally: bool = False) -> WeightsRef:
    """Merge the weights of these lanes into a new file: whole, or not there.

    An element of a float tensor that is x[k] in lane k becomes

        (w[0] * x[0] + w[1] * x[1] + ...) / (w[0] + w[1] + ...)

    where w[k] is the lane's samples; every operation is one of float64, in the order of the lanes,
    and the quotient is rounded to the tensor's type once, to nearest with ties to even. If
    `equally`, or if no lane has samples, all w[k] are 1; otherwise a lane without samples is left
    out: not even its infinities count. An element whose bytes are equal in all lanes that count
    keeps them, be it an infinity or a NaN; any other NaN that comes out is the quiet one without
    a sign. Integers and bools are those of the lane with the most samples, the lowest one first.
    Where only one lane counts, its file is the result, byte for byte.

    The result is as `write_weights` writes it, and on disk when this returns; that its name
    survives a power cut takes a `sync` of its folder. Until then it has another name, which ends in
    `.part`.

    Args:
        parts: at least one, in the order of the lanes. Their digests were checked on arrival.

    Raises:
        ManifestMismatch: the parts hold different tensors; the first difference is named.
        WeightsError: as `check_mergeable`.
        BadWeights: one of them is no well-formed container.
        DiskFull, StorageError: a file cannot be read or written.
    """
    with _opened(parts, _weights(parts, equally=equally)) as (manifest, lanes):
        if len(parts) > 1:
            _check_types(manifest, parts[0].path)
        counting = [lane for lane in lanes if lane.weight]
        if len(counting) == 1:
            return _copied(counting[0].path, into)
        most = max(range(len(parts)), key=lambda lane: parts[lane].samples)
        return _written(manifest, _contents(manifest, counting, most=lanes[most]), into)


def check_mergeable(path: Path, *, what: str = "") -> None:
    """Weights that are to circulate in several lanes have to be of types that can be merged.

    Args:
        what: what a message calls them; empty: by their path.

    Raises:
        WeightsError: some tensors are of other types; they are named.
        BadWeights: it is no well-formed container.
        OSError: it cannot be opened.
    """
    _check_types(read_manifest(path), what or path)


def _check_types(manifest: Manifest, what: str | Path) -> None:
    bad = [
        f"{quoted(spec.name)} ({spec.dtype})"
        for spec in manifest.tensors
        if DTYPES[spec.dtype].is_floating and spec.dtype not in MERGEABLE
    ]
    if bad:
        more = f" and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else ""
        raise WeightsError(
            f"{what} holds tensors whose type cannot be merged: {', '.join(bad[:_MOST_NAMED])}"
            f"{more}; store them as {', '.join(MERGEABLE)}, or let the run have one lane"
        )


def _weights(parts: Sequence[Part], *, equally: bool) -> list[float]:
    if equally or not any(part.samples for part in parts):
        return [1.0] * len(parts)
    return [float(part.samples) for part in parts]


@contextmanager
def _opened(
    parts: Sequence[Part], weights: Sequence[float]
) -> Iterator[tuple[Manifest, list[_Lane]]]:
    """All parts, once they are known to hold the same tensors, and those."""
    with ExitStack() as stack:
        first: Manifest | None = None
        lanes: list[_Lane] = []
        for part, weight in zip(parts, weights, strict=True):
            with disk_errors(part.path):
                file = stack.enter_context(opened(part.path))
                # Only the first is kept: a long one for each of many lanes would be felt.
                manifest, data_at = read_header(file, part.path)
            first = first or manifest
            _check_same(first, manifest, parts[0].path, part.path)
            lanes.append(_Lane(path=part.path, file=file, data_at=data_at, weight=weight))
        if first is None:
            raise ValueError("there is nothing to merge")
        yield first, lanes


def _check_same(first: Manifest, other: Manifest, first_path: Path, path: Path) -> None:
    """Raises ManifestMismatch: they differ, if only in the order of the tensors."""
    found = next(_differences(first, other), None)
    if found is not None:
        one, two = found
        raise ManifestMismatch(
            f"weights that differ in more than their values cannot be merged: {path} has {two}"
            f" where {first_path} has {one}; let all lanes begin from the same first weights"
        )


def _differences(first: Manifest, other: Manifest) -> Iterator[tuple[str, str]]:
    yield from _unequal(first.tensors, other.tensors, _described)
    ties = sorted(first.tied.items()), sorted(other.tied.items())
    yield from _unequal(*ties, lambda tie: f"{quoted(tie[0])} tied to {quoted(tie[1])}")
    yield from _unequal(first.names, other.names, lambda name: f"{quoted(name)} listed")


def _described(spec: TensorSpec) -> str:
    return f"tensor {quoted(spec.name)} ({spec})"


def _unequal(
    ones: Iterable[_T], twos: Iterable[_T], described: Callable[[_T], str]
) -> Iterator[tuple[str, str]]:
    for one, two in zip_longest(ones, twos):
        if one != two:
            yield _or_nothing(one, described), _or_nothing(two, described)


def _or_nothing(value: _T | None, described: Callable[[_T], str]) -> str:
    return "nothing" if value is None else described(value)


def _contents(
    manifest: Manifest, counting: Sequence[_Lane], *, most: _Lane
) -> Iterator[tuple[TensorSpec, Contents]]:
    """Every tensor with what makes its bytes when its turn comes."""
    at = 0
    for spec in manifest.tensors:
        if DTYPES[spec.dtype].is_floating:
            yield spec, partial(_mean, counting, spec, at)
        else:
            yield spec, partial(_as_it_is, most, spec, at)
        at += spec.size


def _as_it_is(lane: _Lane, spec: TensorSpec, at: int) -> Iterator[memoryview]:
    for begin in range(0, spec.size, BLOCK_BYTES):
        block = np.empty(min(BLOCK_BYTES, spec.size - begin), dtype=np.uint8)
        lane.read(at + begin, block)
        yield block.data


def _mean(lanes: Sequence[_Lane], spec: TensorSpec, at: int) -> Iterator[memoryview]:
    width = DTYPES[spec.dtype].size
    # Not `sum`: from Python 3.12 on it is more exact than its additions.
    total = reduce(add, (lane.weight for lane in lanes))
    for begin in range(0, spec.size, STEP * width):
        count = min(STEP, (spec.size - begin) // width)
        yield _mean_of(lanes, spec.dtype, at + begin, count, total=total).data


def _mean_of(lanes: Sequence[_Lane], dtype: str, at: int, count: int, *, total: float) -> _Words:
    """So many elements from `at` on."""
    word = f"<u{DTYPES[dtype].size}"
    first, words = np.empty(count, dtype=word), np.empty(count, dtype=word)
    summed, product = np.zeros(count), np.empty(count)
    same = np.ones(count, dtype=np.bool_)
    # What infinities come to is not wrong here: whoever merges judges the result.
    with np.errstate(all="ignore"):
        for lane in lanes:
            block = first if lane is lanes[0] else words
            lane.read(at, block)
            # Seldom any are left after two lanes, and then there is nothing to compare.
            if same.any():
                same &= block == first
            # Wide first: NumPy would multiply a float32 by a Python float in float32.
            np.copyto(product, widened(dtype, block.data))
            product *= lane.weight
            summed += product
        summed /= total
        merged = rounded(dtype, summed)
    np.copyto(merged, first, where=same)
    return merged


def _copied(source: Path, into: Path) -> WeightsRef:
    with disk_errors(source):
        weights = WeightsRef(digest=verify_digest(source), size=source.stat().st_size)
        # One that was there from before a crash is a link, and would not be replaced by another.
        is_there = into.exists() and into.samefile(source)
    if not is_there:
        copy_whole(source, into)
    return weights


def _written(
    manifest: Manifest,
    contents: Iterator[tuple[TensorSpec, Contents]],
    into: Path,
) -> WeightsRef:
    part = into.with_name(f"{into.name}.part")  # `into` may end in `.part` itself
    with disk_errors(into):
        try:
            written = write_weights(part, contents, tied=manifest.tied, order=manifest.order)
            sync(part)
            part.replace(into)
        finally:
            part.unlink(missing_ok=True)
    return WeightsRef(digest=written.digest, size=written.size)
