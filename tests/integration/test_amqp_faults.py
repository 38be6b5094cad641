"""The AMQP transport when connections break, stall or are blocked."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from support.broker import Broker
from support.proxy import Proxy
from support.transports import BrokerFederation, Inbox, Made, numbered, opened, run
from support.waiting import until
from tasuki.broker.topology import topology
from tasuki.core.model import CONTROLLER
from tasuki.errors import BrokerUnreachable, NotPermitted
from tasuki.ports import Route, Settlement
from tasuki.transport.amqp import LinkState, StateChange
from tasuki.wire import names

TURNS_1 = names.turns_queue("site-1")
WEIGHTS_1 = names.weights_stream("site-1")


@pytest.fixture
def federation(broker: Broker, vhost: str) -> BrokerFederation:
    broker.provision(vhost, topology(["site-1", "site-2"]))
    return BrokerFederation(broker, vhost)


@pytest.fixture
def proxy(broker: Broker) -> Iterator[Proxy]:
    with Proxy(broker.port) as proxy:
        yield proxy


@pytest.fixture
def shaky(federation: BrokerFederation, proxy: Proxy) -> BrokerFederation:
    """The same federation, reached through the proxy."""
    return BrokerFederation(federation.broker, federation.vhost, port=proxy.port)


def number(body: object) -> int:
    """Which of `Made`'s or `numbered`'s bodies this is."""
    raw = bytes(body)  # type: ignore[call-overload]
    return int(raw) if raw.isdigit() else int.from_bytes(raw[:4], "big")


def test_what_was_not_settled_when_the_connection_broke_comes_again(
    shaky: BrokerFederation, proxy: Proxy
) -> None:
    async def scenario() -> None:
        async with opened(shaky.connect("site-1")) as transport:
            inbox = Inbox(transport)
            await transport.consume(TURNS_1, inbox, prefetch=2)
            await transport.publish(names.to_turns("site-1"), numbered(2))
            before = await inbox.take(2)
            proxy.cut()
            after = await inbox.take(2)
            for delivery in before:
                transport.settle(delivery, Settlement.DONE)  # of a connection that is gone

            assert [number(delivery.body) for delivery in after] == [0, 1]
            await until(lambda: transport.counters.reconnects == 2, what="both are back")
            for delivery in after:
                transport.settle(delivery, Settlement.DONE)

    run(scenario())


def test_a_publish_goes_on_from_the_first_unconfirmed_body(
    shaky: BrokerFederation, proxy: Proxy
) -> None:
    async def scenario() -> None:
        bodies = Made(60, size=200_000)
        async with opened(shaky.connect("site-1", window_bytes=1_000_000)) as transport:
            inbox = Inbox(transport, Settlement.DONE)
            await transport.consume(WEIGHTS_1, inbox, prefetch=8)
            proxy.cut_after(5_000_000)
            await transport.publish(names.to_weights("site-1"), bodies)
            await until(
                lambda: inbox.all and number(inbox.all[-1].body) == 59, what="the last arrived"
            )
            arrived = [number(delivery.body) for delivery in inbox.all]

            assert list(dict.fromkeys(arrived)) == list(range(60))
            assert transport.counters.publish_reconnects >= 1
            assert transport.counters.published_messages == 60
            # It went back over what had been sent and not confirmed, and no further: the window.
            again = transport.counters.resent_messages
            assert bodies.asked == 60 + again
            assert again <= 6

    run(scenario())


def test_a_publish_waits_for_a_broker_that_is_away(shaky: BrokerFederation, proxy: Proxy) -> None:
    async def scenario() -> None:
        changes: list[StateChange] = []
        async with opened(shaky.connect("site-1", on_state=changes.append)) as transport:
            proxy.refuse()
            sending = asyncio.create_task(transport.publish(names.to_turns("site-1"), numbered(1)))
            await until(
                lambda: len([c for c in changes if c.state is LinkState.DOWN]) >= 6,
                what="several attempts failed",
            )
            assert not sending.done()
            proxy.restore()
            await sending

            assert LinkState.UP in {change.state for change in changes[-4:]}
            assert all(change.reason for change in changes if change.state is LinkState.DOWN)

    run(scenario())


def test_a_stalled_connection_is_given_up_by_its_heartbeats(
    shaky: BrokerFederation, proxy: Proxy
) -> None:
    async def scenario() -> None:
        async with opened(shaky.connect("site-1", heartbeat_s=2)) as transport:
            inbox = Inbox(transport, Settlement.DONE)
            await transport.consume(TURNS_1, inbox)
            proxy.stall()
            sending = asyncio.create_task(transport.publish(names.to_turns("site-1"), numbered(1)))
            opened_before = proxy.connections
            await until(
                lambda: proxy.connections > opened_before, what="a new connection", within_s=40
            )
            proxy.cut()
            proxy.restore()
            await sending

            assert await inbox.bodies(1) == [b"0"]

    run(scenario())


def test_a_stream_is_read_on_after_the_last_settled_message(
    shaky: BrokerFederation, proxy: Proxy
) -> None:
    async def scenario() -> None:
        async with opened(shaky.connect("site-1")) as transport:
            inbox = Inbox(transport)
            await transport.publish(names.to_weights("site-1"), numbered(10))
            await transport.consume(WEIGHTS_1, inbox, prefetch=4)
            held = await inbox.take(4)
            for delivery in (held[0], held[1], held[3]):
                transport.settle(delivery, Settlement.DONE)
            await inbox.take(3)  # 4, 5 and 6: the settlements have arrived
            proxy.cut()
            again = await inbox.take(4)
            for delivery in again:
                transport.settle(delivery, Settlement.DONE)

            assert [number(delivery.body) for delivery in again] == [2, 3, 4, 5]
            rest = await inbox.take(4)
            assert [number(delivery.body) for delivery in rest] == [6, 7, 8, 9]

    run(scenario())


def test_cancelling_a_stream_in_full_flow_keeps_the_connection(
    federation: BrokerFederation,
) -> None:
    """pika rejects what arrives for a cancelled consumer; a stream answers that with a 540."""

    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            await transport.publish(names.to_weights("site-1"), Made(300, size=50_000))
            for _ in range(10):
                inbox = Inbox(transport, Settlement.DONE)
                subscription = await transport.consume(WEIGHTS_1, inbox, prefetch=50)
                await inbox.next()
                await subscription.cancel()

            assert transport.counters.reconnects == 0

    run(scenario())


def test_a_long_transfer_does_not_hold_up_a_small_message(federation: BrokerFederation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            bodies = Made(400, size=2**20)
            long = asyncio.create_task(transport.publish(names.to_weights("site-2"), bodies))
            await until(lambda: transport.counters.published_messages > 10, what="it runs")
            await transport.publish(names.to_controller(), numbered(1))

            assert bodies.asked < 400
            assert not long.done()
            await long

    run(scenario())


def test_a_memory_alarm_blocks_publishing_and_not_settling(
    federation: BrokerFederation, broker: Broker
) -> None:
    async def scenario() -> None:
        changes: list[StateChange] = []
        async with opened(federation.connect("site-1", on_state=changes.append)) as transport:
            inbox = Inbox(transport)
            await transport.publish(names.to_turns("site-1"), numbered(2))
            await transport.consume(TURNS_1, inbox)
            await asyncio.to_thread(broker.ctl, "set_vm_memory_high_watermark", "0.0001")
            try:
                sending = asyncio.create_task(
                    transport.publish(names.to_turns("site-1"), numbered(1, first=2))
                )
                await until(
                    lambda: LinkState.BLOCKED in {change.state for change in changes},
                    what="the broker says it is blocked",
                )
                transport.settle(await inbox.next(), Settlement.DONE)
                transport.settle(await inbox.next(), Settlement.DONE)
                assert not sending.done()
                assert transport.counters.blocked_s > 0
            finally:
                await asyncio.to_thread(broker.ctl, "set_vm_memory_high_watermark", "0.4")
            await sending

            assert await inbox.bodies(1) == [b"2"]
            blocked = transport.counters.blocked_s
            assert transport.counters.blocked_s == blocked
            assert LinkState.UNBLOCKED in {change.state for change in changes}
            assert transport.counters.reconnects == 0

    run(scenario())


def test_a_blocked_transport_can_be_closed(federation: BrokerFederation, broker: Broker) -> None:
    async def scenario() -> None:
        transport = federation.connect("site-1", patience_s=10.0)
        await transport.open()
        await asyncio.to_thread(broker.ctl, "set_vm_memory_high_watermark", "0.0001")
        try:
            sending = asyncio.create_task(transport.publish(names.to_turns("site-1"), numbered(1)))
            await until(lambda: transport.counters.blocked_s > 0, what="it is blocked")
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
            await transport.close()
        finally:
            await asyncio.to_thread(broker.ctl, "set_vm_memory_high_watermark", "0.4")

    run(scenario())


def test_close_gives_up_on_a_broker_that_stays_away(shaky: BrokerFederation, proxy: Proxy) -> None:
    async def scenario() -> None:
        transport = shaky.connect("site-1", patience_s=1.0)
        await transport.open()
        proxy.refuse()
        sending = asyncio.create_task(transport.publish(names.to_turns("site-1"), numbered(1)))
        await asyncio.sleep(0)
        await transport.close()

        with pytest.raises(BrokerUnreachable):
            await sending

    run(scenario())


def test_nobody_at_the_address_is_said_within_the_patience(
    shaky: BrokerFederation, proxy: Proxy
) -> None:
    async def scenario() -> None:
        proxy.refuse()
        with pytest.raises(BrokerUnreachable, match=str(proxy.port)):
            await shaky.connect("site-1", patience_s=0.5).open()

    run(scenario())


def test_a_wrong_password_is_not_permitted(federation: BrokerFederation) -> None:
    async def scenario() -> None:
        with pytest.raises(NotPermitted, match="site-1") as caught:
            await federation.connect("site-1", password="wrong").open()  # noqa: S106 - it is wrong

        assert "wrong" not in str(caught.value)

    run(scenario())


def test_a_vhost_of_others_is_not_permitted(federation: BrokerFederation, broker: Broker) -> None:
    async def scenario() -> None:
        with pytest.raises(NotPermitted):
            await federation.connect("site-1", vhost=broker.vhost()).open()

    run(scenario())


def test_a_consumer_that_was_too_slow_for_the_broker_gets_its_message_again(
    own_broker: Callable[..., Broker],
) -> None:
    broker = own_broker(consumer_timeout="2000")
    broker.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 500).")
    vhost = broker.vhost()
    broker.provision(vhost, topology(["site-1"]))
    impatient = BrokerFederation(broker, vhost)

    async def scenario() -> None:
        changes: list[StateChange] = []
        async with opened(impatient.connect("site-1", on_state=changes.append)) as transport:
            inbox = Inbox(transport)
            await transport.consume(TURNS_1, inbox)
            await transport.publish(names.to_turns("site-1"), numbered(1))
            late = await inbox.next()
            again = await inbox.next()
            transport.settle(late, Settlement.DONE)
            transport.settle(again, Settlement.DONE)

            assert "timeout" in next(c.reason for c in changes if c.state is LinkState.WAITING)
            assert transport.counters.reconnects == 0
            await transport.publish(names.to_turns("site-1"), numbered(1, first=1))
            assert await inbox.bodies(1) == [b"1"]

    run(scenario(), within_s=110)


def test_a_message_that_the_broker_cannot_take_is_sent_again(
    federation: BrokerFederation, broker: Broker
) -> None:
    """A queue that refuses what is too much: the only nacks that can be had at will."""
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    url = broker.url("admin", federation.vhost)
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare("tasuki.weights.full", arguments=full)
        channel.queue_bind("tasuki.weights.full", names.WEIGHTS, "full")

        async def scenario() -> None:
            async with opened(federation.connect("site-1")) as transport:
                sending = asyncio.create_task(
                    transport.publish(Route(exchange=names.WEIGHTS, key="full"), numbered(3))
                )
                await until(lambda: transport.counters.nacked_messages > 2, what="nacks")
                assert not sending.done()
                await until(lambda: take(channel) and sending.done(), what="all are taken")

        run(scenario())


def take(channel: BlockingChannel) -> bool:
    return channel.basic_get("tasuki.weights.full", auto_ack=True)[0] is not None


def test_a_fault_in_the_io_thread_costs_a_connection_and_nothing_else(
    federation: BrokerFederation,
) -> None:
    async def scenario() -> None:
        changes: list[StateChange] = []
        async with opened(federation.connect("site-1", on_state=changes.append)) as transport:
            inbox = Inbox(transport, Settlement.DONE)
            await transport.consume(WEIGHTS_1, inbox, prefetch=8)
            sending = asyncio.create_task(
                transport.publish(names.to_weights("site-1"), Made(100, size=200_000))
            )
            await until(lambda: transport.counters.published_messages > 5, what="it runs")
            for link in (transport._publishing, transport._consuming):  # noqa: SLF001 - to break it
                link.call(lambda: 1 // 0)  # type: ignore[arg-type]
            await sending
            await until(
                lambda: inbox.all and number(inbox.all[-1].body) == 99, what="the last arrived"
            )

            assert any("ZeroDivisionError" in change.reason for change in changes)
            arrived = [number(delivery.body) for delivery in inbox.all]
            assert list(dict.fromkeys(arrived)) == list(range(100))

    run(scenario())


def test_a_body_that_cannot_be_made_is_the_callers_error(federation: BrokerFederation) -> None:
    class Broken(Made):
        def __getitem__(self, index: Any) -> Any:
            if index == 3:
                raise RuntimeError("the file is gone")
            return (b"x",)

    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            with pytest.raises(RuntimeError, match="the file is gone"):
                await transport.publish(names.to_weights("site-1"), Broken(5))
            await transport.publish(names.to_weights("site-1"), numbered(1))

    run(scenario())


def test_nothing_holds_a_body_once_it_is_confirmed(federation: BrokerFederation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            mapped = mmap.mmap(-1, 8 * 2**20)
            view = memoryview(mapped)
            bodies = [(b"header", view[at : at + 2**20]) for at in range(0, len(view), 2**20)]
            await transport.publish(names.to_weights("site-1"), bodies)
            bodies.clear()
            view.release()
            mapped.close()  # raises if anyone still has a view

    run(scenario())


def test_the_controller_and_a_site_use_the_transport_at_once(
    shaky: BrokerFederation, proxy: Proxy
) -> None:
    """Messages both ways over connections that break all the time: each arrives, in order."""

    async def scenario() -> None:
        async with (
            opened(shaky.connect(CONTROLLER, backoff_most_s=0.2)) as controller,
            opened(shaky.connect("site-1", backoff_most_s=0.2)) as site,
        ):
            turns, reports = Inbox(site, Settlement.DONE), Inbox(controller, Settlement.DONE)
            await site.consume(TURNS_1, turns)
            await controller.consume(names.REPORTS, reports)
            for turn in range(20):
                proxy.cut_after(500)
                sent = numbered(1, first=turn)
                await asyncio.gather(
                    controller.publish(names.to_turns("site-1"), sent),
                    site.publish(names.to_controller(), sent),
                )
            for inbox in (turns, reports):
                await until(
                    lambda inbox=inbox: inbox.all and number(inbox.all[-1].body) == 19,  # type: ignore[misc]
                    what="the last arrived",
                )
                arrived = [number(delivery.body) for delivery in inbox.all]
                assert list(dict.fromkeys(arrived)) == list(range(20))

    run(scenario())
