"""What the broker's operator may do to a federation under test: listen, and send as anybody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pika
from pika.adapters.blocking_connection import BlockingChannel

from support.hostile import NOBODY, Message
from support.transports import BrokerFederation, opened
from support.vhosts import Vhosts
from tasuki.core.model import CONTROLLER
from tasuki.ports import Route
from tasuki.wire import names


@contextmanager
def channel(broker: Vhosts, vhost: str) -> Iterator[BlockingChannel]:
    """The administrator's, who is nobody to the services: no message of its has a sender."""
    connection = pika.BlockingConnection(pika.URLParameters(broker.url("admin", vhost)))
    try:
        yield connection.channel()
    finally:
        connection.close()


class Wiretap:
    """Keeps a copy of everything that is published while it is there."""

    def __init__(self, on: BlockingChannel, sites: Sequence[str]) -> None:
        self._channel = on
        self._queue = on.queue_declare("", exclusive=True).method.queue
        routes = [names.to_controller(), names.to_weights(CONTROLLER), names.to_control()]
        for site in sites:
            routes += [names.to_turns(site), names.to_weights(site), names.to_control(site)]
        for route in routes:
            on.queue_bind(self._queue, route.exchange, route.key)

    def caught(self) -> list[Message]:
        """All of it, in order; the tap is gone then."""
        messages: list[Message] = []
        while True:
            method, properties, body = self._channel.basic_get(self._queue, auto_ack=True)
            if method is None or properties is None or body is None:
                self._channel.queue_delete(self._queue)
                return messages
            route = Route(exchange=method.exchange, key=method.routing_key)
            sender = properties.user_id or NOBODY
            messages.append(Message(route=route, body=body, sender=sender))


async def send(federation: BrokerFederation, messages: Sequence[Message]) -> None:
    """Each as its sender, who logs in for that; confirmed when this returns."""
    by_sender: dict[str, dict[Route, list[Message]]] = defaultdict(lambda: defaultdict(list))
    for message in messages:
        by_sender[message.sender][message.route].append(message)
    for sender, routes in by_sender.items():
        if sender == NOBODY:
            _send_as_nobody(federation, routes)
            continue
        async with opened(federation.connect(sender)) as transport:
            for route, of_route in routes.items():
                await transport.publish(route, [(message.body,) for message in of_route])


def _send_as_nobody(federation: BrokerFederation, routes: dict[Route, list[Message]]) -> None:
    with channel(federation.broker, federation.vhost) as sending:
        sending.confirm_delivery()
        for route, messages in routes.items():
            for message in messages:
                sending.basic_publish(route.exchange, route.key, message.body, mandatory=True)
