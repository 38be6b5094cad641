"""The count of dead letters, while the broker is there and while it is not."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from support.waiting import until
from tasuki.core.model import CONTROLLER
from tasuki.errors import TransportError
from tasuki.lifetime import beside
from tasuki.transport.memory import MemoryFederation, MemoryTransport
from tasuki_controller.dead_letters import count


class Cut(MemoryTransport):
    """A connection that can be cut; `asked` in vain so often."""

    is_cut = False
    asked = 0

    async def count(self, queue: str) -> int:
        if self.is_cut:
            self.asked += 1
            raise TransportError("no connection")
        return await super().count(queue)


def test_an_outage_is_told_once_however_often_it_is_asked() -> None:
    """Bug: a line every ten seconds, all night."""
    counts: list[int] = []

    async def scenario() -> None:
        transport, started = Cut(MemoryFederation(["a"]), CONTROLLER), asyncio.Event()
        started.set()
        async with beside(count(transport, counts.append, started, every_s=0.001)):
            for _ in range(2):
                transport.is_cut, transport.asked = True, 0
                await until(lambda: transport.asked >= 5, what="it is asked in vain")
                counts.clear()
                transport.is_cut = False
                await until(lambda: counts, what="it is counted again")

    with capture_logs() as logs:
        asyncio.run(scenario())
    said = [line for line in logs if line["event"] == "dead letters cannot be counted"]
    assert 2 == len(said)
    assert {0} == set(counts)
