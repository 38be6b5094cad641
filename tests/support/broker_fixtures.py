"""The private broker as fixtures: one broker a session, one vhost a test; and one cluster.

`tests/conftest.py` names this module as a plugin; import nothing from it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from support.broker import Broker
from support.cluster import Cluster
from support.rabbit import installed


@pytest.fixture(scope="session")
def rabbitmq_is_here() -> None:
    """Skip where RabbitMQ is not installed; fail where it has to be."""
    if installed() is not None:
        return
    reason = "RabbitMQ is not installed: apt-get install rabbitmq-server"
    if os.environ.get("CI") == "true" or os.environ.get("TASUKI_REQUIRE_BROKER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def broker(rabbitmq_is_here: None) -> Iterator[Broker]:
    """A running RabbitMQ, shared by the session: do not kill this one."""
    with Broker() as broker:
        broker.start()
        yield broker


@pytest.fixture
def vhost(broker: Broker) -> Iterator[str]:
    """A vhost for this test alone."""
    name = broker.vhost()
    yield name
    broker.drop_vhost(name)


@pytest.fixture
def own_broker(rabbitmq_is_here: None) -> Iterator[Callable[..., Broker]]:
    """Starts brokers for this test alone: `own_broker(consumer_timeout="2000")`."""
    with ExitStack() as stack:

        def start(**config: str) -> Broker:
            broker = stack.enter_context(Broker(config=config))
            broker.start()
            return broker

        yield start


@pytest.fixture(scope="session")
def cluster(rabbitmq_is_here: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running RabbitMQ of three nodes, shared by the session. Kill whom you like, and mend it."""
    if "PYTEST_XDIST_WORKER" in os.environ:  # or each worker might have one, and nobody notice
        mark = tmp_path_factory.getbasetemp().parent / "cluster"
        assert not mark.exists(), "another worker has a cluster, or had one and crashed"
        mark.touch()
    with Cluster() as cluster:
        cluster.start()
        yield cluster
