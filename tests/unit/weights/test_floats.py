"""Floats of every type mean what PyTorch says that they mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tasuki.weights.container import DTYPES, widened

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
