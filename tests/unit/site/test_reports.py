"""What a site has to say when its broker is back."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

from support.waiting import until
from tasuki.clock import SystemClock
from tasuki.core.model import CONTROLLER, TurnId
from tasuki.core.report import (
    REPORTS,
    Report,
    SiteBeat,
    SiteMeasured,
    TurnAbandoned,
    TurnProgressed,
)
from tasuki.ledger import migrations
from tasuki.ports import Delivery, Settlement
from tasuki.transport.memory import MemoryFederation
from tasuki.weights.spool import Spool
from tasuki.wire import names
from tasuki.wire.messages import decode
from tasuki_site.journal import Journal
from tasuki_site.reports import Reports
from tasuki_site.site import Site
from tasuki_site.trainer.pool import Trainer, TrainerPool

FIRST = TurnId(run="r", term=1, round=0, hop=0)
SECOND = TurnId(run="s", term=1, round=0, hop=0)


def no_trainer(_: str) -> Trainer:
    raise NotImplementedError


def test_signs_of_life_do_not_pile_up_before_what_a_run_waits_for(tmp_path: Path) -> None:
    """Bug: after a night without its broker a site had hours of beats to tell first."""
    heard: list[Report] = []

    async def run() -> None:
        queues = MemoryFederation(["a"], is_durable=True)
        with closing(migrations.connect(":memory:", migrations.JOURNAL)) as database:
            reports = Reports(
                Site(
                    name="a",
                    transport=queues.connect("a"),
                    journal=Journal(database, "a"),
                    spool=Spool(tmp_path),
                    trainers=TrainerPool(no_trainer),
                    clock=SystemClock(),
                )
            )
            for number in range(1000):  # nothing is published meanwhile
                for id in (FIRST, SECOND):
                    reports.progressed(
                        id, phase="training", values={"step": float(number)}, still_s=0.0
                    )
                reports.idle()
                reports.measured({"number": float(number)})
            reports.failed(FIRST, error="TrainerRaised", detail="")
            controller = queues.connect(CONTROLLER)

            def hear(delivery: Delivery) -> None:
                heard.append(decode(delivery.body, REPORTS))
                controller.settle(delivery, Settlement.DONE)

            await controller.consume(names.REPORTS, hear)
            publishing = asyncio.create_task(reports.publish())
            await asyncio.wait_for(reports.all_confirmed(), 20)
            reports.progressed(SECOND, phase="training", values={"step": 1000.0}, still_s=0.0)
            await asyncio.wait_for(reports.all_confirmed(), 20)
            await until(lambda: len(heard) == 6, what="all reports")
            publishing.cancel()

    asyncio.run(run())
    assert [
        TurnProgressed(id=FIRST, site="a", phase="training", values={"step": 999.0}),
        TurnProgressed(id=SECOND, site="a", phase="training", values={"step": 999.0}),
        SiteBeat(site="a"),
        SiteMeasured(site="a", series={"number": 999.0}),
        TurnAbandoned(id=FIRST, site="a", error="TrainerRaised"),
        TurnProgressed(id=SECOND, site="a", phase="training", values={"step": 1000.0}),
    ] == heard
