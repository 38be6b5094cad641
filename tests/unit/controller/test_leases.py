"""How long a turn may still stand, and a holder be silent, can be seen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from support.waiting import until
from tasuki.core.model import CONTROLLER, TurnId, WeightsRef
from tasuki.core.report import Stage
from tasuki.core.run import EndLease, IssueTurn, LeaseExpired, StartLease
from tasuki_controller.leases import Leases

ID = TurnId(run="r", term=1, round=0, hop=0)
OTHER = TurnId(run="r", term=1, round=0, hop=1)
LEASE = StartLease(id=ID, lease_s=60)
SHORT = StartLease(id=ID, lease_s=0.2)
NONE = StartLease(id=ID, lease_s=0)
ISSUED = IssueTurn(
    id=ID,
    itinerary=("a",),
    weights=WeightsRef(digest="blake3:" + "0" * 64, size=1),
    at=CONTROLLER,
    records=(),
)


class Bell:
    """Told of leases that seem to have run out."""

    def __init__(self) -> None:
        self.rang: list[TurnId] = []
        self.doubts: list[TurnId] = []
        self.heard: list[float | None] = []
        self.leases = Leases(
            self.rang.append,
            doubt=self.doubts.append,
            hears_since=lambda: self.heard.pop() if self.heard else 0.0,
        )

    async def ring(self) -> None:
        await until(lambda: self.rang, what="a lease has run out")

    def left(self) -> float:
        left = self.leases.left_s("r")
        assert left is not None
        return left


def told(scenario: Callable[[Bell], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(_begin(scenario), 20))


async def _begin(scenario: Callable[[Bell], Awaitable[None]]) -> None:
    await scenario(Bell())


def test_a_lease_runs_down_until_it_ends() -> None:
    async def scenario(bell: Bell) -> None:
        assert bell.leases.left_s("r") is None
        bell.leases.apply("r", LEASE)
        assert 59 < bell.left() <= 60
        bell.leases.apply("r", EndLease())
        assert bell.leases.left_s("r") is None

    told(scenario)


def test_each_lane_has_what_is_left_of_its_own_lease() -> None:
    async def scenario(bell: Bell) -> None:
        second = StartLease(id=replace(ID, lane=1), lease_s=600)
        bell.leases.apply("r", LEASE)
        bell.leases.apply("r", second)
        assert bell.left() <= 60 < 599 < (bell.leases.left_s("r", 1) or 0) <= 600
        bell.leases.apply("r", EndLease())
        assert bell.leases.left_s("r") is None
        assert bell.leases.left_s("r", 1) is not None
        assert bell.leases.left_s("r", 2) is None

    told(scenario)


def test_a_lease_that_ran_out_has_nothing_left() -> None:
    async def scenario(bell: Bell) -> None:
        bell.leases.apply("r", NONE)
        await bell.ring()
        assert bell.left() == 0
        assert LeaseExpired(id=ID) == bell.leases.run_out(ID)
        assert bell.leases.left_s("r") is None

    told(scenario)


@pytest.mark.parametrize(("still_s", "left_s"), [(0.0, 60), (23.0, 37), (59.0, 1), (1e9, 0)])
def test_a_sign_of_life_renews_a_lease_by_as_much_as_the_turn_came_on(
    still_s: float, left_s: float
) -> None:
    async def scenario(bell: Bell) -> None:
        bell.leases.apply("r", LEASE)
        bell.leases.heard(ID, phase=Stage.TRAINED, still_s=still_s)
        assert left_s - 1 < bell.left() <= left_s

    told(scenario)


def test_how_long_a_turn_is_out_is_not_begun_anew_with_its_lease() -> None:
    async def scenario(bell: Bell) -> None:
        clock = asyncio.get_running_loop().time
        bell.leases.apply("r", LEASE)
        began = clock()
        await until(lambda: clock() - began > 0.05, what="it has been out for a while")
        bell.leases.given_out(ID)
        bell.leases.heard(ID, phase=Stage.TRAINING, still_s=0)
        bell.leases.apply("r", LEASE)
        assert bell.leases.held_s(ID) > 0.05
        bell.leases.apply("r", StartLease(id=OTHER, lease_s=60))
        assert bell.leases.held_s(OTHER) < 0.05
        assert bell.leases.held_s(ID) == 0
        bell.leases.apply("r", EndLease())
        assert bell.leases.held_s(OTHER) == 0

    told(scenario)


def test_a_sign_of_life_of_another_turn_renews_nothing() -> None:
    async def scenario(bell: Bell) -> None:
        bell.leases.apply("r", LEASE)
        bell.leases.heard(ID, phase=Stage.TRAINED, still_s=50)
        bell.leases.heard(OTHER, phase=Stage.TRAINED, still_s=0)
        assert bell.left() <= 10

    told(scenario)


def test_a_turn_that_stands_while_its_holder_lives_is_not_called_silent() -> None:
    async def scenario(bell: Bell) -> None:
        bell.leases.apply("r", LEASE)
        bell.leases.heard(ID, phase=Stage.TRAINED, still_s=60)
        await bell.ring()
        assert LeaseExpired(id=ID, phase="trained") == bell.leases.run_out(ID)

    told(scenario)


def test_a_holder_that_came_on_and_then_said_nothing_is_silent() -> None:
    async def scenario(bell: Bell) -> None:
        bell.leases.apply("r", SHORT)
        bell.leases.heard(ID, phase=Stage.TRAINED, still_s=0.05)
        await bell.ring()
        assert LeaseExpired(id=ID) == bell.leases.run_out(ID)

    told(scenario)


def test_a_lease_that_rang_and_was_renewed_before_anybody_looked_goes_on() -> None:
    """A service that was busy finds the bell and the report behind it at once."""

    async def scenario(bell: Bell) -> None:
        bell.leases.apply("r", NONE)
        await bell.ring()
        bell.leases.heard(ID, phase=Stage.TRAINING, still_s=0)
        assert bell.leases.run_out(ID) is None
        assert bell.leases.left_s("r") is not None

    told(scenario)


def test_a_lease_that_rang_before_it_was_known_that_nobody_could_be_heard_goes_on() -> None:
    async def scenario(bell: Bell) -> None:
        bell.heard[:] = [None, 0.0]
        bell.leases.apply("r", NONE)
        await bell.ring()
        assert bell.leases.run_out(ID) is None
        assert bell.leases.left_s("r") is not None

    told(scenario)


def test_a_lease_of_a_holder_who_could_not_be_heard_begins_again() -> None:
    async def scenario(bell: Bell) -> None:
        bell.heard[:] = [0.0, None, None]
        bell.leases.apply("r", NONE)
        await bell.ring()
        assert not bell.heard

    told(scenario)


def test_half_a_lease_without_a_word_is_a_doubt() -> None:
    async def scenario(bell: Bell) -> None:
        bell.leases.apply("r", SHORT)
        await bell.ring()
        assert [ID] == bell.doubts

    told(scenario)


def test_a_holder_who_says_that_its_turn_stands_still_is_not_doubted() -> None:
    """What it says came through the broker."""

    async def scenario(bell: Bell) -> None:
        bell.leases.apply("r", SHORT)
        bell.leases.heard(ID, phase=Stage.TRAINED, still_s=0.15)
        await bell.ring()
        assert [] == bell.doubts

    told(scenario)


def test_a_turn_is_on_its_way_until_it_was_sent() -> None:
    async def scenario(bell: Bell) -> None:
        assert bell.leases.is_given_out(ID)
        bell.leases.apply("r", ISSUED)
        bell.leases.sent_on(ID)
        assert not bell.leases.is_given_out(ID)
        bell.leases.given_out(ID)
        assert bell.leases.is_given_out(ID)

    told(scenario)


def test_a_turn_whose_sending_has_not_begun_has_a_lease_that_begins_again() -> None:
    """Its weights may have to be fetched first, and the last round's be saved."""

    async def scenario(bell: Bell) -> None:
        bell.leases.apply("r", ISSUED)
        bell.leases.apply("r", SHORT)
        for _ in range(2):
            await until(lambda: bell.left() < 0.1, what="down")
            await until(lambda: bell.left() > 0.1, what="again")
        assert [] == bell.rang == bell.doubts

    told(scenario)


def test_a_turn_that_is_sent_and_of_which_nothing_is_confirmed_stands_still() -> None:
    """Bug: as long as the controller had not sent it, its run stood without a word."""

    async def scenario(bell: Bell) -> None:
        bell.leases.apply("r", ISSUED)
        bell.leases.apply("r", SHORT)
        bell.leases.sent_on(ID)
        await bell.ring()
        assert LeaseExpired(id=ID, phase="given_out") == bell.leases.run_out(ID)

    told(scenario)


def test_every_body_of_a_turn_that_is_confirmed_renews_its_lease() -> None:
    async def scenario(bell: Bell) -> None:
        bell.leases.apply("r", ISSUED)
        bell.leases.apply("r", SHORT)
        bell.leases.sent_on(ID)
        await until(lambda: bell.left() < 0.1, what="down")
        bell.leases.sent_on(ID)
        assert bell.left() > 0.15
        assert [] == bell.rang

    told(scenario)


def test_nothing_that_is_confirmed_too_late_renews_another_lease() -> None:
    async def scenario(bell: Bell) -> None:
        bell.leases.apply("r", LEASE)
        bell.leases.heard(ID, phase=Stage.TRAINING, still_s=50)
        bell.leases.sent_on(ID)
        assert bell.left() <= 10

    told(scenario)
