"""NaN and infinities: found in the bits of floating-point elements of any format, and judged.

By bits because NumPy has no bfloat16 and no 8-bit floats, and is slow on float16.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasuki.errors import NonFiniteWeights
from tasuki.weights.container.excerpts import Excerpts
from tasuki.weights.container.manifest import Manifest, TensorSpec
from tasuki.weights.container.writer import Look

_Words = NDArray[np.unsignedinteger[Any]]  # Any: of whatever width


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """An element is not finite if its bits under `mask` are `pattern`.

    It is then an infinity if those under `fraction` are zero; formats without infinities have no
    `fraction`.
    """

    word: str
    mask: int
    pattern: int
    fraction: int = 0

    def bad(self, words: _Words) -> NDArray[np.bool_] | None:
        """Which are not finite; None if all are."""
        found = (words & self.mask) == self.pattern
        return found if found.any() else None

    def nan(self, words: _Words) -> bool:
        """Whether one of these, none of which is finite, is NaN."""
        return not self.fraction or bool((words & self.fraction).any())


def _ieee(word: str, *, exponent: int, fraction: int) -> _Format:
    return _Format(word=word, mask=exponent, pattern=exponent, fraction=fraction)


_F32 = _ieee("<u4", exponent=0x7F80_0000, fraction=0x007F_FFFF)

_FORMATS = {
    "F64": _ieee("<u8", exponent=0x7FF0 << 48, fraction=(1 << 52) - 1),
    "F32": _F32,
    "C64": _F32,  # two of them
    "F16": _ieee("<u2", exponent=0x7C00, fraction=0x03FF),
    "BF16": _ieee("<u2", exponent=0x7F80, fraction=0x007F),
    "F8_E5M2": _ieee("u1", exponent=0x7C, fraction=0x03),
    "F8_E4M3": _Format(word="u1", mask=0x7F, pattern=0x7F),
    "F8_E4M3FNUZ": _Format(word="u1", mask=0xFF, pattern=0x80),
    "F8_E5M2FNUZ": _Format(word="u1", mask=0xFF, pattern=0x80),
    "F8_E8M0": _Format(word="u1", mask=0xFF, pattern=0xFF),
}
_LARGEST = {"F16": "65504", "F8_E5M2": "57344", "F8_E4M3": "448"}
_EXEMPT = "or name the tensor in [gate] non_finite if that belongs there"


class FirstWeights:
    """Judges what a run is to start from: an infinity may be a constant, NaN is a mistake.

    Attributes:
        infinite: the tensors that hold infinities.
    """

    def __init__(self) -> None:
        self.infinite: dict[str, None] = {}

    def look(self, spec: TensorSpec, at: int, block: memoryview) -> None:
        """Raises NonFiniteWeights: it holds NaN."""
        form = _FORMATS.get(spec.dtype)
        if form is None:
            return
        words = np.frombuffer(block, dtype=form.word)
        if (bad := form.bad(words)) is None:
            return
        if form.nan(words[bad]):
            raise NonFiniteWeights(
                f"tensor {spec.name!r} of the first weights holds NaN; mend what made it (the"
                f" factory, or the training that left the file), {_EXEMPT}"
            )
        self.infinite[spec.name] = None


class ResultOf:
    """Judges what a turn made of what it received: infinities may stay where they were."""

    def __init__(self, received: Excerpts) -> None:
        self._received = received

    def look(self, spec: TensorSpec, at: int, block: memoryview) -> None:
        """Raises NonFiniteWeights: it holds NaN, or an infinity that was not there before."""
        form = _FORMATS.get(spec.dtype)
        if form is None:
            return
        words = np.frombuffer(block, dtype=form.word)
        if (bad := form.bad(words)) is None:
            return
        if form.nan(words[bad]):
            raise NonFiniteWeights(_advice(spec, "NaN"))
        before = np.frombuffer(self._received.read(spec.name, at, len(block)), dtype=form.word)
        if not np.array_equal(words[bad], before[bad]):
            raise NonFiniteWeights(_advice(spec, "Inf"))


def exempting(look: Look, manifest: Manifest, patterns: Sequence[str]) -> Look:
    """`look`, but for tensors one of whose names is one of these patterns or fits it."""
    names = {spec.name: [spec.name] for spec in manifest.tensors}
    for alias, target in manifest.tied.items():
        names[target].append(alias)
    exempt = {target for target, all_ in names.items() if any(fits(n, patterns) for n in all_)}

    def guarded(spec: TensorSpec, at: int, block: memoryview) -> None:
        if spec.name not in exempt:
            look(spec, at, block)

    return guarded if exempt else look


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of them is this name or matches it, as file names are matched."""
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def _advice(spec: TensorSpec, found: str) -> str:
    what = "NaN" if found == "NaN" else "Inf where there was none"
    largest = _LARGEST.get(spec.dtype)
    narrow = f" ({spec.dtype} ends at {largest}: bf16 or f32 go further)" if largest else ""
    return (
        f"tensor {spec.name!r} holds {what}; lower the learning rate or clip the gradients{narrow},"
        f" {_EXEMPT}"
    )
