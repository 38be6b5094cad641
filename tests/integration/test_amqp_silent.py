"""A broker whose answers do not come, over a connection that stays up: every wait has an end."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from support.broker import Broker
from support.mutations import SOME_RED, Mutation, mutated, outcome
from support.swallowing import (
    CHANNEL,
    CHANNEL_END,
    CONFIRM,
    CONFIRMS_ON,
    COUNT,
    PREFETCH,
    READER,
    Swallowing,
)
from support.transports import BrokerFederation, Inbox, Made, numbered, opened, run
from support.waiting import until
from tasuki.broker.topology import topology
from tasuki.errors import BrokerUnreachable
from tasuki.ports import Settlement
from tasuki.transport.amqp import AmqpTransport, LinkState, StateChange
from tasuki.wire import names

TURNS_1 = names.turns_queue("site-1")
WEIGHTS_1 = names.weights_stream("site-1")
ANSWER_S = 1.0
BUSY_S = 1.5  # how much later a busy machine may notice
WITHIN_S = 20.0  # the whole of a test


class Told:
    """What the transport tells, and when."""

    def __init__(self) -> None:
        self.silences: list[tuple[float, StateChange]] = []

    def __call__(self, change: StateChange) -> None:
        if change.state is LinkState.SILENT:
            self.silences.append((time.monotonic(), change))


@pytest.fixture
def federation(broker: Broker, vhost: str) -> BrokerFederation:
    broker.provision(vhost, topology(["site-1"]))
    return BrokerFederation(broker, vhost)


@pytest.fixture
def proxy(broker: Broker) -> Iterator[Swallowing]:
    with Swallowing(broker.port) as proxy:
        yield proxy


@pytest.fixture
def silent(federation: BrokerFederation, proxy: Swallowing) -> BrokerFederation:
    """The same federation, reached through the proxy."""
    return BrokerFederation(federation.broker, federation.vhost, port=proxy.port)


async def publishes(transport: AmqpTransport) -> None:
    inbox = Inbox(transport, Settlement.DONE)
    await transport.publish(names.to_turns("site-1"), numbered(3))
    await transport.consume(TURNS_1, inbox)
    await until(lambda: {b"0", b"1", b"2"} <= bodies(inbox), what="all have come")


async def reads(transport: AmqpTransport) -> None:
    inbox = Inbox(transport, Settlement.DONE)
    await transport.consume(TURNS_1, inbox)
    await transport.publish(names.to_turns("site-1"), numbered(1))
    assert [b"0"] == await inbox.bodies(1)


async def reads_a_stream(transport: AmqpTransport) -> None:
    inbox = Inbox(transport, Settlement.DONE)
    await transport.consume(WEIGHTS_1, inbox, prefetch=8)
    await transport.publish(names.to_weights("site-1"), numbered(3))
    assert [b"0", b"1", b"2"] == await inbox.bodies(3)


async def stops_reading(transport: AmqpTransport) -> None:
    inbox = Inbox(transport)
    subscription = await transport.consume(TURNS_1, inbox)
    await subscription.cancel()


def bodies(inbox: Inbox) -> set[bytes]:
    return {bytes(delivery.body) for delivery in inbox.all}


WAITS: dict[str, tuple[tuple[int, ...], Callable[[AmqpTransport], Awaitable[None]], str]] = {
    "a channel to publish on": (CHANNEL, publishes, "a channel"),
    "a channel that confirms": (CONFIRMS_ON, publishes, "a channel that confirms"),
    "a confirm": (CONFIRM, publishes, "the confirm of publishing to tasuki.turns for 'site-1'"),
    "a channel to read on": (CHANNEL, reads, f"a channel for reading {TURNS_1}"),
    "a prefetch": (PREFETCH, reads, f"how much at a time of {TURNS_1}"),
    "a reader": (READER, reads, f"being accepted as a reader of {TURNS_1}"),
    "a reader of a stream": (READER, reads_a_stream, f"being accepted as a reader of {WEIGHTS_1}"),
    "the end of reading": (CHANNEL_END, stops_reading, f"the end of reading {TURNS_1}"),
}


TEST_OF_WAITS = "test_an_answer_that_does_not_come_costs_a_connection_and_nothing_else"


@pytest.mark.parametrize("is_fast", [True, False], ids=["fast", "stock"])
@pytest.mark.parametrize("wait", WAITS)
def test_an_answer_that_does_not_come_costs_a_connection_and_nothing_else(
    silent: BrokerFederation, proxy: Swallowing, wait: str, is_fast: bool
) -> None:
    swallowed, work, awaited = WAITS[wait]
    told = Told()

    async def scenario() -> None:
        transport = silent.connect(
            "site-1", on_state=told, answer_s=ANSWER_S, heartbeat_s=600, is_fast=is_fast
        )
        async with opened(transport):
            proxy.swallow(*swallowed)
            began = time.monotonic()
            await work(transport)

            assert proxy.swallowed
            at, change = told.silences[0]
            assert f"waited for {awaited}" in change.reason
            assert at - began < ANSWER_S + BUSY_S
            assert len(told.silences) == transport.counters.unanswered
            assert len(told.silences) <= 2  # a test that reads and publishes: once for each

    run(scenario(), within_s=WITHIN_S)


def test_a_transfer_that_is_stuck_at_half_its_chunks_goes_on_over_another_connection(
    silent: BrokerFederation, proxy: Swallowing
) -> None:
    told = Told()

    async def scenario() -> None:
        transport = silent.connect("site-1", on_state=told, answer_s=ANSWER_S, heartbeat_s=600)
        async with opened(transport):
            inbox = Inbox(transport, Settlement.DONE)
            await transport.consume(WEIGHTS_1, inbox, prefetch=8)
            proxy.hold_after(10_000_000)
            await transport.publish(names.to_weights("site-1"), Made(20, size=2**20))
            await until(lambda: last_of(inbox) == 19, what="the last arrived")

            arrived = [number(delivery.body) for delivery in inbox.all]
            assert list(range(20)) == list(dict.fromkeys(arrived))
            assert 1 == transport.counters.publish_unanswered
            assert 0 == transport.counters.consume_unanswered
            assert "the confirm of publishing to tasuki.weights" in told.silences[0][1].reason

    run(scenario())


def test_a_count_that_does_not_come_is_an_error_and_then_possible(
    silent: BrokerFederation, proxy: Swallowing
) -> None:
    async def scenario() -> None:
        async with opened(silent.connect("site-1", answer_s=ANSWER_S)) as transport:
            proxy.swallow(*COUNT)
            with pytest.raises(BrokerUnreachable):
                await transport.count(TURNS_1)
            await until(lambda: transport.counters.consume_reconnects == 1, what="it is back")

            assert 0 == await transport.count(TURNS_1)

    run(scenario())


def test_what_comes_on_slowly_is_not_taken_for_silence(
    silent: BrokerFederation, proxy: Swallowing
) -> None:
    """A network with room for one chunk in the time that the broker has to answer."""

    async def scenario() -> None:
        async with opened(silent.connect("site-1", answer_s=1.0)) as transport:
            proxy.slow_down(bytes_per_s=700_000)
            await transport.publish(names.to_weights("site-1"), Made(2, size=2 * 2**20))

            assert 0 == transport.counters.unanswered

    run(scenario())


@pytest.mark.parametrize("wait", ["a confirm", "a reader of a stream"])
def test_without_the_limit_the_tests_of_it_are_red(
    tmp_path: Path, wait: str, rabbitmq_is_here: None
) -> None:
    nobody_looks = Mutation(
        file="transport/amqp/connection.py",
        text="        if not self._is_looking:\n            self._look_later()\n",
        becomes="",
        tests=f"integration/test_amqp_silent.py::{TEST_OF_WAITS}[{wait}-fast]",
    )
    code, output = outcome(
        mutated(tmp_path, nobody_looks), nobody_looks.tests, within_s=WITHIN_S + 90
    )

    assert SOME_RED == code, output
    assert "TimeoutError" in output, output


def last_of(inbox: Inbox) -> int:
    return number(inbox.all[-1].body) if inbox.all else -1


def number(body: object) -> int:
    return int.from_bytes(bytes(body)[:4], "big")  # type: ignore[call-overload]
