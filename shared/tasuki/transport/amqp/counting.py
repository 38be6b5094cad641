"""Asking how long a queue is, on a channel of its own: a wrong name closes it."""

from __future__ import annotations

from collections.abc import Callable

from pika.channel import Channel
from pika.frame import Method

from tasuki.errors import BrokerUnreachable, TransportError
from tasuki.transport.amqp import refusals
from tasuki.transport.amqp.connection import Link

Answer = Callable[[int, TransportError | None], None]
"""The number, or why there is none; called at most once, and not if the connection breaks."""


def count(link: Link, queue: str, answer: Answer) -> None:
    """From any thread."""
    link.call(lambda: _open(link, queue, answer))


def _open(link: Link, queue: str, answer: Answer) -> None:
    if link.connection is None:
        answer(0, BrokerUnreachable(f"{queue} cannot be counted: no connection"))
        return

    def ask(channel: Channel) -> None:
        channel.queue_declare(queue, passive=True, callback=lambda frame: tell(channel, frame))

    def tell(channel: Channel, frame: Method) -> None:
        answer(frame.method.message_count, None)
        channel.close()

    def refuse(_: Channel, error: Exception) -> None:
        refused = refusals.refusal(error, what=f"counting {queue}")
        if refused is not None:
            answer(0, refused)

    channel: Channel = link.connection.channel(on_open_callback=ask)
    channel.add_on_close_callback(refuse)
