"""Somebody who owns the broker: all that is published passes through his hands first.

He binds queues of his own in place of the services', takes what comes into them, and puts into
theirs what he likes, as whomever he likes: a user tagged `impersonator` may write another's name
where RabbitMQ vouches for a sender.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import pika
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

from support.broker import Broker
from support.waiting import wait_until
from tasuki.broker.topology import Queue, topology
from tasuki.wire import names

NAME = "mallory"
_OWN = "mine."


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A message, for whoever reads this queue or stream."""

    queue: str
    sender: str
    body: bytes = field(repr=False)

    @property
    def kind(self) -> str:
        """Of its queue, as metrics have it."""
        return self.queue.split(".")[1]

    @property
    def reader(self) -> str:
        """The service that takes it."""
        return "controller" if self.kind == "reports" else self.queue.split(".", 2)[2]


Tampering = Callable[[Letter], Iterable[Letter]]
"""What goes on to the services in place of what was sent."""


def as_it_is(letter: Letter) -> Iterable[Letter]:
    return (letter,)


class Attacker:
    """The broker's administrator, between everybody and everybody else.

    Attributes:
        taken: all that anybody has published, in order.
        tampering: called in his own thread with each of those.
    """

    def __init__(self, broker: Broker, vhost: str, sites: Sequence[str]) -> None:
        self.taken: list[Letter] = []
        self.tampering: Tampering = as_it_is
        self._vhost = vhost
        self._broker = broker
        self._queues = [q for q in topology(sites).queues if q.name != names.DEAD]
        self._stopped = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=NAME)

    def __enter__(self) -> Self:
        management = self._broker.management
        management.add_user(NAME, NAME, tags="administrator,impersonator")
        management.permit(NAME, self._vhost, configure=".*", write=".*", read=".*")
        url = self._broker.url("admin", self._vhost)
        parameters = pika.URLParameters(url)
        parameters.credentials = pika.PlainCredentials(NAME, NAME)
        self._connection = BlockingConnection(parameters)
        self._channel = self._connection.channel()
        for queue in self._queues:
            self._stand_between(queue)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._connection.add_callback_threadsafe(lambda: None)  # it may be waiting
        self._thread.join()
        self._connection.close()
        if self._failed is not None:
            raise self._failed

    def put(self, *letters: Letter) -> None:
        """Into the hands of those who read these queues."""
        self._connection.add_callback_threadsafe(partial(self._publish, letters))

    def dead_letters(self) -> list[bytes]:
        """What lies there, which stays there."""
        connection = BlockingConnection(pika.URLParameters(self._broker.url("admin", self._vhost)))
        bodies: list[bytes] = []
        channel = connection.channel()
        while (body := channel.basic_get(names.DEAD)[2]) is not None:
            bodies.append(body)
        connection.close()
        return bodies

    def stand_aside(self) -> None:
        """Everything goes by the way it should from now on; what he holds he passes on."""
        done = threading.Event()

        def restore() -> None:
            for queue in self._queues:
                for route in queue.routes:
                    self._channel.queue_bind(queue.name, route.exchange, route.key)
                    self._channel.queue_unbind(_OWN + queue.name, route.exchange, route.key)
            done.set()

        self._connection.add_callback_threadsafe(restore)
        wait_until(done.is_set, what="he stands aside")

    def _stand_between(self, queue: Queue) -> None:
        own = _OWN + queue.name
        self._channel.queue_declare(own, exclusive=True)
        for route in queue.routes:
            self._channel.queue_bind(own, route.exchange, route.key)
            self._channel.queue_unbind(queue.name, route.exchange, route.key)
        self._channel.basic_consume(own, partial(self._take, queue.name), auto_ack=True)

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._connection.process_data_events(time_limit=None)
        except BaseException as exc:  # noqa: BLE001 - raised again where the test waits
            self._failed = exc

    def _take(
        self,
        queue: str,
        _channel: BlockingChannel,
        _method: Any,  # Any: pika's own
        properties: pika.BasicProperties,
        body: bytes,
    ) -> None:
        letter = Letter(queue=queue, sender=properties.user_id or "", body=body)
        self.taken.append(letter)
        if not self._stopped.is_set():
            self._publish(self.tampering(letter))

    def _publish(self, letters: Iterable[Letter]) -> None:
        for letter in letters:
            properties = pika.BasicProperties(delivery_mode=2, user_id=letter.sender or None)
            self._channel.basic_publish("", letter.queue, letter.body, properties)
