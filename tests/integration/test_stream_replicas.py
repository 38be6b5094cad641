"""The controller tries at each node of the broker whether streams can be read there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.broker import Broker
from support.waiting import until
from tasuki.broker.topology import topology
from tasuki.core.model import CONTROLLER
from tasuki.errors import BrokerUnreachable, Unroutable
from tasuki.settings.broker import BrokerTable
from tasuki.wire import names
from tasuki_controller.stream_replicas import count, tried

STREAMS = [names.weights_stream(name) for name in (CONTROLLER, "site-1")]


def table_of(broker: Broker, vhost: str, folder: Path, *hosts: str) -> BrokerTable:
    """The controller's, at these hosts with the broker's port unless they have their own."""
    broker.provision(vhost, topology(["site-1"]))
    password = folder / "password"
    password.write_text(broker.password(CONTROLLER))
    return BrokerTable(
        url=f"amqp://{CONTROLLER}@{broker.host}:{broker.port}/{vhost}",
        hosts=[host if ":" in host else f"{host}:{broker.port}" for host in hosts],
        password_file=password,
    )


def test_every_node_is_asked_for_each_stream(broker: Broker, vhost: str, tmp_path: Path) -> None:
    # One node by two names: each of them has it all.
    table = table_of(broker, vhost, tmp_path, "127.0.0.1", "localhost")

    assert dict.fromkeys(STREAMS, 2) == count(table, STREAMS)


def test_nobody_knows_while_a_node_does_not_answer(
    broker: Broker, vhost: str, tmp_path: Path
) -> None:
    table = table_of(broker, vhost, tmp_path, "127.0.0.1", "127.0.0.1:1")

    with pytest.raises(BrokerUnreachable):
        count(table, STREAMS)


def test_a_stream_that_is_not_there_is_no_missing_replica(
    broker: Broker, vhost: str, tmp_path: Path
) -> None:
    table = table_of(broker, vhost, tmp_path)

    with pytest.raises(Unroutable):
        count(table, ["tasuki.weights.nobody"])


def test_they_are_told_again_and_again_and_nothing_once_a_node_is_away(
    broker: Broker, vhost: str, tmp_path: Path
) -> None:
    table = table_of(broker, vhost, tmp_path, "127.0.0.1", "localhost")
    told: list[Mapping[str, int]] = []

    async def watch() -> None:
        async with tried(table, lambda: STREAMS, told.append, every_s=0.05):
            await until(lambda: len(told) > 1, what="they are told twice")
            table.hosts.append("127.0.0.1:1")
            await until(lambda: told[-1] == {}, what="nothing is told")

    asyncio.run(watch())

    assert dict.fromkeys(STREAMS, 2) == told[0]


def test_a_broker_of_one_node_is_not_asked(broker: Broker, vhost: str, tmp_path: Path) -> None:
    table = table_of(broker, vhost, tmp_path)
    asked: list[str] = []

    async def watch() -> None:
        def streams() -> list[str]:
            asked.append("streams")
            return STREAMS

        async with tried(table, streams, lambda _: None, every_s=0):
            await asyncio.sleep(0)

    asyncio.run(watch())

    assert asked == []
