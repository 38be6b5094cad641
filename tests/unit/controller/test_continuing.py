"""What a run may be given beyond its plan."""

from __future__ import annotations

import pytest

from support.runs import FIRST, plan
from tasuki.core.run import RunState, submitted
from tasuki.errors import TooManySites
from tasuki.wire.size import check_round
from tasuki_controller.continuing import check_joined


def fits(count: int) -> bool:
    try:
        check_round(with_sites(count).plan)
    except TooManySites:
        return False
    return True


def with_sites(count: int) -> RunState:
    sites = tuple(f"site-{number:06}" for number in range(count))
    return submitted(plan(sites=sites), FIRST)


def test_a_site_with_which_a_round_would_not_fit_into_messages_does_not_join() -> None:
    """It would be found when that round's last turn cannot be sent, for ever."""
    fitting, too_many = 100, 20_000
    while too_many - fitting > 1:
        middle = (fitting + too_many) // 2
        fitting, too_many = (middle, too_many) if fits(middle) else (fitting, middle)
    state = with_sites(fitting)
    check_joined(state, state.plan.sites[0])  # it takes part already
    with pytest.raises(TooManySites, match=f"a round of {fitting + 1} turns"):
        check_joined(state, "site-999999")
