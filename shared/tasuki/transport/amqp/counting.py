"""Asking how a queue stands, on a channel of its own: a wrong name closes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pika.channel import Channel
from pika.frame import Method

from tasuki.errors import BrokerUnreachable, TransportError
from tasuki.transport.amqp import refusals
from tasuki.transport.amqp.connection import Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Of a queue with a single active consumer, the broker counts one reader however many wait."""

    messages: int
    readers: int


Answer = Callable[[Counts | TransportError], None]
"""Told the numbers, or why there are none, at most once; not if the connection breaks."""


def count(link: Link, queue: str, answer: Answer) -> None:
    """From any thread."""
    link.call(lambda: _open(link, queue, answer))


def _open(link: Link, queue: str, answer: Answer) -> None:
    if link.connection is None:
        answer(BrokerUnreachable(f"{queue} cannot be counted: no connection"))
        return

    def ask(channel: Channel) -> None:
        link.expect(channel, f"the count of {queue}")
        channel.queue_declare(queue, passive=True, callback=lambda frame: tell(channel, frame))

    def tell(channel: Channel, frame: Method) -> None:
        declared = frame.method
        answer(Counts(messages=declared.message_count, readers=declared.consumer_count))
        link.expect(channel, "the end of a channel")
        channel.close()

    def refuse(channel: Channel, error: Exception) -> None:
        link.came(channel)
        refused = refusals.refusal(error, what=f"counting {queue}")
        if refused is not None:
            answer(refused)

    channel: Channel = link.connection.channel(on_open_callback=ask)
    link.expect(channel, f"a channel to count {queue}")
    channel.add_on_close_callback(refuse)
