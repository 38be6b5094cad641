"""A permutation in which no lane begins at the site that trained it last, each as likely.

Swapping an unlucky first site with a uniformly drawn other one keeps the draw uniform; moving it
to the end, as others do, would make it last too often.
"""

from __future__ import annotations

from tasuki.core.order.draws import Draws
from tasuki.core.order.policy import Situation


def order(situation: Situation) -> tuple[str, ...]:
    draws = Draws(situation)
    drawn = draws.permutation(situation.sites)
    for start, last in zip(situation.starts, situation.lasts, strict=True):
        if drawn[start : start + 1] != [last]:
            continue
        others = [i for i in range(len(drawn)) if i != start and situation.last_before(i) != last]
        if others:
            other = others[draws.below(len(others))]
            drawn[start], drawn[other] = drawn[other], drawn[start]
    return tuple(drawn)
