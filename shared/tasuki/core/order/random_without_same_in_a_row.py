"""A permutation in which no lane begins at the site that trained it last, unless it has to.

Where one model circulates, each such permutation is as likely. Swapping an unlucky first site with
a uniformly drawn other one keeps the draw uniform; moving it to the end, as others do, would make
it last too often. With fewer sites than lanes swaps may not be enough, and all is drawn again.
"""

from __future__ import annotations

from tasuki.core.order.draws import Draws
from tasuki.core.order.policy import Situation

TRIES = 100


def order(situation: Situation) -> tuple[str, ...]:
    draws = Draws(situation)
    drawn = draws.permutation(situation.sites)
    for start in dict.fromkeys(situation.starts):
        unlucky = situation.lasts_at(start)
        if not unlucky.intersection(drawn[start : start + 1]):
            continue
        others = [
            i
            for i in range(len(drawn))
            if i != start and drawn[i] not in unlucky and drawn[start] not in situation.lasts_at(i)
        ]
        if others:
            other = others[draws.below(len(others))]
            drawn[start], drawn[other] = drawn[other], drawn[start]
    for _ in range(TRIES):
        if not situation.meets_last(drawn):
            break
        drawn = draws.permutation(situation.sites)
    return tuple(drawn)
