"""Metrics are numbers; whatever else a trainer calls one is told as what it is."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from tasuki.errors import TrainerError
from tasuki.trainer import plain_numbers


@pytest.mark.parametrize(
    "value",
    [
        2,
        2.0,
        True + 1,
        Fraction(2),
        np.float16(2),
        np.array(2),
        np.array([2]),
        torch.tensor([[2.0]]),
    ],
)
def test_a_number_of_whatever_type_is_a_plain_one(value: Any) -> None:
    found = plain_numbers({"loss": value}, what="metrics")["loss"]
    assert (float, 2.0) == (type(found), found)


def test_nan_is_a_number() -> None:
    """A site that has none of a class has no such score either."""
    assert math.isnan(plain_numbers({"auc": torch.tensor(math.nan)}, what="metrics")["auc"])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([0.1, 0.2], "a list of 2, not a number; give one"),
        ((), "a tuple of 0, not a number; give one"),
        ({"a": 1}, "a dict of 1, not a number; give one"),
        (np.ones((2, 2)), r"a ndarray of shape \[2, 2\], not a number; give one"),
        (torch.ones(3), r"a Tensor of shape \[3\], not a number; give one"),
        ("good", "'good', not a number"),
        (None, "None, not a number"),
        (1j, "1j, not a number"),
        (10**400, "1000000.*, not a number"),
    ],
)
def test_what_is_no_number_is_told_as_what_it_is(value: Any, says: str) -> None:
    with pytest.raises(TrainerError, match=f"metrics: loss is {says}"):
        plain_numbers({"loss": value}, what="metrics")


def test_metrics_without_names_are_told_to_have_some() -> None:
    values: Any = [0.5]
    with pytest.raises(TrainerError, match="a list of 1 is no dict of name to number"):
        plain_numbers(values, what="metrics")
