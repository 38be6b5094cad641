"""Order policies: who has the weights when. One file each; add yours to `POLICIES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tasuki.core.order import fixed, random, random_without_same_in_a_row
from tasuki.core.order.policy import Situation

OrderPolicy = Callable[[Situation], tuple[str, ...]]

POLICIES: Mapping[str, OrderPolicy] = MappingProxyType(
    {
        "fixed": fixed.order,
        "random": random.order,
        "random_without_same_in_a_row": random_without_same_in_a_row.order,
    }
)

__all__ = ["POLICIES", "OrderPolicy", "Situation", "itinerary"]


def itinerary(order: str | tuple[str, ...], situation: Situation) -> tuple[str, ...]:
    """The order of one round: by a named policy, or a list of sites (repeats allowed).

    A listed site that is not eligible now is left out.
    """
    if isinstance(order, str):
        return POLICIES[order](situation)
    return tuple(site for site in order if site in situation.sites)
