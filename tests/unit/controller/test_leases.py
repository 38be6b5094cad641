"""How long a holder may still be silent can be seen."""

from __future__ import annotations

import asyncio

from tasuki.core.model import CONTROLLER, TurnId, WeightsRef
from tasuki.core.run import EndLease, IssueTurn, StartLease
from tasuki_controller.leases import Leases

LEASE = StartLease(id=TurnId(run="r", term=1, round=0, hop=0), lease_s=60)
NONE = StartLease(id=LEASE.id, lease_s=0)


def test_a_lease_runs_down_until_it_ends() -> None:
    async def run() -> None:
        leases = Leases(lambda _: None)
        assert leases.left_s("r") is None
        leases.apply("r", LEASE)
        left = leases.left_s("r")
        assert left is not None
        assert 59 < left <= 60
        leases.apply("r", EndLease())
        assert leases.left_s("r") is None

    asyncio.run(run())


def test_a_lease_that_ran_out_has_nothing_left() -> None:
    async def run() -> None:
        rang = asyncio.Event()
        leases = Leases(lambda _: rang.set())
        leases.apply("r", NONE)
        await asyncio.wait_for(rang.wait(), 10)
        assert leases.left_s("r") == 0
        assert leases.has_run_out(NONE)
        assert leases.left_s("r") is None

    asyncio.run(run())


def test_a_lease_that_rang_and_was_renewed_before_anybody_looked_goes_on() -> None:
    """A service that was busy finds the bell and the report behind it at once."""

    async def run() -> None:
        rang = asyncio.Event()
        leases = Leases(lambda _: rang.set())
        leases.apply("r", NONE)
        await asyncio.wait_for(rang.wait(), 10)
        leases.renew(NONE.id)
        assert not leases.has_run_out(NONE)
        assert leases.left_s("r") is not None

    asyncio.run(run())


def test_a_lease_that_rang_before_it_was_known_that_nobody_could_be_heard_goes_on() -> None:
    async def run() -> None:
        rang = asyncio.Event()
        heard: list[float | None] = [None, 0.0]
        leases = Leases(lambda _: rang.set(), hears_since=heard.pop)
        leases.apply("r", NONE)
        await asyncio.wait_for(rang.wait(), 10)
        assert not leases.has_run_out(NONE)
        assert leases.left_s("r") is not None

    asyncio.run(run())


def test_a_lease_of_a_holder_who_could_not_be_heard_begins_again() -> None:
    async def run() -> None:
        rang = asyncio.Event()
        heard: list[float | None] = [0.0, None, None]
        leases = Leases(lambda _: rang.set(), hears_since=heard.pop)
        leases.apply("r", NONE)
        await asyncio.wait_for(rang.wait(), 10)
        assert not heard

    asyncio.run(run())


def test_a_turn_is_on_its_way_until_it_was_sent() -> None:
    async def run() -> None:
        weights = WeightsRef(digest="blake3:" + "0" * 64, size=1)
        issued = IssueTurn(
            id=LEASE.id, itinerary=("a",), weights=weights, at=CONTROLLER, records=()
        )
        leases = Leases(lambda _: None)
        assert leases.is_given_out(LEASE.id)
        leases.apply("r", issued)
        assert not leases.is_given_out(LEASE.id)
        leases.given_out(LEASE.id)
        assert leases.is_given_out(LEASE.id)

    asyncio.run(run())
