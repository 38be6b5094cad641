"""Order policies: who has the weights when. One file each; add yours to `POLICIES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tasuki.core.model import LanesPolicy, Order, Plan, is_by_lane
from tasuki.core.order import fixed, random, random_without_same_in_a_row
from tasuki.core.order.lanes import dealt, starts
from tasuki.core.order.policy import Situation

OrderPolicy = Callable[[Situation], tuple[str, ...]]

POLICIES: Mapping[str, OrderPolicy] = MappingProxyType(
    {
        "fixed": fixed.order,
        "random": random.order,
        "random_without_same_in_a_row": random_without_same_in_a_row.order,
    }
)

ONE_LANE = LanesPolicy()

__all__ = ["POLICIES", "OrderPolicy", "Situation", "itineraries", "itinerary", "longest", "starts"]


def itinerary(order: str | tuple[str, ...], situation: Situation) -> tuple[str, ...]:
    """The order of one round: by a named policy, or a list of sites (repeats allowed).

    A listed site that is not eligible now is left out.
    """
    if isinstance(order, str):
        return POLICIES[order](situation)
    return tuple(site for site in order if site in situation.sites)


def itineraries(
    order: Order, situation: Situation, lanes: LanesPolicy = ONE_LANE
) -> tuple[tuple[str, ...], ...]:
    """The order of one round for each lane: one for all of them, dealt, or a list for each."""
    if is_by_lane(order):
        return tuple(itinerary(each, situation) for each in order)
    flat = order if isinstance(order, str) else tuple(s for s in order if isinstance(s, str))
    return dealt(itinerary(flat, situation), lanes)


def longest(plan: Plan) -> tuple[str, ...]:
    """The sites of a round's longest lane while all are there."""
    order = plan.sites if isinstance(plan.order, str) else plan.order
    situation = Situation(seed=0, round=0, sites=plan.sites)
    return max(itineraries(order, situation, plan.lanes), key=len)
