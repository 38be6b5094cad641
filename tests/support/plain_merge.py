"""What merging weights has to give: a loop over single elements, without Tasuki."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

State = Mapping[str, NDArray[np.generic]]

FORMATS = {"F64": (11, 52), "F32": (8, 23), "F16": (5, 10), "BF16": (8, 7)}
"""Bits of the exponent and of the fraction."""


def plain_merge(
    states: Sequence[State], samples: Sequence[int], *, equally: bool = False
) -> dict[str, NDArray[np.generic]]:
    """The states of several lanes as one. NumPy's own types of floats, integers and bools."""
    weights = plain_weights(samples, equally=equally)
    most = states[samples.index(max(samples))]
    counting = [state for state, weight in zip(states, weights, strict=True) if weight]
    merged = {name: np.array(value) for name, value in most.items()}
    for name, value in merged.items():
        if value.dtype.kind != "f":
            continue
        for at in np.ndindex(value.shape):
            lanes = [state[name][at] for state in counting]
            if len({lane.tobytes() for lane in lanes}) == 1:
                value[at] = lanes[0]
            else:
                value[at] = plain_mean([float(lane) for lane in lanes], weights)
    return merged


def plain_weights(samples: Sequence[int], *, equally: bool = False) -> list[float]:
    """What each lane counts for; 0 leaves it out."""
    if equally or not any(samples):
        return [1.0] * len(samples)
    return [float(count) for count in samples]


def plain_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Of the values of those lanes that count; a Python float is a float64."""
    summed = total = 0.0
    for value, weight in zip(values, [each for each in weights if each], strict=True):
        summed += weight * value
        total += weight
    mean = summed / total
    return math.nan if math.isnan(mean) else mean  # of whatever sign it came out


def plain_rounded(dtype: str, value: float) -> int:
    """The bits of the nearest element of a type, the even one of two, by exact arithmetic."""
    exponent_bits, fraction_bits = FORMATS[dtype]
    infinity = ((1 << exponent_bits) - 1) << fraction_bits
    if math.isnan(value):
        return infinity | 1 << (fraction_bits - 1)
    sign = (math.copysign(1, value) < 0) << (exponent_bits + fraction_bits)
    if math.isinf(value):
        return sign | infinity
    least = 2 - (1 << (exponent_bits - 1))
    exponent = max(math.frexp(value)[1] - 1, least) if value else least
    steps = round(Fraction(abs(value)) / Fraction(2) ** (exponent - fraction_bits))
    return sign | min(((exponent - least) << fraction_bits) + steps, infinity)
