"""The site's weights stream, read on and on, and read anew when it falls silent.

A broker that was killed and is back can accept a reader of a stream and then never give it
anything. A turn comes after its weights, so that a turn without weights is a sign of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Set

import structlog

from tasuki.core.model import TurnId
from tasuki.ports import Handler, Subscription
from tasuki.wire import names
from tasuki_site.arrivals import Arrivals
from tasuki_site.site import Site

log = structlog.get_logger()

PREFETCH = 8  # chunks in memory at a time


class WeightsStream:
    """Reads from where the journal says.

    Args:
        awaiting: the turns whose weights have not come yet.
    """

    def __init__(
        self, site: Site, arrivals: Arrivals, handler: Handler, awaiting: Callable[[], Set[TurnId]]
    ) -> None:
        self._site = site
        self._arrivals = arrivals
        self._handler = handler
        self._awaiting = awaiting
        self._reader: Subscription

    async def open(self) -> None:
        site = self._site
        await self._read(site.journal.next_offset() if site.transport.is_durable else None)

    async def mind(self) -> None:
        """Read from the start again, once for each turn that gets nothing for a while."""
        helped: set[TurnId] = set()
        while True:
            count, waiting = self._arrivals.count, self._awaiting()
            await asyncio.sleep(self._site.stall_s)
            stalled = (self._awaiting() & waiting) - helped
            if stalled and self._arrivals.count == count:
                helped |= stalled
                log.warning("weights do not come: reads their stream anew", site=self._site.name)
                await self._reader.cancel()
                await self._read(None)

    async def _read(self, offset: int | None) -> None:
        stream = names.weights_stream(self._site.name)
        self._reader = await self._site.transport.consume(
            stream, self._handler, prefetch=PREFETCH, offset=offset
        )
