"""The site's weights stream, read anew when it falls silent.

A turn comes after its weights, so that a turn without weights is a sign of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Set

import structlog

from tasuki.core.model import TurnId
from tasuki.ports import Handler
from tasuki.transport.stream import StreamReading
from tasuki.wire import names
from tasuki_site.arrivals import Arrivals
from tasuki_site.site import Site

log = structlog.get_logger()


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
        self._awaiting = awaiting
        stream = names.weights_stream(site.name)
        self._reading = StreamReading(site.transport, stream, handler)

    async def open(self) -> None:
        site = self._site
        offset = site.journal.next_offset() if site.transport.is_durable else None
        await self._reading.begin(offset)

    async def mind(self) -> None:
        """Read from the start again, once for each turn that gets nothing for a while."""
        helped: set[TurnId] = set()
        while True:
            count, waiting = self._arrivals.count, self._awaiting()
            await asyncio.sleep(self._site.stall_s)
            helped &= self._awaiting()
            stalled = (self._awaiting() & waiting) - helped
            if stalled and self._arrivals.count == count:
                helped |= stalled
                log.warning("weights do not come: reads their stream anew", site=self._site.name)
                await self._reading.begin(None)
