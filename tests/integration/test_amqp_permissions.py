"""A site's user on a real broker: everything that is not its own is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pika
import pytest
from pika import exceptions as pika_errors
from pika.adapters.blocking_connection import BlockingChannel

from support.broker import Broker
from support.transports import BrokerFederation, Inbox, numbered, opened, run
from tasuki.broker.topology import topology
from tasuki.core.model import CONTROLLER
from tasuki.errors import NotPermitted, Unroutable
from tasuki.ports import Route
from tasuki.wire import names

FEDERATION = topology(["site-1", "site-2"])
TURNS_1 = names.turns_queue("site-1")
WEIGHTS_1 = names.weights_stream("site-1")
REFUSED = 403


@pytest.fixture
def federation(broker: Broker, vhost: str) -> BrokerFederation:
    broker.provision(vhost, FEDERATION)
    return BrokerFederation(broker, vhost)


@pytest.fixture
def site_2(federation: BrokerFederation) -> Iterator[BlockingChannel]:
    """A bare channel of site-2, to do what our own transport would not."""
    url = federation.broker.url("site-2", federation.vhost)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    connection.close()


def ignore(*_: object) -> None:
    """Takes a delivery that should never have come."""


def read_stream(channel: BlockingChannel, stream: str) -> None:
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(stream, ignore, arguments={"x-stream-offset": "first"})


FORBIDDEN: dict[str, Callable[[BlockingChannel], object]] = {
    "take from another's queue": lambda channel: channel.basic_get(TURNS_1),
    "wait at another's queue": lambda channel: channel.basic_consume(TURNS_1, ignore),
    "read another's stream": lambda channel: read_stream(channel, WEIGHTS_1),
    "read the controller's stream": lambda channel: read_stream(
        channel, names.weights_stream(CONTROLLER)
    ),
    "read another's control": lambda channel: channel.basic_get(names.control_queue("site-1")),
    "purge another's queue": lambda channel: channel.queue_purge(TURNS_1),
    "purge another's stream": lambda channel: channel.queue_purge(WEIGHTS_1),
    "delete another's queue": lambda channel: channel.queue_delete(TURNS_1),
    "delete another's stream": lambda channel: channel.queue_delete(WEIGHTS_1),
    "delete its own queue": lambda channel: channel.queue_delete(names.turns_queue("site-2")),
    "delete its own stream": lambda channel: channel.queue_delete(names.weights_stream("site-2")),
    "declare a queue": lambda channel: channel.queue_declare("tasuki.turns.site-3"),
    "declare a queue of the broker's naming": lambda channel: channel.queue_declare(""),
    "declare an exchange": lambda channel: channel.exchange_declare("tasuki.mine"),
    "delete an exchange": lambda channel: channel.exchange_delete(names.TURNS),
    "bind its queue": lambda channel: channel.queue_bind(
        names.turns_queue("site-2"), names.TURNS, "site-1"
    ),
    "unbind another's queue": lambda channel: channel.queue_unbind(TURNS_1, names.TURNS, "site-1"),
    "publish past the exchanges": lambda channel: channel.basic_publish("", TURNS_1, b"x"),
    "send control": lambda channel: channel.basic_publish(names.CONTROL, "all", b"x"),
    "send dead letters": lambda channel: channel.basic_publish(names.DEAD, names.DEAD, b"x"),
    "read the dead letters": lambda channel: channel.basic_get(names.DEAD),
    "read the reports": lambda channel: channel.basic_get(names.REPORTS),
}


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_a_site_may_not(site_2: BlockingChannel, deed: str) -> None:
    with pytest.raises(pika_errors.ChannelClosedByBroker) as caught:
        FORBIDDEN[deed](site_2)

    assert caught.value.reply_code == REFUSED


def test_a_site_may_read_what_is_its_own(site_2: BlockingChannel) -> None:
    """What is refused above is refused for whose it is, not for how it is asked."""
    read_stream(site_2, names.weights_stream("site-2"))
    site_2.basic_consume(names.turns_queue("site-2"), ignore)
    assert site_2.is_open


@pytest.mark.parametrize("user", ["site-1", CONTROLLER, "admin"])
@pytest.mark.parametrize(
    ("exchange", "key"),
    [(names.TURNS, "site-1"), (names.WEIGHTS, "site-1"), (names.REPORTS, CONTROLLER)],
)
def test_a_site_may_not_publish_as_someone_else(
    site_2: BlockingChannel, exchange: str, key: str, user: str
) -> None:
    posing = pika.BasicProperties(user_id=user)
    with pytest.raises(pika_errors.ChannelClosedByBroker, match="user_id"):
        site_2.basic_publish(exchange, key, b"x", posing, mandatory=True)


@pytest.mark.parametrize(
    "queue",
    [
        TURNS_1,
        WEIGHTS_1,
        names.control_queue("site-1"),
        names.weights_stream(CONTROLLER),
        names.REPORTS,
        names.DEAD,
    ],
)
def test_our_own_transport_says_that_reading_is_not_permitted(
    federation: BrokerFederation, queue: str
) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-2")) as transport:
            with pytest.raises(NotPermitted, match="refuses"):
                await transport.consume(queue, Inbox(transport))

    run(scenario())


@pytest.mark.parametrize("exchange", [names.CONTROL, names.DEAD, ""])
def test_our_own_transport_says_that_publishing_is_not_permitted(
    federation: BrokerFederation, exchange: str
) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-2")) as transport:
            with pytest.raises(NotPermitted, match="refuses"):
                await transport.publish(Route(exchange=exchange, key=TURNS_1), numbered(1))

    run(scenario())


def test_the_controller_may_not_pose_as_a_site_or_read_its_turns(
    federation: BrokerFederation,
) -> None:
    async def scenario() -> None:
        async with opened(federation.connect(CONTROLLER)) as transport:
            with pytest.raises(NotPermitted):
                await transport.consume(TURNS_1, Inbox(transport))
            with pytest.raises(NotPermitted):
                await transport.publish(names.to_controller(), numbered(1))
            with pytest.raises(Unroutable):
                await transport.publish(names.to_control("site-3"), numbered(1))

    run(scenario())
