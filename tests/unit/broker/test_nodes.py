"""Addresses of the broker's nodes: read as they are meant, or refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasuki.broker.nodes import Node, node_of
from tasuki.errors import SettingsError
from tasuki.settings.broker import BrokerTable
from tasuki.settings.site import read_site
from tasuki.transport.amqp import AmqpSettings

SITE = """
name = "site-1"
[broker]
url = "{url}"
password_file = "password"
{more}
"""


@pytest.mark.parametrize(
    ("address", "scheme", "node"),
    [
        ("a.example", "amqp", Node("a.example", 5672)),
        ("a.example", "amqps", Node("a.example", 5671)),
        ("a:1", "amqps", Node("a", 1)),
        ("10.0.0.7:5673", "amqp", Node("10.0.0.7", 5673)),
        ("[::1]:5671", "amqps", Node("::1", 5671)),
        ("[fe80::1]", "amqp", Node("fe80::1", 5672)),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(address: str, scheme: str, node: Node) -> None:
    assert node == node_of(address, scheme=scheme)
    assert str(node) == str(node_of(str(node), scheme=scheme))


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":5671",
        "a b",
        "a:",
        "a:x",
        "a:0",
        "a:65536",
        "a:99999",
        "::1",
        "[::1",
        "amqp://a",
        "a/v",
    ],
)
def test_what_cannot_be_an_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"host\[:port\]|a port is a number"):
        node_of(address, scheme="amqp")


def table(**changes: object) -> BrokerTable:
    given = {"url": "amqps://site-1@broker.example/fed", "password_file": Path("password")}
    return BrokerTable.model_validate({**given, **changes})


def test_without_hosts_the_url_says_where() -> None:
    assert (Node("broker.example", 5671),) == table().nodes
    assert (Node("b", 7),) == table(url="amqps://site-1@b:7/fed").nodes


def test_hosts_are_taken_in_place_of_the_urls() -> None:
    assert (Node("a", 5671), Node("b", 7)) == table(hosts=["a", "b:7"]).nodes


def site(folder: Path, *, url: str = "amqp://site-1@a/fed", more: str = "") -> Path:
    path = folder / "site.toml"
    path.write_text(SITE.format(url=url, more=more))
    return path


def test_the_environment_names_hosts_between_commas(tmp_path: Path) -> None:
    read = read_site(site(tmp_path), {"TASUKI_BROKER_HOSTS": "a, b:7,[::1]"})

    assert (Node("a", 5672), Node("b", 7), Node("::1", 5672)) == read.broker.nodes


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('hosts = ["a", "b:99999"]', "a port is a number from 1 to 65535"),
        ('hosts = ["a", ""]', r"'' is no host\[:port\]"),
        ('hosts = ["a", "a:5672"]', "names a:5672 twice"),
        ('hosts = "a;b"', r"'a;b' is no host\[:port\]"),
        ("hosts = 7", "valid list"),
        ("answer_s = 0", "greater than or equal to 1"),
    ],
)
def test_hosts_that_cannot_be_are_told_with_the_settings(
    tmp_path: Path, more: str, said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        read_site(site(tmp_path, more=more), {})


@pytest.mark.parametrize(
    "url",
    ["amqp://site-1@localhost:99999/fed", "amqp://site-1@localhost:x/fed", "amqp://site-1@:1/f"],
)
def test_a_url_with_an_impossible_port_is_told_with_the_settings(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match=r"broker\.url: .*(port|host)"):
        read_site(site(tmp_path, url=url), {})


def test_several_nodes_are_kept_with_one_identity() -> None:
    nodes = (Node("a", 1), Node("b", 2))
    settings = AmqpSettings.from_url("amqp://site-1@ignored/fed", password="x", nodes=nodes)  # noqa: S106

    assert (nodes, "site-1", "fed") == (settings.nodes, settings.user, settings.vhost)
