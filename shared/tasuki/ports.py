"""What the services need from the outside world, and what each promise is worth.

Every port has a twin in memory that is product code; one contract suite runs against all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

Buffer = bytes | memoryview
Frames = tuple[Buffer, ...]
"""One message body in pieces, so that a chunk's header can precede its bytes without a copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where to publish."""

    exchange: str
    key: str


class Settlement(StrEnum):
    """What becomes of a delivery."""

    DONE = "done"  # acknowledged: the broker may forget it
    DEAD = "dead"  # refused for good: it goes to the dead-letter queue


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delivery:
    """One message that arrived.

    Attributes:
        queue: where it was read.
        body: its bytes; for the length of the handler's call and until it is settled.
        sender: the user that the broker verified, or "" if there was none.
        offset: its place in a stream; None in a queue.
        tag: the transport's own handle.
    """

    queue: str
    body: Buffer
    sender: str
    offset: int | None = None
    tag: object = None


Handler = Callable[[Delivery], None]
OnSent = Callable[[Route, Frames], None]
"""Told of the last body of a `publish` when it was given to the network, not yet confirmed."""

OnConfirmed = Callable[[int], None]
"""Told how many bodies of a `publish`, from the first on, the broker has confirmed so far."""


class Subscription(Protocol):
    """An open consumer."""

    async def cancel(self) -> None:
        """Stop deliveries; what was delivered and not settled is delivered again to others."""


@runtime_checkable
class Transport(Protocol):
    """One identity's connection to the queues.

    Messages arrive at least once: duplicates happen. The order within one queue is kept, and so is
    that of the bodies of one `publish`. All methods are called from one asyncio event loop and
    handlers run on it; none of them blocks it. Connections that break are made again by the
    transport itself: consumers go on, with anything unsettled delivered again.
    """

    @property
    def is_durable(self) -> bool:
        """Whether what was confirmed survives this process."""

    async def open(self) -> None:
        """Connect.

        Raises:
            BrokerUnreachable: no connection within the transport's patience.
            NotPermitted: the broker refuses these credentials.
        """

    async def close(self) -> None:
        """Publish what is under way, then disconnect. Deliveries not settled come again."""

    async def publish(
        self, route: Route, bodies: Sequence[Frames], *, on_confirmed: OnConfirmed | None = None
    ) -> None:
        """Send these messages, in order; returns once the broker has confirmed every one.

        Waits out a broken connection and sends again from the first body that was not confirmed,
        so the receiver may see bodies twice. Never holds more than a bounded number of bytes.
        `bodies` may make each body when it is asked for, and is asked for a body again after a
        reconnect. Cancelling stops sending.

        Args:
            on_confirmed: told on the event loop whenever more is confirmed: each time a larger
                number. Never after this has returned or was cancelled.

        Raises:
            Unroutable: no queue takes it.
            NotPermitted: the broker refuses it.
        """

    async def consume(
        self, queue: str, handler: Handler, *, prefetch: int = 1, offset: int | None = None
    ) -> Subscription:
        """Call `handler` for each delivery, at most `prefetch` of them unsettled at a time.

        The handler must not raise and must see to it that the delivery is settled in the end.
        For a stream, `offset` is the first message wanted; None means from the oldest there is.

        Raises:
            Unroutable: there is no such queue.
            NotPermitted: it belongs to someone else.
        """

    async def count(self, queue: str) -> int:
        """How many messages wait in a queue and were not delivered to anybody.

        Raises:
            Unroutable: there is no such queue.
            TransportError: it cannot be asked now.
        """

    async def is_read(self, queue: str) -> bool:
        """Whether anybody reads a queue, be it someone who only waits for the reader to go.

        Raises:
            Unroutable: there is no such queue.
            TransportError: it cannot be asked now.
        """

    def settle(self, delivery: Delivery, settlement: Settlement) -> None:
        """Say what becomes of a delivery. Harmless if its connection is gone: it comes again.

        In a stream nothing is consumed: any settlement only makes room for the next delivery.
        """


class Clock(Protocol):
    """The time, as a value."""

    def now(self) -> float:
        """Seconds since 1970, UTC. For records; never for deciding."""
