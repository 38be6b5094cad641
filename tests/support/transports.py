"""Federations to test transports on, and a handler that tests can wait on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from support.vhosts import Vhosts
from tasuki.broker.nodes import Node
from tasuki.ports import Delivery, Frames, Settlement, Transport
from tasuki.transport.amqp import AmqpSettings, AmqpTransport, StateChange

T = TypeVar("T")
Opened = TypeVar("Opened", bound=Transport)
DEADLINE_S = 60.0


def run(coroutine: Coroutine[Any, Any, T], *, within_s: float = DEADLINE_S) -> T:
    """Run a test's coroutine on a loop of its own, with a deadline."""

    async def limited() -> T:
        async with asyncio.timeout(within_s):
            return await coroutine

    return asyncio.run(limited())


class Federation(Protocol):
    """Where transports of one federation come from."""

    def connect(self, user: str) -> Transport: ...


@dataclass(frozen=True)
class BrokerFederation:
    """A federation on a vhost of the test broker, perhaps through a proxy's port."""

    broker: Vhosts
    vhost: str
    port: int | None = None
    is_fast: bool = True

    def settings(self, user: str) -> AmqpSettings:
        settings = AmqpSettings.from_url(self.broker.url(user, self.vhost))
        # No patience with missing routes: this broker was not started just now.
        node = Node(self.broker.host, self.port or self.broker.port)
        return replace(settings, nodes=(node,), recovery_s=0.0, is_fast=self.is_fast)

    def connect(
        self,
        user: str,
        *,
        on_state: Callable[[StateChange], None] | None = None,
        **changes: Any,  # any of AmqpSettings
    ) -> AmqpTransport:
        return AmqpTransport(replace(self.settings(user), **changes), on_state=on_state)


@asynccontextmanager
async def opened(transport: Opened) -> AsyncIterator[Opened]:
    """The transport between its `open` and `close`."""
    await transport.open()
    try:
        yield transport
    finally:
        await transport.close()


class Inbox:
    """A handler that keeps what it gets; settles it at once unless told not to."""

    def __init__(self, transport: Transport, settlement: Settlement | None = None) -> None:
        self.all: list[Delivery] = []
        self._transport = transport
        self._settlement = settlement
        self._arrived: asyncio.Queue[Delivery] = asyncio.Queue()

    def __call__(self, delivery: Delivery) -> None:
        self.all.append(delivery)
        self._arrived.put_nowait(delivery)
        if self._settlement is not None:
            self._transport.settle(delivery, self._settlement)

    async def next(self) -> Delivery:
        return await self._arrived.get()

    async def take(self, count: int) -> list[Delivery]:
        return [await self.next() for _ in range(count)]

    async def bodies(self, count: int) -> list[bytes]:
        return [bytes(delivery.body) for delivery in await self.take(count)]


def numbered(count: int, *, first: int = 0) -> list[Frames]:
    """Small bodies that say which they are."""
    return [(f"{number}".encode(),) for number in range(first, first + count)]


class Made(Sequence[Frames]):
    """Bodies that are made when they are asked for, and count how often that was."""

    def __init__(self, count: int, *, size: int = 4) -> None:
        self.asked = 0
        self._count = count
        self._size = size

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:  # an int: slices are not asked for
        if not 0 <= index < self._count:
            raise IndexError(index)
        self.asked += 1
        return index.to_bytes(4, "big"), bytes(self._size - 4)
