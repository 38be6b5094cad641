"""The broker's nodes: where a connection may go. A broker on one machine is one node."""

from __future__ import annotations

import re
from dataclasses import dataclass

PORTS = {"amqp": 5672, "amqps": 5671}
"""Where a broker listens unless it is said otherwise, by the scheme of its url."""

_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]+))?")
_MOST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the broker, as its clients reach it."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def node_of(address: str, *, scheme: str) -> Node:
    """The node at `host[:port]`; an IPv6 address stands in brackets.

    Raises:
        ValueError: there is no such address.
    """
    return address_of(address, port=PORTS[scheme])


def address_of(address: str, *, port: int) -> Node:
    """The same where `port` is meant unless the address has one."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ValueError(f"{address!r} is no host[:port]; an IPv6 address needs brackets")
    port = int(found["port"] or port)
    if not 1 <= port <= _MOST_PORT:
        raise ValueError(f"{address!r}: a port is a number from 1 to {_MOST_PORT}")
    return Node(host=found["host"].strip("[]"), port=port)
