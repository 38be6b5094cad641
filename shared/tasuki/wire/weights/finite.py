"""NaN and Inf, found in the bits of floating-point elements of any format.

By bits because NumPy has no bfloat16 and no 8-bit floats, and is slow on float16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


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


def non_finite(dtype: str, block: memoryview) -> Literal["NaN", "Inf"] | None:
    """What the first element that is not finite is; None if all are, or the type has no such.

    `block` holds whole elements of the type with this code.
    """
    form = _FORMATS.get(dtype)
    if form is None:
        return None
    words = np.frombuffer(block, dtype=form.word)
    bad = (words & form.mask) == form.pattern
    if not bad.any():
        return None
    fraction = int(words[bad.argmax()]) & form.fraction
    return "Inf" if form.fraction and not fraction else "NaN"
