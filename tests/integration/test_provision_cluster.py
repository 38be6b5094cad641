"""`tasuki provision` on a broker of three nodes: replicas where they should be, control that lives.

One cluster for all of it, made of the broker's own files. Every test leaves it whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import replicas
from support.cluster import Cluster
from support.rabbit import Rabbit
from support.transports import Inbox, numbered, opened, run
from support.waiting import wait_until
from tasuki.broker.topology import is_stream
from tasuki.core.model import CONTROLLER
from tasuki.errors import NotReplicated, SettingsError
from tasuki.ports import Settlement
from tasuki.settings.controller import read_controller
from tasuki.settings.site import read_site
from tasuki.transport.amqp import AmqpTransport
from tasuki.transport.broker import BrokerConnection
from tasuki.wire import names
from tasuki_cli.provision import Admin, passwords, run_provision
from tasuki_cli.provision.command import provision
from tasuki_cli.provision.placement import Placement
from tasuki_cli.provision.report import Report

pytestmark = pytest.mark.timeout(300)  # the nodes start, and a command of RabbitMQ takes a second

VHOST = "clinics"
SITES = ["site-1", "site-2"]
CONTROL_1, CONTROL_2 = names.control_queue("site-1"), names.control_queue("site-2")


class Clinics:
    """A federation's kits, and the cluster that began with the broker's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "kits"
        self._write(["mq-1.example", "mq-2.example", "mq-3.example"])
        provision(self._toml, out=self.out)
        lines = (self.out / "broker/rabbitmq.conf").read_text().splitlines()
        settings = dict(line.split(" = ") for line in lines if line and not line.startswith("#"))
        # The nodes of a test have names and ports of their own, and less memory.
        ours = {key: settings[key] for key in settings if key.startswith("cluster_")}
        named = {key for key in ours if key.startswith("cluster_formation.classic_config")}
        assert 3 == len(named)
        self.cluster = Cluster(
            config={key: ours[key] for key in ours.keys() - named}
            | {"load_definitions": str(folder / "definitions.json")}
        )
        (folder / "admin").write_text(self.cluster.password())
        self._add_administrator()

    def apply(self, *, with_commands: bool = True) -> Report:
        self._write(self.cluster.hosts)
        return provision(self._toml, out=self.out, admin=self.admin(with_commands=with_commands))

    def placed(self, *, with_commands: bool = True) -> Placement:
        placement = self.apply(with_commands=with_commands).placement
        assert placement is not None
        return placement

    def run(self) -> int:
        """As the command; its exit code."""
        self._write(self.cluster.hosts)
        return run_provision(self._toml, out=self.out, admin=self.admin())

    def admin(self, *, with_commands: bool = True, prefix: str | None = None) -> Admin:
        node = self.cluster.living[0]
        # Without it a RabbitMQ of this machine is looked at, which is not this one.
        through = (prefix or node.prefix()) if with_commands else None
        url = f"http://127.0.0.1:{node.http_port}"
        return Admin(user="admin", password_file=self.folder / "admin", url=url, ctl=through)

    def connect(self, user: str) -> AmqpTransport:
        nodes = {"TASUKI_BROKER_HOSTS": ",".join(self.cluster.hosts)}
        if user == CONTROLLER:
            table = read_controller(self.out / user / "controller.toml", nodes).broker
        else:
            table = read_site(self.out / user / "site.toml", nodes).broker
        return BrokerConnection(table).transport

    def make_control_classic(self, queue: str, node: Rabbit) -> None:
        """As an earlier Tasuki provisioned it, on this node."""
        ask = self.cluster.management.ask
        arguments = {"x-queue-type": "classic", "x-max-length": 1000, "x-message-ttl": 300000}
        body = {"durable": True, "arguments": arguments, "node": node.name}
        self.cluster.management.permit("admin", VHOST, configure=".*", write=".*", read=".*")
        ask("DELETE", "queues", VHOST, queue)
        ask("PUT", "queues", VHOST, queue, body=body)
        for key in ("all", f"site.{queue.rpartition('.')[2]}"):
            path = ("bindings", VHOST, "e", names.CONTROL, "q", queue)
            ask("POST", *path, body={"routing_key": key})
        # As of an administrator who was made for a broker that began with its files.
        ask("DELETE", "permissions", VHOST, "admin")

    @property
    def _toml(self) -> Path:
        return self.folder / "federation.toml"

    def _write(self, hosts: object) -> None:
        self._toml.write_text(
            f'name = "{VHOST}"\nsites = {json.dumps(SITES)}\n'
            f"[broker]\nhosts = {json.dumps(hosts)}\n"
        )

    def _add_administrator(self) -> None:
        document = json.loads((self.out / "broker/definitions.json").read_text())
        document["users"].append(
            {
                "name": "admin",
                "password_hash": passwords.password_hash(self.cluster.password()),
                "hashing_algorithm": passwords.HASHING,
                "tags": ["administrator"],
            }
        )
        (self.folder / "definitions.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def clinics(rabbitmq_is_here: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinics]:
    clinics = Clinics(tmp_path_factory.mktemp("clinics"))
    with clinics.cluster as cluster:
        cluster.start()
        yield clinics


def all_members(clinics: Clinics) -> dict[str, frozenset[str]]:
    found = replicas.replicas(clinics.cluster.living[0])
    return {each.queue: each.members for each in found if each.vhost == VHOST}


def leaders(clinics: Clinics) -> set[str | None]:
    found = replicas.replicas(clinics.cluster.living[0])
    return {each.leader for each in found if not is_stream(each.queue)}


def test_nodes_that_start_with_the_broker_s_files_have_a_replica_of_everything(
    clinics: Clinics, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first node is alone for a while, and must not make all queues for itself."""
    everywhere = {node.name for node in clinics.cluster.nodes}
    count = 3 + 3 * len(SITES)
    wait_until(lambda: count == len(all_members(clinics)), what="all queues are made", within_s=60)
    clinics.cluster.await_whole()
    assert {frozenset(everywhere)} == {*all_members(clinics).values()}

    assert 0 == clinics.run()

    assert "3 replicas of each queue on its 3 nodes" in capsys.readouterr().out
    placement = clinics.placed()
    assert (3, [], []) == (placement.replicas, placement.missing, placement.commands)
    assert everywhere == {*placement.nodes}
    wait_until(lambda: everywhere == leaders(clinics), what="each node leads something")


def test_commands_of_another_broker_are_refused(clinics: Clinics, tmp_path: Path) -> None:
    script = tmp_path / "elsewhere"
    script.write_text(f"#!/bin/sh\necho '{json.dumps({'disk_nodes': ['rabbit@elsewhere']})}'\n")

    with pytest.raises(SettingsError, match="leads to rabbit@elsewhere"):
        provision(
            clinics.folder / "federation.toml",
            out=clinics.out,
            admin=clinics.admin(prefix=f"sh {script}"),
        )


def test_a_fence_arrives_while_the_node_that_led_its_queue_is_away(clinics: Clinics) -> None:
    cluster = clinics.cluster
    victim = cluster.nodes[1]
    replicas.lead(victim, VHOST, CONTROL_1)

    async def scenario() -> None:
        async with (
            opened(clinics.connect("site-1")) as site,
            opened(clinics.connect(CONTROLLER)) as controller,
        ):
            inbox = Inbox(site, Settlement.DONE)
            await site.consume(CONTROL_1, inbox)
            await controller.publish(names.to_control(), numbered(1))
            assert [b"0"] == await inbox.bodies(1)
            cluster.kill(victim)
            for number, route in enumerate([names.to_control("site-1"), names.to_control()], 1):
                await controller.publish(route, numbered(1, first=number))
                await heard(inbox, f"{number}".encode())

    run(scenario())
    cluster.restart(victim)


def test_what_a_node_that_is_away_keeps_back_is_told_by_name_and_mended_later(
    clinics: Clinics, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = clinics.cluster
    victim = cluster.nodes[2]
    clinics.make_control_classic(CONTROL_1, cluster.nodes[0])
    clinics.make_control_classic(CONTROL_2, victim)
    cluster.kill(victim)
    wait_until(lambda: not is_up(cluster, victim), what="the others notice")

    assert NotReplicated.exit_code == clinics.run()

    told = capsys.readouterr().out
    assert f"made again, on several nodes if there are: {CONTROL_1};" in told
    assert f"{victim.name} is away" in told
    assert f"{CONTROL_2} is a classic queue on a node that is away" in told

    cluster.restart(victim)
    report = clinics.apply()

    assert [CONTROL_2] == report.replaced
    assert report.is_whole, report.placement
    assert {frozenset(node.name for node in cluster.nodes)} == {*all_members(clinics).values()}


def test_a_node_that_replaces_a_lost_one_gets_its_replicas(clinics: Clinics) -> None:
    cluster = clinics.cluster
    lost = cluster.nodes[2]
    cluster.lose(lost)
    cluster.forget(lost)
    new = cluster.join()

    by_hand = clinics.placed(with_commands=False)

    assert [] == by_hand.done
    assert all(new.name in command or lost.name in command for command in by_hand.commands)
    for queue in all_members(clinics):
        assert any(f"{queue} {new.name}" in command for command in by_hand.commands), queue
        assert any(missing.startswith(queue) for missing in by_hand.missing), queue

    done = clinics.placed()

    assert ([], []) == (done.missing, done.commands)
    assert f"added a replica of {names.REPORTS} on {new.name}" in done.done
    assert {frozenset(node.name for node in cluster.nodes)} == {*all_members(clinics).values()}
    cluster.await_whole()


async def heard(inbox: Inbox, body: bytes) -> None:
    """One that the broker did not confirm was sent again, and may come twice."""
    while bytes((await inbox.next()).body) != body:
        pass


def is_up(cluster: Cluster, node: Rabbit) -> bool:
    listed = cluster.management.ask("GET", "nodes")
    assert isinstance(listed, list)
    return bool(next(each["running"] for each in listed if each["name"] == node.name))
