"""A broker that takes what goes to some queue and does not confirm it, until it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from tasuki.ports import Frames, OnConfirmed, Route, Transport


@dataclass(eq=False)
class Stuck:
    """Whoever publishes to one of these routes waits.

    Attributes:
        waiting: publications that do so now.
        withdrawn: publications whose senders waited no longer.
    """

    routes: set[Route]
    waiting: int = 0
    withdrawn: int = 0
    _free: asyncio.Event = field(default_factory=asyncio.Event)

    def through(self, transport: Transport) -> Transport:
        """What a service is given in place of its transport."""
        return cast("Transport", _Through(self, transport))

    def free(self) -> None:
        self._free.set()

    async def hold(self, route: Route) -> None:
        if route not in self.routes:
            return
        self.waiting += 1
        try:
            await self._free.wait()
        except asyncio.CancelledError:
            self.withdrawn += 1
            raise
        finally:
            self.waiting -= 1


class _Through:
    def __init__(self, stuck: Stuck, transport: Transport) -> None:
        self._stuck = stuck
        self._transport = transport

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    async def publish(
        self, route: Route, bodies: Sequence[Frames], *, on_confirmed: OnConfirmed | None = None
    ) -> None:
        await self._stuck.hold(route)
        await self._transport.publish(route, bodies, on_confirmed=on_confirmed)
