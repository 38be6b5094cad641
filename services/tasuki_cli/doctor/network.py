"""The way to the broker, below AMQP: its name, its port, and who it proves to be."""

from __future__ import annotations

import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

from tasuki.broker.nodes import Node
from tasuki.errors import BrokerUnreachable, NotPermitted
from tasuki.observe.certificate import DAY_S, WARN_DAYS, certificate_validity
from tasuki.settings.broker import BrokerTable
from tasuki_cli.doctor.report import Finding, Status, Step

ANSWER_S = 5.0
_WRONG = {
    9: "its certificate is not valid yet: is this machine's clock right?",
    10: "its certificate has expired",
    18: "its certificate is its own authority, which [broker] ca does not have",
    19: "its certificate is of an authority that [broker] ca does not have",
    20: "its certificate is of an authority that [broker] ca does not have",
    62: "its certificate is for another host name",
    64: "its certificate is for another address",
}
"""What OpenSSL's verification codes mean to an operator."""


def steps(node: Node) -> list[Step]:
    """In the order in which a connection needs them; no file of ours is needed for these."""
    host, port = node.host, node.port
    return [
        Step(
            name="name resolution",
            look=partial(_resolve, host, port),
            advice="check the host in [broker], and this machine's DNS or /etc/hosts",
        ),
        Step(
            name="TCP",
            look=partial(_connect, host, port),
            advice=f"let this machine open connections to {node}, and see that the broker listens "
            "there; its nodes are all that a site connects to",
        ),
    ]


def proofs(table: BrokerTable) -> list[Step]:
    """What we have to prove who we are, looked at without asking anybody."""
    found = [
        Step(
            name="secrets",
            look=partial(_secrets, table),
            advice="put the kit's files where [broker] says, readable by the service's user alone",
        )
    ]
    if table.cert is not None:
        found.append(
            Step(
                name="certificate",
                look=partial(_own_certificate, table),
                advice="ask the federation's operator to reissue this kit",
            )
        )
    return found


def handshake(table: BrokerTable, node: Node) -> list[Step]:
    """Who the broker proves to be, where it has to."""
    if urlsplit(table.url).scheme != "amqps":
        return []
    return [
        Step(
            name="TLS",
            look=partial(_shake_hands, table, node.host, node.port),
            advice="compare [broker] url and ca with the kit; the federation's operator renews "
            "the broker's certificate with `tasuki provision --reissue broker`",
        )
    ]


def _resolve(host: str, port: int) -> Finding:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise BrokerUnreachable(f"{host} has no address here: {exc}") from exc
    addresses = sorted({str(address[0]) for *_, address in found})
    return Finding(found=f"{host} is {', '.join(addresses)}")


def _connect(host: str, port: int) -> Finding:
    began = time.perf_counter()
    with _socket(host, port):
        took_ms = (time.perf_counter() - began) * 1000
    return Finding(found=f"{host}:{port} answers after {took_ms:.1f} ms")


def _secrets(table: BrokerTable) -> Finding:
    table.password()
    table.tls()
    if exposed := table.secrets_of_all():
        said = f"everybody on this machine may read {', '.join(map(str, exposed))}"
        return Finding(found=said, status=Status.WARN)
    return Finding(found="password and certificates can be read")


def _shake_hands(table: BrokerTable, host: str, port: int) -> Finding:
    context = table.tls()
    assert context is not None  # noqa: S101 - the url is amqps
    with _socket(host, port) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host) as secure:
                return _dates(secure)
        except ssl.SSLCertVerificationError as exc:
            meaning = _WRONG.get(exc.verify_code, exc.verify_message)
            raise BrokerUnreachable(f"{host} is not who it should be: {meaning}") from exc
        except OSError as exc:
            raise BrokerUnreachable(f"{host}:{port} does not speak TLS with us: {exc}") from exc


def _dates(secure: ssl.SSLSocket) -> Finding:
    ends = str((secure.getpeercert() or {}).get("notAfter", ""))
    days = (ssl.cert_time_to_seconds(ends) - time.time()) / DAY_S
    said = f"{secure.version()}; the broker's certificate is valid for {days:.0f} days"
    return Finding(found=said, status=Status.WARN if days < WARN_DAYS else Status.OK)


def _own_certificate(table: BrokerTable) -> Finding:
    assert table.cert is not None  # noqa: S101 - the step is there for a certificate
    valid = certificate_validity(table.cert)
    if valid is None:
        said = f"{table.cert} can be used; when it ends needs `cryptography`"
        return Finding(found=said, status=Status.SKIPPED)
    begins, ends = (datetime.fromtimestamp(moment, UTC) for moment in valid)
    left = ends - datetime.now(UTC)
    if left < timedelta(0):
        raise NotPermitted(f"our certificate {table.cert} has expired on {ends.date()}")
    if begins > datetime.now(UTC):
        raise NotPermitted(
            f"our certificate {table.cert} is not valid before {begins:%Y-%m-%d %H:%M} UTC: "
            "is this machine's clock right?"
        )
    said = f"our certificate is valid until {ends.date()}"
    return Finding(found=said, status=Status.WARN if left.days < WARN_DAYS else Status.OK)


def _socket(host: str, port: int) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout=ANSWER_S)
    except OSError as exc:
        raise BrokerUnreachable(f"nobody answers at {host}:{port}: {exc}") from exc
