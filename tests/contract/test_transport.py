"""What `ports.Transport` promises, asked of every implementation."""

from __future__ import annotations

import asyncio
import threading

import pytest

from support.broker import Broker
from support.transports import (
    BrokerFederation,
    Federation,
    Inbox,
    Made,
    numbered,
    opened,
    run,
)
from support.waiting import until
from tasuki.broker.topology import topology
from tasuki.core.model import CONTROLLER
from tasuki.errors import NotPermitted, TransportError, Unroutable
from tasuki.ports import Delivery, Route, Settlement, Transport
from tasuki.transport.memory import MemoryFederation
from tasuki.wire import names

SITES = ("site-1", "site-2")
TURNS_1 = names.turns_queue("site-1")
WEIGHTS_1 = names.weights_stream("site-1")
KINDS = {
    "queue": (TURNS_1, names.to_turns("site-1")),
    "stream": (WEIGHTS_1, names.to_weights("site-1")),
}


@pytest.fixture(params=["memory", "amqp", "amqp on stock pika"])
def federation(request: pytest.FixtureRequest) -> Federation:
    if request.param == "memory":
        return MemoryFederation(SITES)
    broker: Broker = request.getfixturevalue("broker")
    vhost: str = request.getfixturevalue("vhost")
    broker.provision(vhost, topology(SITES))
    return BrokerFederation(broker, vhost, is_fast=request.param == "amqp")


def test_a_transport_is_one(federation: Federation) -> None:
    transport = federation.connect(CONTROLLER)

    assert isinstance(transport, Transport)
    assert transport.is_durable in {True, False}


def test_a_message_arrives_with_the_sender_that_was_verified(federation: Federation) -> None:
    async def scenario() -> None:
        async with (
            opened(federation.connect("site-2")) as sender,
            opened(federation.connect("site-1")) as receiver,
        ):
            inbox = Inbox(receiver, Settlement.DONE)
            await receiver.consume(TURNS_1, inbox)
            await sender.publish(names.to_turns("site-1"), [(b"turn",)])
            delivery = await inbox.next()

            assert bytes(delivery.body) == b"turn"
            assert delivery.sender == "site-2"
            assert delivery.queue == TURNS_1
            assert delivery.offset is None

    run(scenario())


def test_the_pieces_of_a_body_arrive_as_one(federation: Federation) -> None:
    pieces = (b"header", memoryview(bytes(300_000)), b"", memoryview(b"end"))

    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            inbox = Inbox(transport, Settlement.DONE)
            await transport.consume(WEIGHTS_1, inbox, prefetch=4)
            await transport.publish(names.to_weights("site-1"), [pieces])

            assert bytes((await inbox.next()).body) == b"".join(pieces)

    run(scenario())


def test_an_empty_body_and_no_body_at_all_can_be_published(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            inbox = Inbox(transport, Settlement.DONE)
            await transport.consume(TURNS_1, inbox)
            await transport.publish(names.to_turns("site-1"), [])
            await transport.publish(names.to_turns("site-1"), [(), (b"",), (b"last",)])

            assert await inbox.bodies(3) == [b"", b"", b"last"]

    run(scenario())


@pytest.mark.parametrize("kind", KINDS)
def test_the_bodies_of_one_publish_arrive_in_order(federation: Federation, kind: str) -> None:
    queue, route = KINDS[kind]

    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            inbox = Inbox(transport, Settlement.DONE)
            await transport.consume(queue, inbox, prefetch=8)
            await transport.publish(route, numbered(200))

            assert await inbox.bodies(200) == [b"%d" % number for number in range(200)]

    run(scenario())


def test_several_publications_can_be_under_way(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect(CONTROLLER)) as transport:
            reader = federation.connect("site-1")
            async with opened(reader):
                inbox = Inbox(reader, Settlement.DONE)
                await reader.consume(TURNS_1, inbox, prefetch=10)
                await asyncio.gather(
                    *(
                        transport.publish(names.to_turns("site-1"), numbered(10, first=first))
                        for first in range(0, 500, 10)
                    )
                )
                arrived = [int(body) for body in await inbox.bodies(500)]

                assert sorted(arrived) == list(range(500))
                for first in range(0, 500, 10):
                    of_one = [number for number in arrived if first <= number < first + 10]
                    assert of_one == sorted(of_one)

    run(scenario())


def test_a_message_that_no_queue_takes_is_unroutable(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect(CONTROLLER)) as transport:
            with pytest.raises(Unroutable):
                await transport.publish(names.to_turns("site-9"), numbered(3))
            # and the transport goes on
            await transport.publish(names.to_turns("site-1"), numbered(1))

    run(scenario())


def test_an_exchange_that_does_not_exist_is_unroutable(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect(CONTROLLER)) as transport:
            with pytest.raises(TransportError):
                await transport.publish(Route(exchange="tasuki.nowhere", key="x"), numbered(1))

    run(scenario())


def test_what_a_site_may_not_publish_is_refused(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            with pytest.raises(NotPermitted):
                await transport.publish(names.to_control("site-2"), numbered(1))
            await transport.publish(names.to_controller(), numbered(1))

    run(scenario())


def test_a_refusal_does_not_disturb_another_publication(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            good, bad = await asyncio.gather(
                transport.publish(names.to_turns("site-2"), numbered(300)),
                transport.publish(names.to_control("site-2"), numbered(300)),
                return_exceptions=True,
            )

            assert good is None
            assert isinstance(bad, NotPermitted)

    run(scenario())


def test_reading_a_queue_that_does_not_exist_is_unroutable(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect(CONTROLLER)) as transport:
            with pytest.raises(Unroutable):
                await transport.consume(names.weights_stream("site-9"), Inbox(transport))

    run(scenario())


@pytest.mark.parametrize(
    "queue", [names.turns_queue("site-2"), names.weights_stream("site-2"), names.REPORTS]
)
def test_reading_what_belongs_to_another_is_refused(federation: Federation, queue: str) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            with pytest.raises(NotPermitted):
                await transport.consume(queue, Inbox(transport))

    run(scenario())


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_than_the_prefetch_is_ever_unsettled(federation: Federation, kind: str) -> None:
    queue, route = KINDS[kind]

    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            inbox = Inbox(transport)
            most = 0
            await transport.publish(route, numbered(12))
            await transport.consume(queue, inbox, prefetch=3)
            for settled in range(12):
                delivery = await inbox.next()
                most = max(most, len(inbox.all) - settled)
                transport.settle(delivery, Settlement.DONE)

            assert most <= 3
            assert [int(bytes(delivery.body)) for delivery in inbox.all] == list(range(12))

    run(scenario())


def test_handlers_run_on_the_event_loop(federation: Federation) -> None:
    async def scenario() -> None:
        seen: asyncio.Queue[tuple[int, object]] = asyncio.Queue()
        async with opened(federation.connect("site-1")) as transport:

            def handler(delivery: Delivery) -> None:
                seen.put_nowait((threading.get_ident(), asyncio.get_running_loop()))
                transport.settle(delivery, Settlement.DONE)

            await transport.consume(TURNS_1, handler)
            await transport.publish(names.to_turns("site-1"), numbered(1))

            assert await seen.get() == (threading.get_ident(), asyncio.get_running_loop())

    run(scenario())


def test_what_is_done_does_not_come_again(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            await transport.publish(names.to_turns("site-1"), numbered(2))
            first = Inbox(transport)
            subscription = await transport.consume(TURNS_1, first)
            transport.settle(await first.next(), Settlement.DONE)
            await first.next()
            await subscription.cancel()
            second = Inbox(transport)
            await transport.consume(TURNS_1, second)

            assert await second.bodies(1) == [b"1"]

    run(scenario())


def test_settling_twice_is_harmless(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            inbox = Inbox(transport)
            await transport.publish(names.to_turns("site-1"), numbered(2))
            await transport.consume(TURNS_1, inbox)
            delivery = await inbox.next()
            transport.settle(delivery, Settlement.DONE)
            transport.settle(delivery, Settlement.DEAD)

            assert await inbox.bodies(1) == [b"1"]
            assert len(inbox.all) == 2

    run(scenario())


def test_what_is_dead_goes_to_the_dead_letters(federation: Federation) -> None:
    async def scenario() -> None:
        async with (
            opened(federation.connect("site-1")) as site,
            opened(federation.connect(CONTROLLER)) as controller,
        ):
            dead = Inbox(controller, Settlement.DONE)
            await controller.consume(names.DEAD, dead)
            inbox = Inbox(site, Settlement.DEAD)
            await site.consume(TURNS_1, inbox)
            await controller.publish(names.to_turns("site-1"), [(b"gibberish",)])
            delivery = await dead.next()

            assert bytes(delivery.body) == b"gibberish"
            assert delivery.sender == CONTROLLER
            assert len(inbox.all) == 1

    run(scenario())


def test_what_waits_in_a_queue_can_be_counted(federation: Federation) -> None:
    async def scenario() -> None:
        async with (
            opened(federation.connect("site-1")) as site,
            opened(federation.connect(CONTROLLER)) as controller,
        ):
            assert await controller.count(names.DEAD) == 0
            inbox = Inbox(site, Settlement.DEAD)
            await site.consume(TURNS_1, inbox)
            await controller.publish(names.to_turns("site-1"), numbered(3))
            await inbox.bodies(3)
            async with asyncio.timeout(20):
                while await controller.count(names.DEAD) < 3:
                    await asyncio.sleep(0)  # a dead letter takes a moment
            assert await controller.count(names.DEAD) == 3

    run(scenario())


def test_whether_a_queue_is_read_can_be_asked(federation: Federation) -> None:
    async def scenario() -> None:
        async with (
            opened(federation.connect(CONTROLLER)) as one,
            opened(federation.connect(CONTROLLER)) as two,
        ):
            assert not await two.is_read(names.REPORTS)
            first = await one.consume(names.REPORTS, Inbox(one, Settlement.DONE))
            assert await two.is_read(names.REPORTS)
            second = await two.consume(names.REPORTS, Inbox(two, Settlement.DONE))
            await first.cancel()
            assert await one.is_read(names.REPORTS)
            await second.cancel()
            assert not await one.is_read(names.REPORTS)

    run(scenario())


def test_counting_a_queue_that_does_not_exist_is_unroutable(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect(CONTROLLER)) as transport:
            with pytest.raises(Unroutable):
                await transport.count(names.turns_queue("nobody"))
            assert await transport.count(names.DEAD) == 0

    run(scenario())


def test_what_a_cancelled_consumer_had_not_settled_goes_to_the_next_in_order(
    federation: Federation,
) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            await transport.publish(names.to_turns("site-1"), numbered(5))
            first = Inbox(transport)
            subscription = await transport.consume(TURNS_1, first, prefetch=3)
            held = await first.take(3)
            await subscription.cancel()
            for delivery in held:
                transport.settle(delivery, Settlement.DONE)  # too late, and harmless
            second = Inbox(transport, Settlement.DONE)
            await transport.consume(TURNS_1, second)
            deliveries = await second.take(5)

            assert [bytes(delivery.body) for delivery in deliveries] == [
                b"%d" % number for number in range(5)
            ]
            assert len(first.all) == 3

    run(scenario())


def test_what_was_not_settled_at_close_comes_again(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            inbox = Inbox(transport)
            await transport.publish(names.to_turns("site-1"), numbered(1))
            await transport.consume(TURNS_1, inbox)
            held = await inbox.next()
        transport.settle(held, Settlement.DONE)
        async with opened(federation.connect("site-1")) as transport:
            again = Inbox(transport, Settlement.DONE)
            await transport.consume(TURNS_1, again)

            assert await again.bodies(1) == [b"0"]

    run(scenario())


def test_a_queue_feeds_one_consumer_at_a_time(federation: Federation) -> None:
    async def scenario() -> None:
        async with (
            opened(federation.connect("site-1")) as one,
            opened(federation.connect("site-1")) as two,
        ):
            first, second = Inbox(one, Settlement.DONE), Inbox(two, Settlement.DONE)
            subscription = await one.consume(TURNS_1, first)
            await two.consume(TURNS_1, second)
            await one.publish(names.to_turns("site-1"), numbered(10))
            await first.take(10)
            await subscription.cancel()
            await one.publish(names.to_turns("site-1"), numbered(1, first=10))

            assert await second.bodies(1) == [b"10"]

    run(scenario())


def test_a_stream_can_be_read_again_from_any_offset(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            await transport.publish(names.to_weights("site-1"), numbered(10))
            whole = Inbox(transport, Settlement.DONE)
            await transport.consume(WEIGHTS_1, whole, prefetch=4)
            offsets = [delivery.offset for delivery in await whole.take(10)]
            rest = Inbox(transport, Settlement.DONE)
            await transport.consume(WEIGHTS_1, rest, prefetch=4, offset=offsets[6])
            bodies = await rest.take(4)

            assert offsets == list(range(offsets[0] or 0, (offsets[0] or 0) + 10))
            assert [bytes(delivery.body) for delivery in bodies] == [b"6", b"7", b"8", b"9"]

    run(scenario())


def test_a_stream_goes_on_when_more_is_published(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            inbox = Inbox(transport, Settlement.DONE)
            await transport.consume(WEIGHTS_1, inbox, prefetch=2, offset=3)
            await transport.publish(names.to_weights("site-1"), numbered(3))
            await transport.publish(names.to_weights("site-1"), numbered(3, first=3))

            assert await inbox.bodies(3) == [b"3", b"4", b"5"]

    run(scenario())


def test_a_stream_gives_nothing_from_before_the_offset_asked_for(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            await transport.publish(names.to_weights("site-1"), numbered(2))
            inbox = Inbox(transport, Settlement.DONE)
            await transport.consume(WEIGHTS_1, inbox, prefetch=2, offset=5)
            await transport.publish(names.to_weights("site-1"), numbered(5, first=2))

            assert await inbox.bodies(2) == [b"5", b"6"]
            assert len(inbox.all) == 2

    run(scenario())


@pytest.mark.parametrize("settlement", list(Settlement))
def test_in_a_stream_any_settlement_makes_room_and_consumes_nothing(
    federation: Federation, settlement: Settlement
) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            inbox = Inbox(transport, settlement)
            await transport.publish(names.to_weights("site-1"), numbered(6))
            subscription = await transport.consume(WEIGHTS_1, inbox, prefetch=1)
            assert await inbox.bodies(6) == [b"%d" % number for number in range(6)]
            await subscription.cancel()
            again = Inbox(transport, Settlement.DONE)
            await transport.consume(WEIGHTS_1, again, prefetch=6)

            assert await again.bodies(6) == [b"%d" % number for number in range(6)]

    run(scenario())


def test_the_controller_can_read_any_sites_stream(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect(CONTROLLER)) as transport:
            await transport.publish(names.to_weights("site-1"), numbered(2))
            inbox = Inbox(transport, Settlement.DONE)
            await transport.consume(WEIGHTS_1, inbox, prefetch=2)

            assert await inbox.bodies(2) == [b"0", b"1"]

    run(scenario())


def test_control_reaches_one_site_or_all(federation: Federation) -> None:
    async def scenario() -> None:
        async with (
            opened(federation.connect(CONTROLLER)) as controller,
            opened(federation.connect("site-1")) as one,
            opened(federation.connect("site-2")) as two,
        ):
            first, second = Inbox(one, Settlement.DONE), Inbox(two, Settlement.DONE)
            await one.consume(names.control_queue("site-1"), first)
            await two.consume(names.control_queue("site-2"), second)
            await controller.publish(names.to_control("site-2"), [(b"for site-2",)])
            await controller.publish(names.to_control(), [(b"for all",)])

            assert await first.bodies(1) == [b"for all"]
            assert await second.bodies(2) == [b"for site-2", b"for all"]

    run(scenario())


def test_reports_reach_the_controller(federation: Federation) -> None:
    async def scenario() -> None:
        async with (
            opened(federation.connect(CONTROLLER)) as controller,
            opened(federation.connect("site-2")) as site,
        ):
            inbox = Inbox(controller, Settlement.DONE)
            await controller.consume(names.REPORTS, inbox)
            await site.publish(names.to_controller(), [(b"beat",)])

            assert (await inbox.next()).sender == "site-2"

    run(scenario())


def test_a_cancelled_publish_stops_sending(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            await transport.consume(WEIGHTS_1, Inbox(transport), prefetch=1)
            bodies = Made(1_000_000)
            sending = asyncio.create_task(transport.publish(names.to_weights("site-1"), bodies))
            await until(lambda: bodies.asked >= 10, what="sending has begun")
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            asked = bodies.asked
            # The transport has done something else since, so it would have gone on by now.
            await transport.publish(names.to_turns("site-1"), numbered(1))

            assert asked < 1_000_000
            assert bodies.asked == asked

    run(scenario())


def test_whoever_publishes_is_told_how_far_it_is_confirmed(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            inbox = Inbox(transport, Settlement.DONE)
            await transport.consume(WEIGHTS_1, inbox, prefetch=8)
            told: list[tuple[int, int]] = []

            def note(count: int) -> None:
                told.append((count, threading.get_ident()))

            route = names.to_weights("site-1")
            await transport.publish(route, numbered(100), on_confirmed=note)
            counts = [count for count, _ in told]

            assert counts == sorted(set(counts))
            assert (counts[0] > 0, counts[-1]) == (True, 100)
            assert {thread for _, thread in told} == {threading.get_ident()}

    run(scenario())


def test_nobody_is_told_of_confirms_after_a_publish_was_cancelled(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            await transport.consume(WEIGHTS_1, Inbox(transport), prefetch=1)
            told: list[int] = []
            bodies = Made(1_000_000, size=100_000)
            sending = asyncio.create_task(
                transport.publish(names.to_weights("site-1"), bodies, on_confirmed=told.append)
            )
            await until(lambda: told, what="some are confirmed")
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            count = len(told)
            # The broker has confirmed something since, so it has what was sent before as well.
            await transport.publish(names.to_weights("site-2"), numbered(1))

            assert len(told) == count

    run(scenario())


def test_of_a_message_that_is_refused_no_confirm_is_told(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            told: list[int] = []
            for route in (names.to_turns("site-9"), names.to_control("site-2")):
                with pytest.raises(TransportError):
                    await transport.publish(route, numbered(1), on_confirmed=told.append)

            assert told == []

    run(scenario())


def test_close_publishes_what_is_under_way(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect(CONTROLLER)) as transport:
            sending = asyncio.create_task(
                transport.publish(names.to_turns("site-1"), numbered(300))
            )
            await asyncio.sleep(0)  # the task has begun
        await sending
        async with opened(federation.connect("site-1")) as transport:
            inbox = Inbox(transport, Settlement.DONE)
            await transport.consume(TURNS_1, inbox, prefetch=50)

            assert len(await inbox.bodies(300)) == 300

    run(scenario())


def test_no_handler_is_called_after_cancel_or_close(federation: Federation) -> None:
    async def scenario() -> None:
        async with opened(federation.connect("site-1")) as transport:
            inbox = Inbox(transport, Settlement.DONE)
            subscription = await transport.consume(TURNS_1, inbox)
            await subscription.cancel()
            await transport.publish(names.to_turns("site-1"), numbered(1))
            later = Inbox(transport, Settlement.DONE)
            await transport.consume(TURNS_1, later)

            assert await later.bodies(1) == [b"0"]
            assert inbox.all == []

    run(scenario())
