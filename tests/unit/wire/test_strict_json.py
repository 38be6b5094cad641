"""JSON that every reader takes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import NoReturn

import pytest

from tasuki.wire.strict_json import json_text


def refused(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_null(number: float) -> None:
    text = json_text({"a": number, "b": [number, {"c": (1.5, number)}], "d": "NaN"}, sort_keys=True)
    expected = {"a": None, "b": [None, {"c": [1.5, None]}], "d": "NaN"}
    assert expected == json.loads(text, parse_constant=refused)


def test_everything_else_is_as_before() -> None:
    value: Mapping[str, object] = {"b": [1, 2.5, None, True], "a": {"x": "y"}}
    assert json.dumps(value, indent=1, sort_keys=True) == json_text(value, indent=1, sort_keys=True)
