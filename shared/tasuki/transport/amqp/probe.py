"""Asks a broker what one identity may do, on a connection of its own, and leaves nothing behind."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pika
from pika import exceptions as pika_errors
from pika.adapters.blocking_connection import BlockingChannel

from tasuki.errors import BrokerUnreachable, TransportError
from tasuki.transport.amqp import refusals
from tasuki.transport.amqp.passwords import Passwords
from tasuki.transport.amqp.settings import AmqpSettings

ANSWER_S = 10.0
NOWHERE = "site.NOWHERE"
"""A routing key that nothing is bound to, since no site's name is in capitals.

It begins as the control keys do: a provisioned controller may write to no other.
"""
PRECONDITION_FAILED = 406
BEYOND_THE_END = 2**62
"""An offset of a stream that none reaches: whoever reads from it is sent nothing."""
NO_PRIORITY = {"x-priority": "none"}  # it would have to be a number


class Probe:
    """One question after the other. Not for a service's loop: each waits for its answer.

    Args:
        name: what the broker's operator sees.
    """

    def __init__(self, settings: Callable[[], AmqpSettings], *, name: str) -> None:
        self._settings = settings
        self._name = name
        self._connection: pika.BlockingConnection | None = None

    def connect(self) -> None:
        """Log in.

        Raises:
            NotPermitted: it refuses user, password, vhost or certificate.
            BrokerUnreachable: for another reason.
            SettingsError: what `settings` raises.
        """
        settings = replace(self._settings(), answer_s=ANSWER_S)
        passwords = Passwords(settings.candidates)
        while self._connection is None:
            parameters = settings.parameters(
                settings.nodes[0], name=self._name, password=passwords.next()
            )
            try:
                self._connection = _open(parameters)
            except (pika_errors.AMQPError, OSError) as exc:
                refused = refusals.login_refusal(exc, user=settings.user)
                if refused and passwords.has_another:
                    continue
                refused = refused or refusals.certificate_refusal(exc)
                raise refused or _no_login(exc, is_secure=settings.tls is not None) from exc

    def find_queue(self, name: str) -> int:
        """How many read it.

        Raises:
            Unroutable: there is none.
            TransportError: it cannot be asked for.
        """
        readers: list[int] = []

        def find(channel: BlockingChannel) -> None:
            found = channel.queue_declare(name, passive=True)
            readers.append(found.method.consumer_count)

        self._ask(f"queue {name}", find)
        return readers[0]

    def read_nothing(self, queue: str) -> None:
        """Ask to read in a way that no broker grants: it looks first whether we may at all.

        Raises:
            NotPermitted: we may not.
        """

        def read(channel: BlockingChannel) -> None:
            try:
                channel.basic_qos(prefetch_count=1)
                channel.basic_consume(queue, lambda *_: None, arguments=NO_PRIORITY)
            except pika_errors.ChannelClosedByBroker as exc:
                if exc.reply_code != PRECONDITION_FAILED:
                    raise

        self._ask(f"reading {queue}", read)

    def can_read(self, stream: str) -> bool:
        """Whether this node of the broker has a replica of it that runs.

        Raises:
            NotPermitted: we may not read it.
            TransportError: it cannot be asked for.
        """
        refused: list[Exception] = []

        def read(channel: BlockingChannel) -> None:
            channel.basic_qos(prefetch_count=1)
            beyond = {"x-stream-offset": BEYOND_THE_END}
            try:
                channel.basic_consume(stream, lambda *_: None, arguments=beyond)
            except pika_errors.ChannelClosedByBroker as exc:
                if not refusals.is_for_another_node(exc):
                    raise
                refused.append(exc)

        self._ask(f"reading {stream}", read)
        return not refused

    def send_nowhere(self, exchange: str, *, size: int) -> None:
        """Send so many bytes to where no queue is, and have them back.

        Raises:
            NotPermitted: we may not write there.
            TransportError: the broker takes no message of this size.
        """

        def send(channel: BlockingChannel) -> None:
            channel.confirm_delivery()
            try:
                channel.basic_publish(exchange, NOWHERE, bytes(size), mandatory=True)
            except pika_errors.UnroutableError:
                return  # taken, and sent back

        self._ask(f"{size} bytes to {exchange}", send)

    def close(self) -> None:
        if self._connection is not None and self._connection.is_open:
            with suppress(pika_errors.AMQPError):  # it was cut meanwhile
                self._connection.close()

    def _ask(self, what: str, question: Callable[[BlockingChannel], object]) -> None:
        """On a channel of its own: a refusal closes it."""
        assert self._connection is not None  # noqa: S101 - `connect` comes first
        with _translated(what):
            channel = self._connection.channel()
            question(channel)
            if channel.is_open:
                channel.close()


def _open(parameters: pika.ConnectionParameters) -> pika.BlockingConnection:
    """At the first of the host's addresses that lets us in.

    pika would try them all too, and then tell of the last one only.
    """
    found = socket.getaddrinfo(parameters.host, parameters.port, type=socket.SOCK_STREAM)
    failures: list[Exception] = []
    for *_, address in found:
        parameters.host = address[0]
        try:
            return pika.BlockingConnection(parameters)
        except (pika_errors.AMQPError, OSError) as exc:
            failures.append(exc)
    raise refusals.most_telling(failures)


def _no_login(error: Exception, *, is_secure: bool) -> BrokerUnreachable:
    said = f"no login: {refusals.describe(error)}"
    if not refusals.is_hang_up(error):
        return BrokerUnreachable(said)
    if is_secure:
        # TLS 1.3 may lose the alert that says why; the broker's own log has it.
        said += (
            "; the broker hung up during TLS, as it does when our certificate has expired, was "
            "revoked, or is of an authority that it does not know: its log says which"
        )
    else:
        said += "; if this port speaks TLS, [broker] url has to begin with amqps://"
    return BrokerUnreachable(said)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except pika_errors.ChannelClosedByBroker as exc:
        refused = refusals.refusal(exc, what=what)
        raise refused or TransportError(f"{what}: {refusals.describe(exc)}") from exc
    except pika_errors.AMQPError as exc:
        raise BrokerUnreachable(f"{what}: {refusals.describe(exc)}") from exc
