"""The places where this package reaches past pika's public interface."""

from __future__ import annotations

from pika import BasicProperties, SelectConnection
from pika.channel import Channel

from tasuki.ports import Frames, Route


def connection_class(*, is_fast: bool) -> type[SelectConnection]:
    chosen: type[SelectConnection] = SelectConnection
    return chosen


def publish(channel: Channel, route: Route, properties: BasicProperties, body: Frames) -> None:
    channel.basic_publish(route.exchange, route.key, b"".join(body), properties, mandatory=True)


def abandon(connection: SelectConnection, *, is_loop_dead: bool = False) -> None:
    """Close the socket without the goodbye that pika's own close waits for."""
    transport = connection._transport  # noqa: SLF001 - see the module's docstring
    if transport is not None:
        transport.abort()
        if is_loop_dead:
            transport._sock.close()  # noqa: SLF001 - nothing else will
