"""A broker of several nodes in the kits: one folder for all of its machines, and what it says."""

from __future__ import annotations

import re

from tasuki.settings.federation import FederationBrokerTable
from tasuki_cli.provision.texts import render

_NAME = re.compile(r"[A-Za-z0-9._-]+")  # no address in brackets: Erlang knows no such host


def node_names(broker: FederationBrokerTable) -> list[str]:
    """What its nodes call each other, if each has a machine of its own; else nothing.

    Erlang wants either full names (with a dot) or short ones of all of them.
    """
    hosts = [node.host for node in broker.nodes]
    are_alike = len({"." in host for host in hosts}) == 1
    can_be = len(hosts) > 1 and are_alike and all(map(_NAME.fullmatch, hosts))
    return [f"rabbit@{host}" for host in hosts] if can_be and len({*hosts}) == len(hosts) else []


def has_full_names(broker: FederationBrokerTable) -> bool:
    return all("." in node.host for node in broker.nodes)


def configuration(broker: FederationBrokerTable, *, federation: str) -> str:
    """The lines of rabbitmq.conf by which its nodes become one broker."""
    names = node_names(broker)
    if not names:
        return ""
    lines = [
        f"cluster_formation.classic_config.nodes.{number} = {name}"
        for number, name in enumerate(names, start=1)
    ]
    gaps: dict[str, str | int] = {
        "federation": federation,
        "nodes": "\n".join(lines),
        "count": len(names),
    }
    return render("rabbitmq-nodes.conf", gaps)


def page(broker: FederationBrokerTable) -> str:
    """What the broker's page says of its nodes."""
    names = node_names(broker)
    gaps = {
        "names": ", ".join(f"`{name}`" for name in names),
        "first": names[0] if names else "",
        "has_full_names": str(has_full_names(broker)).lower(),
    }
    return render("broker-nodes.md", gaps) if names else ""


def addresses(broker: FederationBrokerTable) -> str:
    """Where a service connects to, for whoever has to allow it."""
    if not broker.nodes:
        return f"`{broker.host}` port {broker.port_number}"
    *others, last = [f"`{node.host}` port {node.port}" for node in broker.nodes]
    all_of_them = f"{', '.join(others)} and {last}" if others else last
    return f"each node of the broker: {all_of_them}"
