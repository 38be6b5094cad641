"""Two controllers of one federation, by mistake or because the first one's machine died."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.relay import relay
from tasuki.clock import SystemClock
from tasuki.core.model import CONTROLLER
from tasuki.errors import AnotherController
from tasuki.transport.memory import MemoryFederation
from tasuki.weights.spool import Spool
from tasuki.wire import names
from tasuki_controller.controller import Controller
from tasuki_controller.one_controller import be_alone
from tasuki_controller.service import ControllerService


def test_a_second_controller_ends_before_it_touches_a_run(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with relay(tmp_path, {}) as it:
            it.submit()
            parts = Controller(
                transport=it.queues.connect(CONTROLLER),
                ledger=it.ledger,  # it has a run to go on with
                runs=tmp_path / "second",
                spool=Spool(tmp_path / "spool" / "second"),
                clock=SystemClock(),
            )
            started = asyncio.Event()
            with pytest.raises(AnotherController):
                await ControllerService(parts).run(started=started)
            assert not started.is_set()
            state = await it.until_over()
            assert (9, 3) == (state.turns, state.lanes[0].relay.term)  # nothing was taken back

    asyncio.run(scenario())


def test_a_controller_waits_for_one_that_the_broker_has_not_given_up_yet() -> None:
    async def scenario() -> None:
        federation = MemoryFederation(["site-1"])
        dead, new = federation.connect(CONTROLLER), federation.connect(CONTROLLER)
        await dead.consume(names.REPORTS, lambda _: None)
        starting = asyncio.create_task(be_alone(new, patience_s=30))
        await asyncio.sleep(0)
        assert not starting.done()

        await dead.close()

        async with asyncio.timeout(10):
            await starting

    asyncio.run(scenario())
