"""The port `Transport` on RabbitMQ.

Two connections, each with a thread: one publishes, one consumes. A broker that is short of memory
stops reading from connections that publish, and would not see the acks on them either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from tasuki.errors import BrokerUnreachable, NotPermitted, TransportError
from tasuki.ports import Delivery, Frames, Handler, OnConfirmed, OnSent, Route, Settlement
from tasuki.transport.amqp import counting
from tasuki.transport.amqp.connection import Link
from tasuki.transport.amqp.consumer import Consumer
from tasuki.transport.amqp.consumers import Consumers
from tasuki.transport.amqp.counting import Counts
from tasuki.transport.amqp.publication import Publication
from tasuki.transport.amqp.publisher import Publisher
from tasuki.transport.amqp.settings import AmqpSettings
from tasuki.transport.amqp.state import Counters, LinkState, StateChange

OnState = Callable[[StateChange], None]
_Result = asyncio.Future[None]
T = TypeVar("T")


class AmqpTransport:
    """One identity's connection to RabbitMQ.

    Args:
        on_state: told on the event loop when a connection changes, for the log.
        on_sent: told on the publishing thread, of each publication's last body.

    One that was closed, or could not be opened, is done with: make another.

    `publish` asks for its bodies on another thread, one at a time, and never after it has
    returned or was cancelled.
    """

    is_durable = True

    def __init__(
        self,
        settings: AmqpSettings,
        *,
        on_state: OnState | None = None,
        on_sent: OnSent | None = None,
    ) -> None:
        self.settings = settings
        self.counters = Counters()
        self._on_state = on_state
        self._loop: asyncio.AbstractEventLoop | None = None
        self._publishing = Link("publish", settings)
        self._consuming = Link("consume", settings)
        self._publisher = Publisher(
            self._publishing,
            settings,
            self.counters,
            self._changed,
            on_sent,
        )
        self._consumers = Consumers(self._consuming, self.counters, self._changed, self._deliver)
        self._up: dict[str, _Result] = {}
        self._last_reason = "no answer"
        self._under_way: set[_Result] = set()
        self._is_closed = False

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        links = (self._publishing, self._consuming)
        self._up = {link.name: self._loop.create_future() for link in links}
        self._publishing.start(self._publisher)
        self._consuming.start(self._consumers)
        try:
            async with asyncio.timeout(self.settings.patience_s):
                await asyncio.gather(*self._up.values())
        except TimeoutError:
            reason = self._last_reason  # before our own goodbye is the last one
            await self._disconnect()
            where = ", ".join(map(str, self.settings.nodes))
            raise BrokerUnreachable(
                f"no broker at {where}: {reason}; `tasuki doctor` goes the way step by step"
            ) from None
        except (NotPermitted, asyncio.CancelledError):
            await self._disconnect()
            raise

    async def close(self) -> None:
        if self._loop is None or self._is_closed:
            return
        self._is_closed = True  # from here on nothing new is begun
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=self.settings.patience_s)
        for result in self._under_way:
            _resolve(result, BrokerUnreachable("closed before the broker confirmed"))
        await self._disconnect()

    async def publish(
        self, route: Route, bodies: Sequence[Frames], *, on_confirmed: OnConfirmed | None = None
    ) -> None:
        loop = self._check_open()
        if not bodies:
            return
        result: _Result = loop.create_future()
        publication = Publication(
            route,
            bodies,
            lambda error: self._post(partial(_resolve, result, error)),
            on_confirmed
            and (lambda count: self._post(partial(_tell, result, on_confirmed, count))),
        )
        self._under_way.add(result)
        self._publisher.submit(publication)
        try:
            await result
        except BaseException:
            publication.cancel()
            self._publisher.withdraw(publication)
            raise
        finally:
            self._under_way.discard(result)

    async def consume(
        self, queue: str, handler: Handler, *, prefetch: int = 1, offset: int | None = None
    ) -> AmqpSubscription:
        loop = self._check_open()
        started: _Result = loop.create_future()
        consumer = Consumer(
            queue=queue,
            handler=handler,
            prefetch=prefetch,
            next_offset=offset,
            started=lambda error: self._post(partial(_resolve, started, error)),
        )
        subscription = AmqpSubscription(self, consumer)
        self._consumers.add(consumer)
        try:
            await started
        except asyncio.CancelledError:
            consumer.is_over = True
            self._consumers.cancel(consumer, lambda _: None)
            raise
        return subscription

    async def count(self, queue: str) -> int:
        return (await self._counts(queue)).messages

    async def is_read(self, queue: str) -> bool:
        return (await self._counts(queue)).readers > 0

    async def _counts(self, queue: str) -> Counts:
        loop = self._check_open()
        answer: asyncio.Future[Counts] = loop.create_future()
        counting.count(
            self._consuming, queue, lambda found: self._post(partial(_resolve, answer, found))
        )
        try:
            async with asyncio.timeout(self.settings.answer_s):
                return await answer
        except TimeoutError:
            raise BrokerUnreachable(f"{queue} cannot be counted: {self._last_reason}") from None

    def settle(self, delivery: Delivery, settlement: Settlement) -> None:
        self._consumers.settle(delivery, settlement)

    async def cancel(self, consumer: Consumer) -> None:
        """End a consumer; returns once the broker has taken back what was not settled."""
        consumer.is_over = True
        if self._is_closed:
            return
        ended: _Result = self._check_open().create_future()
        self._consumers.cancel(consumer, lambda error: self._post(partial(_resolve, ended, error)))
        await ended

    def _check_open(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._is_closed:
            raise TransportError("this transport is not open")
        return self._loop

    async def _disconnect(self) -> None:
        self._is_closed = True
        for link in (self._publishing, self._consuming):
            link.stop()
        # Their last acts are goodbyes to the broker, so they are waited for off the loop.
        await asyncio.to_thread(self._publishing.join)
        await asyncio.to_thread(self._consuming.join)

    # --- from the I/O threads

    def _post(self, action: Callable[[], None]) -> None:
        """Run something on the event loop, unless that has ended."""
        assert self._loop is not None  # noqa: S101 - the threads start after it is set
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def _deliver(self, consumer: Consumer, delivery: Delivery) -> None:
        self._post(lambda: self._hand_over(consumer, delivery))

    def _hand_over(self, consumer: Consumer, delivery: Delivery) -> None:
        # What is dropped here is unsettled, so it comes again.
        if not (consumer.is_over or self._is_closed):
            consumer.handler(delivery)

    def _changed(self, change: StateChange) -> None:
        self._post(partial(self._note, change))

    def _note(self, change: StateChange) -> None:
        up = self._up[change.link]
        if change.state is LinkState.UP and up.done():
            self._count_reconnect(change.link)
        if change.state is LinkState.UP:
            _resolve(up, None)
        elif change.state is LinkState.REFUSED:
            _resolve(up, change.error)
        if change.reason:
            self._last_reason = f"{change.what}: {change.reason}".removeprefix(": ")
        if self._on_state is not None and not self._is_closed:
            self._on_state(change)

    def _count_reconnect(self, link: str) -> None:
        if link == self._publishing.name:
            self.counters.publish_reconnects += 1
        else:
            self.counters.consume_reconnects += 1


@dataclass(frozen=True, slots=True, eq=False)
class AmqpSubscription:
    """An open consumer."""

    transport: AmqpTransport
    consumer: Consumer

    async def cancel(self) -> None:
        await self.transport.cancel(self.consumer)


def _resolve(result: asyncio.Future[T], found: T | Exception) -> None:
    if result.done():
        return
    if isinstance(found, Exception):
        result.set_exception(found)
    else:
        result.set_result(found)


def _tell(result: _Result, on_confirmed: OnConfirmed, count: int) -> None:
    if not result.done():
        on_confirmed(count)
