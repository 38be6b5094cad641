"""The AMQP transport when the broker itself is killed.

A queue outlives `kill -9` only once the broker has written its existence to disk, some hundred
milliseconds after it said that it is declared. `Broker.sync` has that written and returns when it
is, which is what provisioning long before use achieves in production.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from support.broker import Broker
from support.transports import BrokerFederation, Inbox, Made, numbered, opened, run
from support.vhosts import Vhosts
from support.waiting import until
from tasuki.broker.topology import topology
from tasuki.core.model import CONTROLLER
from tasuki.ports import Settlement
from tasuki.wire import names


@pytest.fixture
def federation(own_broker: Callable[..., Broker]) -> BrokerFederation:
    broker = own_broker()
    vhost = broker.vhost()
    broker.provision(vhost, topology(["site-1"]))
    broker.sync()
    return BrokerFederation(broker, vhost)


async def kill_and_restart(broker: Vhosts) -> None:
    assert isinstance(broker, Broker)
    broker.kill()
    await asyncio.to_thread(broker.restart)


def test_what_was_confirmed_outlives_a_killed_broker(federation: BrokerFederation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect(CONTROLLER)) as controller:
            await controller.publish(names.to_turns("site-1"), numbered(20))
            await controller.publish(names.to_weights("site-1"), numbered(20))
            await kill_and_restart(federation.broker)
            async with opened(federation.connect("site-1")) as site:
                for queue in (names.turns_queue("site-1"), names.weights_stream("site-1")):
                    inbox = Inbox(site, Settlement.DONE)
                    await site.consume(queue, inbox, prefetch=10)

                    assert await inbox.bodies(20) == [b"%d" % number for number in range(20)]

    run(scenario(), within_s=100)


def test_publishing_and_reading_go_on_after_a_killed_broker(federation: BrokerFederation) -> None:
    async def scenario() -> None:
        async with (
            opened(federation.connect(CONTROLLER, recovery_s=15.0)) as controller,
            opened(federation.connect("site-1")) as site,
        ):
            turns, weights = Inbox(site, Settlement.DONE), Inbox(site, Settlement.DONE)
            await site.consume(names.turns_queue("site-1"), turns)
            await site.consume(names.weights_stream("site-1"), weights, prefetch=8)
            bodies = Made(500, size=200_000)
            sending = asyncio.create_task(controller.publish(names.to_weights("site-1"), bodies))
            await until(
                lambda: controller.counters.published_messages >= 50, what="it is under way"
            )
            await kill_and_restart(federation.broker)
            await sending
            await controller.publish(names.to_turns("site-1"), [(b"turn",)])

            assert await turns.bodies(1) == [b"turn"]
            await until(
                lambda: bytes(weights.all[-1].body[:4]) == (499).to_bytes(4, "big"),
                what="the last body arrived",
            )
            arrived = [int.from_bytes(bytes(d.body[:4]), "big") for d in weights.all]
            assert list(dict.fromkeys(arrived)) == list(range(500))
            assert controller.counters.publish_reconnects == 1

    run(scenario(), within_s=100)


def test_a_message_that_was_not_settled_outlives_a_killed_broker(
    federation: BrokerFederation,
) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1", recovery_s=15.0)) as site:
            inbox = Inbox(site)
            await site.consume(names.turns_queue("site-1"), inbox)
            await site.publish(names.to_turns("site-1"), numbered(1))
            before = await inbox.next()
            await kill_and_restart(federation.broker)
            after = await inbox.next()
            site.settle(before, Settlement.DONE)
            site.settle(after, Settlement.DONE)
            await site.publish(names.to_turns("site-1"), numbered(1, first=1))

            assert bytes(after.body) == b"0"
            assert await inbox.bodies(1) == [b"1"]

    run(scenario(), within_s=100)
