"""Which tensors of a state are one and the same memory.

Models share parameters (an embedding with the last layer, say). Such a tensor is stored once and
given back as one object under all its names.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from tasuki.errors import WeightsError

# How long to look for a common element of two interleaved views; in practice a few steps do.
_MAX_WORK = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Where a tensor's elements lie.

    Attributes:
        name: the tensor's.
        memory: one address space; footprints of two of them never overlap.
        address: of the first element, in bytes.
        dtype: element type, of `itemsize` bytes.
        shape, strides: the latter in bytes.
    """

    name: str
    memory: Hashable
    address: int
    dtype: str
    itemsize: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def view(self) -> tuple[Hashable, ...]:
        """Equal for two that are the same tensor under two names."""
        # The stride of a dimension of length one says nothing.
        steps = tuple(s if n > 1 else 0 for n, s in zip(self.shape, self.strides, strict=True))
        return self.memory, self.address, self.dtype, self.shape, steps

    @property
    def reach(self) -> tuple[int, int]:
        """The bytes from its first to its last, with those between that are not its own."""
        ends = [(n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)]
        low = sum(end for end in ends if end < 0)
        high = sum(end for end in ends if end > 0)
        return self.address + low, self.address + high + self.itemsize


def find_ties(footprints: Iterable[Footprint]) -> dict[str, str]:
    """Alias to the name whose bytes it shares: of names for one tensor the first is kept.

    Raises:
        WeightsError: two tensors share some bytes without being the same; names both.
    """
    tied: dict[str, str] = {}
    kept: dict[tuple[Hashable, ...], Footprint] = {}
    for footprint in sorted(footprints, key=attrgetter("name")):
        # An empty tensor has no bytes to share.
        if 0 in footprint.shape:
            continue
        first = kept.setdefault(footprint.view, footprint)
        if first is not footprint:
            tied[footprint.name] = first.name
    _refuse_overlaps(kept.values())
    return tied


def _refuse_overlaps(footprints: Iterable[Footprint]) -> None:
    for one, other in _candidates(footprints):
        if _overlap(one, other):
            a, b = sorted((one.name, other.name))
            raise WeightsError(
                f"tensors {a!r} and {b!r} overlap in memory without being the same tensor;"
                " clone() one of them before returning it"
            )


def _candidates(footprints: Iterable[Footprint]) -> Iterator[tuple[Footprint, Footprint]]:
    """Pairs whose reaches meet, by a sweep over each memory."""
    by_memory = sorted(footprints, key=lambda footprint: repr(footprint.memory))
    for _, group in groupby(by_memory, key=attrgetter("memory")):
        open_: list[Footprint] = []
        for footprint in sorted(group, key=attrgetter("reach")):
            open_ = [other for other in open_ if other.reach[1] > footprint.reach[0]]
            yield from ((other, footprint) for other in open_)
            open_.append(footprint)


def _overlap(one: Footprint, other: Footprint) -> bool:
    """Whether they have an element in common: columns of one matrix reach over, and do not."""
    try:
        return np.shares_memory(
            _unreadable(one),
            _unreadable(other),
            max_work=_MAX_WORK,  # type: ignore[arg-type]  # NumPy's stub allows two of all numbers
        )
    except np.exceptions.TooHardError:
        return True


@dataclass(frozen=True, slots=True)
class _Interface:
    __array_interface__: dict[str, object]


def _unreadable(footprint: Footprint) -> NDArray[np.void]:
    """An array there, for NumPy to compare. The memory may be a GPU's: never read it."""
    interface = {
        "version": 3,
        "data": (footprint.address, True),
        "typestr": f"|V{footprint.itemsize}",
        "shape": footprint.shape,
        "strides": footprint.strides,
    }
    return np.asarray(_Interface(interface))
