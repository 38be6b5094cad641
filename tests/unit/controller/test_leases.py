"""How long a holder may still be silent can be seen."""

from __future__ import annotations

import asyncio

from tasuki.core.model import TurnId
from tasuki.core.run import EndLease, StartLease
from tasuki_controller.leases import Leases

LEASE = StartLease(id=TurnId(run="r", term=1, round=0, hop=0), lease_s=60)


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
        leases.apply("r", StartLease(id=LEASE.id, lease_s=0))
        await asyncio.wait_for(rang.wait(), 10)
        assert leases.left_s("r") is None

    asyncio.run(run())
