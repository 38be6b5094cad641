"""What a running controller says of a run in which several models circulate."""

from __future__ import annotations

import asyncio
from contextlib import closing
from functools import partial
from pathlib import Path

from support.numbers import shown
from support.relay import Relay, relay
from support.waiting import until
from tasuki.core.model import LanesPolicy
from tasuki.core.report import TurnProgressed
from tasuki.core.run import Status
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.observe.controller import ControllerMetrics
from tasuki.observe.metrics import Subject
from tasuki.transport.amqp import Counters
from tasuki_cli.display.board import Board
from tasuki_cli.display.view import DONE, HOLDS, view_of
from tasuki_controller.live_updates import LiveUpdate
from tasuki_controller.news import TurnOut, Update
from tasuki_controller.operations import Operations
from tasuki_controller.uploads import Uploads

HOLD = 'hold = { site-1 = "first", site-2 = "second" }'


def operations_of(it: Relay, ledger: SqliteLedger) -> Operations:
    subject = Subject(service="controller", counters=Counters(), is_up=lambda: True)
    operations = Operations(
        ledger=ledger,
        uploads=Uploads(it.folder / "uploads"),
        metrics=ControllerMetrics(subject),
        stream_bytes=2**40,
    )
    operations.serve(it.controller)
    return operations


def is_training(it: Relay, lane: int) -> bool:
    return it.controller.turn_now(it.run, lane).phase == "training"


async def look_on(operations: Operations, run: str) -> list[Update]:
    """What who looks on from now on is told first, as it travels."""
    seen = operations.follow(run, beat_s=0.05)
    found = []
    async for update in seen:
        if update is None:
            break
        found.append(LiveUpdate.model_validate_json(LiveUpdate.of(update).line()).update())
    await seen.aclose()  # type: ignore[attr-defined]  # it is a generator
    return found


def test_each_lane_is_told_of_while_it_is_out_and_when_it_is_done(tmp_path: Path) -> None:
    async def run() -> None:
        changes = {"rounds": 1, "order": '"fixed"', "params": HOLD}
        async with relay(tmp_path, changes) as it:
            it.submit(lanes=LanesPolicy(count=2))
            for lane in (0, 1):
                await until(partial(is_training, it, lane), what=f"lane {lane} trains")
            with closing(SqliteLedger(tmp_path / "operations.sqlite")) as ledger:
                operations = operations_of(it, ledger)
                (row,) = operations.runs()
                assert [("out", "site-1", "training"), ("out", "site-2", "training")] == [
                    (lane.status, lane.holder, lane.phase) for lane in row.lanes
                ]
                numbers = shown(operations.metrics)
                for lane, site in enumerate(("site-1", "site-2")):
                    left = it.controller.lease_left_s(it.run, lane)
                    assert left is not None
                    run = f'lane="{lane}",run="{it.run}"'
                    assert numbers[f'tasuki_holder{{{run},site="{site}"}}'] == 1
                    assert numbers[f"tasuki_lease_left_seconds{{{run}}}"] >= left
                told = await look_on(operations, it.run)
                assert {0, 1} == {u.what.lane for u in told if isinstance(u.what, TurnOut)}
                assert {("site-1", 0), ("site-2", 1)} == {
                    (update.what.site, update.what.id.lane)
                    for update in told
                    if isinstance(update.what, TurnProgressed)
                }
                board = Board()
                for update in told:
                    board.take(update, at=0.0)
                view = view_of(board, at=0.0, most_sites=9)
                assert ["site-1 trains", "site-2 trains"] == [lane.doing for lane in view.lanes]
                assert {"site-1", "site-2"} == {r.site for r in view.rows if r.mark == HOLDS}

                (tmp_path / "second").touch()
                await it.until(lambda state: state.lanes[1].is_here)
                (row,) = operations.runs()
                assert ["out", "done"] == [lane.status for lane in row.lanes]
                assert ("site-1", "training") == (row.lanes[0].holder, row.phase)
                assert it.controller.lease_left_s(it.run, 1) is None
                (tmp_path / "first").touch()
                state = await it.until_over()
                assert (Status.FINISHED, 3) == (state.status, state.turns)

        board = Board()
        for update in it.updates:
            board.take(update, at=0.0)
        marks = {r.mark for r in view_of(board, at=0.0, most_sites=9).rows}
        assert {DONE} == marks

    asyncio.run(run())
