"""Which lane visits which sites: one order for all of them, dealt."""

from __future__ import annotations

from tasuki.core.model import Cover, LanesPolicy


def starts(lanes: LanesPolicy, sites: int) -> tuple[int, ...]:
    """At which place of an order of so many sites each lane begins."""
    if lanes.cover is Cover.SHARE:
        return tuple(range(lanes.count))
    return tuple(lane * sites // lanes.count for lane in range(lanes.count))


def dealt(order: tuple[str, ...], lanes: LanesPolicy) -> tuple[tuple[str, ...], ...]:
    """The sites of each lane, in turn; a lane may get none.

    To share, the site at place i goes to lane i mod K. Where each lane visits all, lane k of K
    begins at place floor(k N / K) and goes round: with turns of equal length no two lanes want the
    same site at once (the rows of a cyclic Latin square).
    """
    if lanes.cover is Cover.SHARE:
        return tuple(order[lane :: lanes.count] for lane in range(lanes.count))
    return tuple(order[start:] + order[:start] for start in starts(lanes, len(order)))
