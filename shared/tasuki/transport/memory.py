"""The queues in this process: for `tasuki simulate`, and the twin of RabbitMQ in every test.

Bodies are copied to bytes on the way, so nothing but encoded messages passes. It keeps the
promises of `ports.Transport` and the permissions of the real topology, and is not durable.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tasuki.core.model import CONTROLLER
from tasuki.errors import NotPermitted, Unroutable
from tasuki.ports import Delivery, Frames, Handler, OnConfirmed, Route, Settlement
from tasuki.wire import names

Fault = Callable[[Route, bytes], Iterable[bytes]]
"""What really arrives when this body is published: nothing, the body, the body twice, ..."""


@dataclass(slots=True, eq=False)
class _Message:
    body: bytes
    sender: str
    offset: int = 0


def _again(delivery: Delivery) -> _Message:
    return _Message(body=bytes(delivery.body), sender=delivery.sender)


@dataclass(slots=True, eq=False)
class _Reader:
    """One consumer: `position` counts only in a stream."""

    handler: Handler
    prefetch: int
    position: int = 0
    unsettled: list[Delivery] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Queue:
    """A queue or a stream, and who reads it."""

    name: str
    is_stream: bool
    retain_bytes: int
    messages: deque[_Message] = field(default_factory=deque)
    readers: list[_Reader] = field(default_factory=list)
    next_offset: int = 0
    room: asyncio.Event = field(default_factory=asyncio.Event)
    pump: asyncio.Handle | None = None

    def put(self, message: _Message) -> None:
        message.offset = self.next_offset
        self.next_offset += 1
        self.messages.append(message)
        self.wake()

    def wake(self) -> None:
        if self.pump is None and self.readers:
            self.pump = asyncio.get_running_loop().call_soon(self._deliver)

    def settle(self, reader: _Reader, delivery: Delivery) -> None:
        if delivery not in reader.unsettled:
            return
        reader.unsettled.remove(delivery)
        if self.is_stream:
            self._trim()
        self.room.set()
        self.wake()

    def leave(self, reader: _Reader) -> None:
        """Forget a consumer; what it had not settled goes back to the front, in order."""
        if reader in self.readers:
            self.readers.remove(reader)
            if not self.is_stream:
                self.messages.extendleft(map(_again, reversed(reader.unsettled)))
            reader.unsettled.clear()
            self.wake()

    def is_full(self) -> bool:
        """Whether a publisher has to wait for its reader, which keeps memory bounded."""
        reader = self.readers[0] if self.readers else None
        return reader is not None and len(self._pending(reader)) >= max(16, reader.prefetch)

    def _pending(self, reader: _Reader) -> Sequence[_Message]:
        if not self.is_stream:
            return self.messages
        return [message for message in self.messages if message.offset >= reader.position]

    def _deliver(self) -> None:
        self.pump = None
        # A queue has a single active consumer; a stream is read by each for itself.
        for reader in list(self.readers if self.is_stream else self.readers[:1]):
            while len(reader.unsettled) < reader.prefetch and (pending := self._pending(reader)):
                self._hand_out(reader, pending[0])

    def _hand_out(self, reader: _Reader, message: _Message) -> None:
        reader.position = message.offset + 1
        if not self.is_stream:
            self.messages.remove(message)
        delivery = Delivery(
            queue=self.name,
            body=message.body,
            sender=message.sender,
            offset=message.offset if self.is_stream else None,
            tag=reader,
        )
        reader.unsettled.append(delivery)
        reader.handler(delivery)

    def _trim(self) -> None:
        """Drop what every reader has read, beyond what is kept for reading again."""
        read = min((reader.position for reader in self.readers), default=0)
        kept = sum(len(message.body) for message in self.messages)
        while self.messages and self.messages[0].offset < read and kept > self.retain_bytes:
            kept -= len(self.messages.popleft().body)


@dataclass(frozen=True, slots=True, eq=False)
class _Subscription:
    queue: _Queue
    reader: _Reader

    async def cancel(self) -> None:
        self.queue.leave(self.reader)


class MemoryFederation:
    """All queues of one federation.

    Args:
        retain_bytes: how much of a stream is kept for reading again.
        is_durable: the queues outlive the services that use them, as a broker's do; so they do
            where services are restarted within one process.
    """

    def __init__(
        self, sites: Iterable[str], *, retain_bytes: int = 8 * 2**20, is_durable: bool = False
    ) -> None:
        self.is_durable = is_durable
        self._queues: dict[str, _Queue] = {}
        self._bindings: dict[Route, list[_Queue]] = {}
        self.fault: Fault | None = None
        self._retain_bytes = retain_bytes
        self._declare(names.REPORTS, [names.to_controller()])
        self._declare(names.DEAD, [])
        self._declare(names.weights_stream(CONTROLLER), [names.to_weights(CONTROLLER)], stream=True)
        for site in sites:
            self.add_site(site)

    def add_site(self, site: str) -> None:
        """Provision a site's queues; what others have is untouched."""
        self._declare(names.turns_queue(site), [names.to_turns(site)])
        self._declare(names.weights_stream(site), [names.to_weights(site)], stream=True)
        self._declare(names.control_queue(site), [names.to_control(site), names.to_control()])

    def connect(self, user: str) -> MemoryTransport:
        return MemoryTransport(self, user)

    def queue(self, name: str) -> _Queue:
        try:
            return self._queues[name]
        except KeyError:
            raise Unroutable(f"there is no queue {name}; provision the site first") from None

    async def put(self, route: Route, body: bytes, sender: str) -> None:
        queues = self._bindings.get(route)
        if not queues:
            raise Unroutable(f"no queue takes {route.key!r} of {route.exchange}")
        arriving = [body] if self.fault is None else list(self.fault(route, body))
        for queue in queues:
            for copy in arriving:
                await self._put_when_there_is_room(queue, _Message(body=copy, sender=sender))

    def bury(self, delivery: Delivery) -> None:
        self._queues[names.DEAD].put(_again(delivery))

    async def _put_when_there_is_room(self, queue: _Queue, message: _Message) -> None:
        queue.put(message)
        while queue.is_full():
            queue.room.clear()
            await queue.room.wait()

    def _declare(self, name: str, routes: list[Route], *, stream: bool = False) -> None:
        if name in self._queues:
            return
        queue = _Queue(name=name, is_stream=stream, retain_bytes=self._retain_bytes)
        self._queues[name] = queue
        for route in routes:
            self._bindings.setdefault(route, []).append(queue)


class MemoryTransport:
    """One identity's connection to a `MemoryFederation`."""

    def __init__(self, federation: MemoryFederation, user: str) -> None:
        self.is_durable = federation.is_durable
        self._federation = federation
        self._user = user
        self._readers: list[tuple[_Queue, _Reader]] = []

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        for queue, reader in self._readers:
            queue.leave(reader)
        self._readers.clear()

    async def publish(
        self, route: Route, bodies: Sequence[Frames], *, on_confirmed: OnConfirmed | None = None
    ) -> None:
        if route.exchange == names.CONTROL and self._user != CONTROLLER:
            raise NotPermitted(f"{self._user} may not publish to {route.exchange}")
        for count, frames in enumerate(bodies, start=1):
            await self._federation.put(route, b"".join(frames), self._user)
            if on_confirmed is not None:
                on_confirmed(count)

    async def consume(
        self, queue: str, handler: Handler, *, prefetch: int = 1, offset: int | None = None
    ) -> _Subscription:
        source = self._federation.queue(queue)
        if not self._may_read(queue):
            raise NotPermitted(f"{self._user} may not read {queue}")
        reader = _Reader(handler=handler, prefetch=prefetch, position=offset or 0)
        source.readers.append(reader)
        self._readers.append((source, reader))
        source.wake()
        return _Subscription(source, reader)

    async def count(self, queue: str) -> int:
        return len(self._federation.queue(queue).messages)

    async def is_read(self, queue: str) -> bool:
        return bool(self._federation.queue(queue).readers)

    def settle(self, delivery: Delivery, settlement: Settlement) -> None:
        reader = delivery.tag
        assert isinstance(reader, _Reader)  # noqa: S101 - we made it
        queue = self._federation.queue(delivery.queue)
        if settlement is Settlement.DEAD and not queue.is_stream and delivery in reader.unsettled:
            self._federation.bury(delivery)
        queue.settle(reader, delivery)

    def _may_read(self, queue: str) -> bool:
        if self._user == CONTROLLER:
            return queue in {names.REPORTS, names.DEAD} or queue.startswith(names.WEIGHTS)
        own = {names.turns_queue, names.weights_stream, names.control_queue}
        return queue in {name(self._user) for name in own}
