"""Onlookers see every event once, and a refusal when it is said."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from support.runs import Relay
from tasuki.core import run as machine
from tasuki.core.report import TurnRefused
from tasuki.core.run import Status
from tasuki.ledger.sqlite import Row
from tasuki.wire.messages import encode
from tasuki_controller.followers.watch import BEHIND, Onlookers, Watch
from tasuki_controller.history import Step
from tasuki_controller.news import Update


def step(run: Relay, event: object, outcome: str = "") -> Step:
    row = Row(run="r", seq=4, at=1.0, event=encode(event), outcome=outcome, hash="")
    return Step(row=row, event=event, before=run.state, after=run.state)


def test_an_event_is_told_with_the_state_after_it_and_why_it_changed_nothing() -> None:
    run, told = Relay(), list[Update]()
    watch = Watch(told.append)
    finished = machine.TurnFinished(record=run.record())
    watch.follow(step(run, run.plan))
    watch.follow(step(run, finished, "stale_term"))
    watch.follow(
        step(
            run,
            TurnRefused(id=run.state.lanes[0].relay.expected, site="a", reason="x"),
            "refused: x",
        )
    )
    assert [Update(run=run.state, what=finished, outcome="stale_term")] == told


def test_an_onlooker_that_is_far_behind_misses_the_oldest_and_is_sent_home_at_the_end() -> None:
    async def run() -> None:
        run, onlookers = Relay(), Onlookers()
        now = Update(run=run.state, what=None)
        seen = onlookers.follow("r", [now], beat_s=60)
        assert now == await anext(seen)
        for number in range(BEHIND + 2):
            onlookers.tell(Update(run=run.state, what=number))
            onlookers.tell(Update(run=None, what="of no run"))
        assert 2 == (await anext(seen)).what  # type: ignore[union-attr]
        onlookers.close()
        assert list(range(3, BEHIND + 2)) == [told.what async for told in seen if told]

    asyncio.run(run())


def test_a_run_that_is_over_is_not_waited_for() -> None:
    async def run() -> None:
        over = replace(Relay().state, status=Status.FINISHED)
        now = Update(run=over, what=None)
        onlookers = Onlookers()
        assert [now] == [told async for told in onlookers.follow("r", [now], beat_s=60)]

    asyncio.run(run())
