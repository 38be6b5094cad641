"""Floats of every type mean what PyTorch says that they mean, and are rounded to exactly once."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from support.plain_merge import FORMATS, plain_rounded
from tasuki.weights.container import DTYPES, MERGEABLE, rounded, widened

FLOATS = [each for each in DTYPES.values() if each.is_floating and hasattr(torch, each.name)]


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.code)
def test_every_element_is_the_number_that_torch_makes_of_it(dtype: object) -> None:
    assert isinstance(dtype, type(FLOATS[0]))
    # Every code there is, of types of one and two bytes; of wider ones, many.
    codes = np.arange(2**16, dtype="<u2").tobytes()
    theirs = torch.frombuffer(bytearray(codes), dtype=getattr(torch, dtype.name))
    if dtype.is_complex:
        theirs = torch.view_as_real(theirs)
    expected = theirs.double().flatten().numpy()
    with np.errstate(invalid="ignore"):  # a signalling NaN
        ours = widened(dtype.code, memoryview(codes)).astype(np.float64)

    np.testing.assert_array_equal(expected, ours)


ANY = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
NARROW = [code for code in MERGEABLE if code != "F64"]


def codes_of(dtype: str) -> NDArray[np.uint64]:
    """Bits of elements of a type, without their sign: those at its edges, and many between."""
    exponent_bits, fraction_bits = FORMATS[dtype]
    infinity = ((1 << exponent_bits) - 1) << fraction_bits
    normal = 1 << fraction_bits
    edges = [range(40), range(normal - 20, normal + 20), range(infinity - 40, infinity)]
    spread = np.linspace(0, infinity - 1, 3000).astype(int)
    return np.unique([*(code for edge in edges for code in edge), *spread]).astype(np.uint64)


def values_around(dtype: str) -> NDArray[np.float64]:
    """Every such element, the middle between it and the next, and what is just beside these."""
    codes, width = codes_of(dtype), DTYPES[dtype].size
    finite = widened(dtype, codes.astype(f"<u{width}").data).astype(np.float64)
    following = widened(dtype, (codes + np.uint64(1)).astype(f"<u{width}").data).astype(np.float64)
    # After the largest would come what the next exponent begins with.
    following[np.isinf(following)] = 2.0 ** (1 << (FORMATS[dtype][0] - 1))
    exact = np.concatenate([finite, (finite + following) / 2])
    beside = [np.nextafter(exact, side) for side in (-np.inf, np.inf)]
    every = np.concatenate([exact, *beside, [np.inf, np.nan, 1e300, 5e-324]])
    return np.concatenate([every, -every])


@pytest.mark.parametrize("dtype", NARROW)
def test_a_number_becomes_the_nearest_element_and_of_two_the_even_one(dtype: str) -> None:
    values = values_around(dtype)
    expected = [plain_rounded(dtype, float(value)) for value in values]

    assert expected == rounded(dtype, values).tolist()


@pytest.mark.parametrize("dtype", MERGEABLE)
@settings(max_examples=200)
@given(value=ANY)
def test_any_number_is_rounded_as_by_exact_arithmetic(dtype: str, value: float) -> None:
    assert [plain_rounded(dtype, value)] == rounded(dtype, np.array([value])).tolist()


def test_what_rounding_twice_would_get_wrong_is_right() -> None:
    # Just above the middle of two bfloat16: a float32 would lie on it, and go to the even one.
    values = np.array([1 + 2.0**-8 + 2.0**-40, 1 + 2.0**-8, 1 + 2.0**-8 - 2.0**-40])

    assert [0x3F81, 0x3F80, 0x3F80] == rounded("BF16", values).tolist()


@pytest.mark.parametrize("dtype", MERGEABLE)
def test_every_nan_becomes_the_same_one(dtype: str) -> None:
    payloads = [0xFFF8 << 48, (0x7FF0 << 48) + 1, (1 << 64) - 1, 0x7FF8 << 48]
    values = np.array(payloads, dtype=np.uint64).view(np.float64)

    assert [plain_rounded(dtype, float("nan"))] * 4 == rounded(dtype, values).tolist()
