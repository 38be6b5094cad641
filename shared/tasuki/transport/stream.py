"""A weights stream that is read on and on, and can be read anew from its start.

A broker that was killed and is back can accept a reader of a stream and then never give it
anything; and a reader who asks an empty broker for what comes after all that the old one had gets
nothing until there is as much again. Whoever misses weights reads anew before giving them up for
lost.
"""

from __future__ import annotations

import asyncio

from tasuki.ports import Handler, Subscription, Transport

PREFETCH = 8  # chunks in memory at a time


class StreamReading:
    """One reader of one stream.

    Attributes:
        begun: how often it was begun.
    """

    def __init__(self, transport: Transport, stream: str, handler: Handler) -> None:
        self.stream = stream
        self.begun = 0
        self._transport = transport
        self._handler = handler
        self._reader: Subscription | None = None
        self._one_at_a_time = asyncio.Lock()

    async def begin(self, offset: int | None) -> None:
        """Returns once the broker has accepted the reader; None: from the oldest there is.

        Raises:
            Unroutable, NotPermitted: there is no such stream, or it may not be read.
        """
        await self.end()
        self._reader = await self._transport.consume(
            self.stream, self._handler, prefetch=PREFETCH, offset=offset
        )
        self.begun += 1

    async def begin_anew(self, *, seen: int) -> None:
        """From the oldest again, unless someone else did that since `begun` was `seen`.

        Raises:
            Unroutable, NotPermitted: there is no such stream, or it may not be read.
        """
        async with self._one_at_a_time:
            if self.begun == seen:
                await self.begin(None)

    async def end(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.cancel()
