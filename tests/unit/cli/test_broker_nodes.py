"""A broker of several nodes in federation.toml: everyone's kit lists them all."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import yaml

from tasuki.broker.nodes import Node
from tasuki.core.model import CONTROLLER
from tasuki.errors import SettingsError
from tasuki.settings.controller import read_controller
from tasuki.settings.site import read_site
from tasuki_cli.provision import certificates
from tasuki_cli.provision.command import provision
from tasuki_cli.provision.report import Report

HOSTS = ["mq-1.example", "mq-2.example", "mq-3.example:7001"]
NODES = (Node("mq-1.example", 5671), Node("mq-2.example", 5671), Node("mq-3.example", 7001))


def provisioned(folder: Path, broker: str = f"hosts = {json.dumps(HOSTS)}") -> Report:
    path = folder / "federation.toml"
    path.write_text(f'name = "clinics"\nsites = ["site-1"]\n[broker]\nscheme = "amqps"\n{broker}\n')
    return provision(path, out=folder / "kits")


def test_sites_and_the_controller_go_to_every_node(tmp_path: Path) -> None:
    provisioned(tmp_path)

    site = read_site(tmp_path / "kits/site-1/site.toml", {}).broker
    controller = read_controller(tmp_path / "kits/controller/controller.toml", {}).broker
    assert NODES == site.nodes == controller.nodes
    assert "amqps://site-1@mq-1.example:5671/clinics" == site.url


def test_the_port_of_the_file_is_that_of_nodes_without_one(tmp_path: Path) -> None:
    provisioned(tmp_path, f"port = 6000\nhosts = {json.dumps(HOSTS)}")

    table = read_site(tmp_path / "kits/site-1/site.toml", {}).broker
    assert [6000, 6000, 7001] == [node.port for node in table.nodes]


def test_the_certificate_is_good_for_every_node_and_for_a_balancer_s_name(tmp_path: Path) -> None:
    provisioned(tmp_path, f'host = "mq.example"\nhosts = {json.dumps([*HOSTS, "[2001:db8::1]"])}')

    found = certificates.hosts_of(certificates.load(tmp_path / "kits/broker/server.pem"))
    expected = {"mq.example", *(node.host for node in NODES), "localhost", "2001:db8::1"}
    assert {*expected, "127.0.0.1"} == {*found}


def test_a_node_that_was_added_is_told_to_need_a_new_certificate(tmp_path: Path) -> None:
    provisioned(tmp_path, f"hosts = {json.dumps(HOSTS[:2])}")

    notes = provisioned(tmp_path).notes

    assert any("not good for mq-3.example" in note for note in notes)
    told = [note for note in notes if "[broker] hosts" in note]
    assert ["site-1", CONTROLLER] == [note.split("'")[0] for note in told]
    assert '"mq-3.example:7001"' in told[0]


def test_hosts_in_another_order_are_no_difference(tmp_path: Path) -> None:
    provisioned(tmp_path)

    assert [] == provisioned(tmp_path, f"hosts = {json.dumps(HOSTS[::-1])}").notes


def test_settings_that_got_their_hosts_by_hand_are_no_difference(tmp_path: Path) -> None:
    """As told to after one host became three: the url stays, for its user and its vhost."""
    provisioned(tmp_path, 'host = "mq.example"')
    for path in (tmp_path / "kits").glob("*/[sc]*.toml"):
        text = path.read_text()
        path.write_text(
            text.replace("password_file", f"hosts = {json.dumps(HOSTS)}\npassword_file")
        )

    notes = provisioned(tmp_path).notes

    assert [] == [note for note in notes if "settings have" in note]


def test_pages_name_every_node_for_the_firewall(tmp_path: Path) -> None:
    provisioned(tmp_path)

    listed = "`mq-1.example` port 5671, `mq-2.example` port 5671 and `mq-3.example` port 7001"
    site = (tmp_path / "kits/site-1/README.md").read_text()
    assert f"Outgoing TCP connections, to each node of the broker: {listed} (TLS" in site
    controller = (tmp_path / "kits/controller/README.md").read_text()
    assert f"- Outgoing: TCP connections, to each node of the broker: {listed} (TLS" in controller


def test_one_folder_is_for_each_of_the_broker_s_machines(tmp_path: Path) -> None:
    provisioned(tmp_path)

    broker = tmp_path / "kits/broker"
    (service,) = yaml.safe_load((broker / "compose.yaml").read_text())["services"].values()
    # In a network of its own a node's streams would have an address that no other machine reaches.
    assert "host" == service["network_mode"]
    assert service["environment"]["RABBITMQ_NODENAME"].startswith("rabbit@${TASUKI_NODE:?")
    assert "true" == service["environment"]["RABBITMQ_USE_LONGNAME"]
    assert "ports" not in service
    conf = (broker / "rabbitmq.conf").read_text()
    for number, node in enumerate(NODES, start=1):
        assert f"classic_config.nodes.{number} = rabbit@{node.host}\n" in conf
    assert "target_cluster_size_hint = 3" in conf
    assert "cluster_partition_handling = pause_minority" in conf
    cookie = broker / "state/.erlang.cookie"
    assert 0o600 == stat.S_IMODE(cookie.stat().st_mode)
    page = (broker / "README.md").read_text()
    assert "`rabbit@mq-1.example`, `rabbit@mq-2.example`, `rabbit@mq-3.example`" in page
    assert "{{" not in "".join(path.read_text() for path in broker.rglob("*") if path.is_file())


def test_nodes_keep_their_cookie_and_everything_else(tmp_path: Path) -> None:
    provisioned(tmp_path)
    cookie = (tmp_path / "kits/broker/state/.erlang.cookie").read_text()

    again = provisioned(tmp_path)

    assert ([], [], []) == (again.created, again.changed, again.notes)
    assert cookie == (tmp_path / "kits/broker/state/.erlang.cookie").read_text()


def test_short_names_are_short_for_erlang_too(tmp_path: Path) -> None:
    provisioned(tmp_path, 'hosts = ["mq-1", "mq-2", "mq-3"]')

    assert 'RABBITMQ_USE_LONGNAME: "false"' in (tmp_path / "kits/broker/compose.yaml").read_text()


@pytest.mark.parametrize(
    "hosts", [["mq:5671", "mq:5672"], ["mq-1", "mq-2.example"], ["[::1]", "[::2]"]]
)
def test_nodes_that_cannot_be_named_are_left_to_be_joined_by_hand(
    tmp_path: Path, hosts: list[str]
) -> None:
    report = provisioned(tmp_path, f"hosts = {json.dumps(hosts)}")

    (note,) = report.notes
    assert "you have to join the others yourself" in note
    assert "cluster_formation" not in (tmp_path / "kits/broker/rabbitmq.conf").read_text()


def test_a_kit_of_one_node_is_told_not_to_be_for_several(tmp_path: Path) -> None:
    provisioned(tmp_path, 'host = "mq-1.example"')
    before = (tmp_path / "kits/broker/compose.yaml").read_bytes()

    notes = provisioned(tmp_path).notes

    assert any(note.startswith("broker/compose.yaml is for one node") for note in notes)
    assert before == (tmp_path / "kits/broker/compose.yaml").read_bytes()


@pytest.mark.parametrize(
    ("broker", "message"),
    [
        ('hosts = ["a/b"]', "is no host"),
        ('hosts = ["a", "a:5671"]', "names a:5671 twice"),
        ('hosts = ["a:99999"]', "a port is a number"),
        ("replicas = 0", "greater than or equal to 1"),
    ],
)
def test_nodes_that_are_wrong_are_said_so(tmp_path: Path, broker: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        provisioned(tmp_path, broker)
