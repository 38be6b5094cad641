"""Runs with several lanes whose neighbours, queues or controller are in trouble."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.relay import Relay, relay
from support.waiting import until
from tasuki.core.model import CONTROLLER, LanesPolicy
from tasuki.core.run import Status, StopRequested
from tasuki.weights.unclaimed import Limits
from tasuki.wire import names
from tasuki_controller.history import decode_event

SETTINGS = {"order": '"fixed"', "rounds": 2, "attempts": 3, "min_sites": 1}


def submit_another(it: Relay, *, sites: tuple[str, ...], lanes: int) -> None:
    it.run_file = it.run_file.model_copy(update={"name": "other"})
    it.sites = sites
    it.submit(lanes=LanesPolicy(count=lanes))


def events(it: Relay, run: str) -> set[str]:
    return {type(decode_event(row)).__name__ for row in it.ledger.rows(run)}


def test_lanes_that_stand_still_hold_up_no_other_and_no_other_run(tmp_path: Path) -> None:
    """Bug: two turns that nobody took kept all others from being sent, without a word."""

    async def run() -> None:
        settings = {**SETTINGS, "sites": 6, "failure": 'on_silent = "wait"\nlease_s = 2'}
        others = ("site-3", "site-4", "site-5", "site-6")
        async with relay(tmp_path, settings, running=others) as it:
            it.stuck.routes |= {names.to_weights("site-1"), names.to_weights("site-2")}
            it.submit(lanes=LanesPolicy(count=3))
            submit_another(it, sites=others, lanes=2)
            await it.controller.wait("other")
            walk = it.controller.runs["walk"]
            await until(
                lambda: it.controller.runs["walk"].lanes[2].is_here, what="the third lane is in"
            )
            await until(
                lambda: "site-1" in it.controller.runs["walk"].reason, what="it says who is away"
            )
            assert Status.RELAYING is walk.status
            it.controller.apply("walk", StopRequested())
            await it.controller.wait("walk")

    asyncio.run(run())


def test_lanes_that_have_arrived_survive_a_restart_whatever_else_lies_there(
    tmp_path: Path,
) -> None:
    """Bug: what had arrived counted as sent by nobody, and went if there was too much of it."""

    async def run() -> None:
        settings = {**SETTINGS, "sites": 5, "params": 'hold = { site-5 = "go" }'}
        async with relay(tmp_path, settings) as it:
            it.submit(lanes=LanesPolicy(count=5))
            submit_another(it, sites=it.sites, lanes=5)
            runs = it.controller.runs
            await until(
                lambda: all(
                    4 == sum(lane.is_here for lane in it.controller.runs[run].lanes) for run in runs
                ),
                what="four lanes of each are in",
            )
            await it.stop(CONTROLLER)
            it.limits = Limits(size=7 * runs["walk"].merged.size)
            arrived = set((tmp_path / "spool" / CONTROLLER).glob("*.safetensors"))
            await it.start_controller()
            assert arrived == set((tmp_path / "spool" / CONTROLLER).glob("*.safetensors"))
            (tmp_path / "go").touch()
            for run in runs:
                await it.controller.wait(run)
                assert Status.FINISHED is it.controller.runs[run].status
                assert not {"WeightsLost", "LeaseExpired"} & events(it, run)

    asyncio.run(run())


def test_a_run_that_is_stopped_between_merges_leaves_nothing_of_its_lanes(tmp_path: Path) -> None:
    async def run() -> None:
        settings = {**SETTINGS, "sites": 2, "rounds": 50, "pause_s": 0.05}
        async with relay(tmp_path, settings) as it:
            it.submit(lanes=LanesPolicy(count=2, every_n_rounds=50))
            held = tmp_path / "runs/walk/held"
            await until(lambda: len(list(held.glob("*"))) >= 2, what="lanes are kept")
            it.controller.apply("walk", StopRequested())
            await it.controller.wait("walk")
            assert [] == list(held.glob("*"))

    asyncio.run(run())
