"""A transport whose first readers of a stream are accepted and never given anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from tasuki.ports import Handler, Subscription, Transport


class _Deaf:
    def __init__(self, transport: Transport, stream: str, readers: int) -> None:
        self._transport = transport
        self._stream = stream
        self._left = readers

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    async def consume(
        self, queue: str, handler: Handler, *, prefetch: int = 1, offset: int | None = None
    ) -> Subscription:
        if queue == self._stream and self._left:
            self._left -= 1
            return _Nothing()
        return await self._transport.consume(queue, handler, prefetch=prefetch, offset=offset)


class _Nothing:
    async def cancel(self) -> None:
        """There is nothing to stop."""


def deaf_to(stream: str, *, readers: int = 1) -> Callable[[Transport], Transport]:
    """What a service is given in place of its transport."""
    return lambda transport: cast("Transport", _Deaf(transport, stream, readers))
