"""The AMQP transport over TLS, as sites use it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.broker import Broker
from support.transports import BrokerFederation, Inbox, Made, opened, run
from tasuki.broker.topology import topology
from tasuki.errors import BrokerUnreachable
from tasuki.ports import Settlement
from tasuki.transport.amqp import AmqpSettings
from tasuki.wire import names


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of its own authority for 127.0.0.1; its key lies beside it."""
    path = tmp_path / "broker.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(tmp_path / "key.pem"), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path


@pytest.fixture
def federation(own_broker: Callable[..., Broker], certificate: Path) -> BrokerFederation:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    broker = own_broker(
        **{
            "listeners.ssl.1": f"127.0.0.1:{port}",
            "ssl_options.certfile": str(certificate),
            "ssl_options.keyfile": str(certificate.with_name("key.pem")),
        }
    )
    vhost = broker.vhost()
    broker.provision(vhost, topology(["site-1"]))
    return BrokerFederation(broker, vhost, port=port)


def test_weights_travel_over_tls(federation: BrokerFederation, certificate: Path) -> None:
    tls = ssl.create_default_context(cafile=str(certificate))

    async def scenario() -> None:
        async with opened(federation.connect("site-1", tls=tls)) as transport:
            inbox = Inbox(transport, Settlement.DONE)
            await transport.consume(names.weights_stream("site-1"), inbox, prefetch=4)
            sending = asyncio.create_task(
                transport.publish(names.to_weights("site-1"), Made(40, size=700_001))
            )
            bodies = await inbox.bodies(40)
            await sending

            assert [int.from_bytes(body[:4], "big") for body in bodies] == list(range(40))
            assert {len(body) for body in bodies} == {700_001}

    run(scenario())


def test_a_broker_that_proves_nothing_is_not_talked_to(federation: BrokerFederation) -> None:
    async def scenario() -> None:
        transport = federation.connect("site-1", tls=ssl.create_default_context(), patience_s=2.0)
        with pytest.raises(BrokerUnreachable, match="certificate"):
            await transport.open()

    run(scenario())


def test_an_amqps_url_verifies_by_default() -> None:
    settings = AmqpSettings.from_url("amqps://site-1@broker.example/relay", password="secret")  # noqa: S106 - no secret

    assert settings.tls is not None
    assert settings.tls.verify_mode is ssl.CERT_REQUIRED
    assert (settings.nodes[0].port, settings.vhost) == (5671, "relay")
    assert "secret" not in repr(settings)
