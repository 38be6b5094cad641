"""One consumer: what it wants, how far it has come, and what it has not settled."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pika.channel import Channel

from tasuki.broker.topology import is_stream
from tasuki.ports import Delivery, Handler

OFFSET = "x-stream-offset"

Done = Callable[[Exception | None], None]


@dataclass(slots=True, eq=False)
class Consumer:
    """One consumer and how far it has come.

    Attributes:
        started: told once, when the broker has accepted it or never will.
        is_over: cancelled; set on the caller's thread, so that no handler runs after that.
        next_offset: in a stream, the first message not handed over yet; None is the oldest.
        unsettled: offsets handed over and not settled.
        out: the tags that are handed over and not settled, of the present channel.
        held: what came beyond the prefetch: a stream sends whole chunks of its file, however
            little it was asked for. Never more than what a publisher may have unconfirmed.
    """

    queue: str
    handler: Handler
    prefetch: int
    next_offset: int | None
    started: Done
    is_over: bool = False
    has_started: bool = False
    failures: int = 0
    channel: Channel | None = None
    cancelled: list[Done] = field(default_factory=list)
    unsettled: set[int] = field(default_factory=set)
    out: set[int] = field(default_factory=set)
    held: deque[Delivery] = field(default_factory=deque)

    @property
    def name(self) -> str:
        return f"reading {self.queue}"

    def arguments(self) -> dict[str, str | int]:
        """Where to go on: nothing settled is read again, and nothing unsettled is passed over."""
        if not is_stream(self.queue):
            return {}
        first = min(self.unsettled, default=self.next_offset)
        return {OFFSET: "first" if first is None else first}

    def take_held(self) -> Iterator[Delivery]:
        """What may be handed over now."""
        while self.held and len(self.out) < self.prefetch:
            delivery = self.held.popleft()
            self.out.add(tag_of(delivery).number)
            if delivery.offset is not None:
                self.next_offset = max(delivery.offset + 1, self.next_offset or 0)
                self.unsettled.add(delivery.offset)
            yield delivery

    def lose_channel(self) -> None:
        """Whatever came through it comes again."""
        self.channel = None
        self.out.clear()
        self.held.clear()

    def start(self, error: Exception | None) -> None:
        if not self.has_started:
            self.has_started = True
            self.started(error)


@dataclass(frozen=True, slots=True, eq=False)
class Tag:
    """Which delivery of which channel of which consumer."""

    consumer: Consumer
    channel: Channel
    number: int


def tag_of(delivery: Delivery) -> Tag:
    tag = delivery.tag
    assert isinstance(tag, Tag)  # noqa: S101 - we made it
    return tag
