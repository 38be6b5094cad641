"""Elements of every floating type as numbers that NumPy computes with.

NumPy has no bfloat16 and no 8-bit floats, and whoever checks weights need not have what has them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.floating[Any]]  # Any: of whatever width
_NATIVE = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<f4"}
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
