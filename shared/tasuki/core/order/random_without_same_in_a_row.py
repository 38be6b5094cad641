"""A permutation that does not start with the site that trained last, each such one as likely.

Swapping an unlucky first site with a uniformly drawn later one keeps the draw uniform; moving it
to the end, as others do, would make it last too often.
"""

from __future__ import annotations

from tasuki.core.order.draws import Draws
from tasuki.core.order.policy import Situation


def order(situation: Situation) -> tuple[str, ...]:
    draws = Draws(situation)
    drawn = draws.permutation(situation.sites)
    if len(drawn) > 1 and drawn[0] == situation.last:
        other = 1 + draws.below(len(drawn) - 1)
        drawn[0], drawn[other] = drawn[other], drawn[0]
    return tuple(drawn)
