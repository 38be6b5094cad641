"""Elements of every floating type as numbers that NumPy computes with, and of some types back.

NumPy has no bfloat16 and no 8-bit floats, and whoever checks weights need not have what has them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

MERGEABLE = ("F64", "F32", "F16", "BF16")
"""The floating types that numbers can be rounded to."""

_Floats = NDArray[np.floating[Any]]  # Any: of whatever width
_Words = NDArray[np.unsignedinteger[Any]]  # Any: of whatever width
_NATIVE = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<f4"}
# Of a bfloat16, whose fraction has 7 bits where that of a float64 has 52.
_DROPPED = 45
_SMALLEST_NORMAL, _SMALLEST = 2.0**-126, 2.0**-133
_ALL = 2**64 - 1
# Bits of the fraction, what is taken from the exponent, and the codes that are no number.
_EIGHT_BITS = {
    "F8_E4M3": (3, 7, [0x7F, 0xFF]),
    "F8_E4M3FNUZ": (3, 8, [0x80]),
    "F8_E5M2FNUZ": (2, 16, [0x80]),
}


def widened(dtype: str, block: memoryview) -> _Floats:
    """The elements in these bytes, exactly; real and imaginary parts one after the other.

    Raises:
        KeyError: the type with this code is no floating one.
    """
    if dtype in _NATIVE:
        return np.frombuffer(block, dtype=_NATIVE[dtype])
    if dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(block, dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    if dtype == "F8_E5M2":  # the upper half of a float16
        return (np.frombuffer(block, dtype="u1").astype(np.uint16) << 8).view(np.float16)
    return _table(dtype)[np.frombuffer(block, dtype=np.uint8)]


def rounded(dtype: str, values: NDArray[np.float64]) -> _Words:
    """These numbers as elements of one of the types in `MERGEABLE`: their bits.

    Each becomes the nearest one, or of two that are as near the even one; beyond the largest come
    the infinities. Every NaN becomes the quiet one without a sign: processors differ in theirs.
    `values` may be overwritten.
    """
    values[np.isnan(values)] = np.nan
    with np.errstate(over="ignore", under="ignore"):
        if dtype == "BF16":
            return _bfloat16(values)
        native = values.astype(_NATIVE[dtype], copy=False)
    return native.view(f"<u{native.itemsize}")


def _bfloat16(values: NDArray[np.float64]) -> _Words:
    """Rounded in the float64's own bits: by way of float32 some would be rounded twice."""
    bits = values.view(np.uint64)
    kept = bits >> _DROPPED
    kept &= 1
    kept += bits
    kept += (1 << (_DROPPED - 1)) - 1
    kept &= (-1 << _DROPPED) & _ALL
    # Exact now, or beyond the largest, or below the normal numbers, where fewer bits are kept.
    words = (kept.view(np.float64).astype(np.float32).view(np.uint32) >> 16).astype("<u2")
    small = np.abs(values) < _SMALLEST_NORMAL
    if small.any():
        steps = np.rint(np.abs(values[small]) / _SMALLEST).astype("<u2")
        words[small] = words[small] & 0x8000 | steps
    return words


@cache
def _table(dtype: str) -> NDArray[np.float32]:
    """What each of the 256 codes means."""
    codes = np.arange(256)
    if dtype == "F8_E8M0":  # an exponent and nothing else
        return np.where(codes == 0xFF, np.nan, 2.0 ** (np.minimum(codes, 0xFE) - 127)).astype("f4")
    bits, bias, nans = _EIGHT_BITS[dtype]
    exponent, fraction = (codes & 0x7F) >> bits, (codes & ((1 << bits) - 1)) / (1 << bits)
    size = np.where(exponent == 0, fraction * 2.0, fraction + 1) * 2.0 ** (exponent - bias)
    size[nans] = np.nan
    table: NDArray[np.float32] = np.where(codes & 0x80, -size, size).astype(np.float32)
    return table
