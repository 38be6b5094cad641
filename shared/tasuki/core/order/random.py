"""A new uniform permutation each round."""

from __future__ import annotations

from tasuki.core.order.draws import Draws
from tasuki.core.order.policy import Situation


def order(situation: Situation) -> tuple[str, ...]:
    draws = Draws(situation)
    return tuple(draws.permutation(situation.sites))
