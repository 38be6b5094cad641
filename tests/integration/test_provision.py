"""`tasuki provision` against a real broker: what it makes works, and nothing that works is lost."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pika
import pytest
from pika import exceptions as pika_errors
from pika.adapters.blocking_connection import BlockingChannel
from typer.testing import CliRunner

from support.broker import Broker
from support.transports import Inbox, numbered, opened, run
from support.waiting import wait_until
from support.wiretap import channel
from tasuki.broker.topology import PRIORITY, Sizes, topology
from tasuki.core.model import CONTROLLER
from tasuki.errors import BrokerUnreachable, NotPermitted, SettingsError
from tasuki.ports import Settlement
from tasuki.settings.controller import read_controller
from tasuki.settings.site import read_site
from tasuki.transport.amqp import AmqpSettings, AmqpTransport
from tasuki.weights.chunks import MAX_CHUNK_BYTES
from tasuki.wire import names
from tasuki_cli.main import app
from tasuki_cli.provision import Admin, passwords, run_provision
from tasuki_cli.provision.command import provision
from tasuki_cli.provision.definitions import MOST_CHANNELS, MOST_CONNECTIONS
from tasuki_cli.provision.report import Report

SITES = ["site-1", "site-2", "site-3"]
VHOST = "clinics"


class Provisioned:
    """A federation's kits and the broker that they are for."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self.out = folder / "kits"
        self._folder = folder
        (folder / "admin").write_text(broker.password())

    def apply(
        self, *, sites: Sequence[str] = SITES, out: Path | None = None, more: str = ""
    ) -> Report:
        return provision(
            self.write(sites=sites, more=more), out=out or self.out, admin=self.admin()
        )

    def write(
        self, *, sites: Sequence[str] = SITES, port: int | None = None, more: str = ""
    ) -> Path:
        path = self._folder / "federation.toml"
        path.write_text(
            f'name = "{VHOST}"\nsites = {json.dumps(list(sites))}\n'
            f'[broker]\nhost = "{self.broker.host}"\nport = {port or self.broker.port}\n'
            f'management = "http://127.0.0.1:{self.broker.http_port}"\n{more}'
        )
        return path

    def admin(self, url: str | None = None) -> Admin:
        return Admin(user="admin", password_file=self._folder / "admin", url=url)

    def settings(self, user: str) -> AmqpSettings:
        """As the service of this user reads them from its kit."""
        if user == CONTROLLER:
            table = read_controller(self.out / user / "controller.toml", {}).broker
        else:
            table = read_site(self.out / user / "site.toml", {}).broker
        return AmqpSettings.from_url(table.url, password=table.password(), tls=table.tls())

    def connect(self, user: str) -> AmqpTransport:
        return AmqpTransport(self.settings(user))


@pytest.fixture(scope="module")
def federation_broker(rabbitmq_is_here: None) -> Iterator[Broker]:
    """Of this module alone: users are the broker's, not the vhost's."""
    with Broker() as broker:
        broker.start()
        yield broker


@pytest.fixture
def provisioned(federation_broker: Broker, tmp_path: Path) -> Iterator[Provisioned]:
    federation = Provisioned(federation_broker, tmp_path)
    yield federation
    ask = federation_broker.management.ask
    listed = ask("GET", "users")
    assert isinstance(listed, list)
    for user in listed:
        if user["name"] != "admin":
            ask("DELETE", "users", user["name"])
    vhosts = ask("GET", "vhosts")
    assert isinstance(vhosts, list)
    if VHOST in {vhost["name"] for vhost in vhosts}:
        ask("DELETE", "vhosts", VHOST)


def test_a_site_cannot_take_all_the_connections_of_its_broker(provisioned: Provisioned) -> None:
    provisioned.apply()
    table = read_site(provisioned.out / "site-1" / "site.toml", {}).broker
    parameters = pika.URLParameters(table.url.replace("@", f":{table.password()}@"))
    with ExitStack() as held:
        for _ in range(MOST_CONNECTIONS):
            held.enter_context(pika.BlockingConnection(parameters))
        with pytest.raises(pika_errors.AMQPConnectionError, match="user connection limit"):
            pika.BlockingConnection(parameters)


def test_a_site_cannot_take_the_broker_s_memory_by_channels(provisioned: Provisioned) -> None:
    provisioned.apply()
    with ExitStack() as held:
        one, other = (held.enter_context(bare(provisioned, "site-1")) for _ in range(2))
        for _ in range(MOST_CHANNELS - 1):
            one.channel()
        other.channel()
        with pytest.raises(pika_errors.ConnectionClosedByBroker, match="user limit"):
            other.channel()
        held.enter_context(bare(provisioned, "site-2")).channel()


def bare(provisioned: Provisioned, user: str) -> pika.BlockingConnection:
    """To do what our own transport would not."""
    settings = provisioned.settings(user)
    return pika.BlockingConnection(settings.parameters(settings.nodes[0], name="bare"))


def test_queues_of_before_are_bounded_and_keep_what_is_in_them(provisioned: Provisioned) -> None:
    """As an earlier Tasuki provisioned them: without policies, and with fewer limits."""
    provisioned.apply()
    ask = provisioned.broker.management.ask
    for policy in topology(SITES).policies:
        ask("DELETE", "policies", VHOST, policy.name)
    ask("DELETE", "user-limits", "site-2", "max-channels")

    async def give_out() -> None:
        async with opened(provisioned.connect(CONTROLLER)) as controller:
            await controller.publish(names.to_turns("site-1"), numbered(3))

    run(give_out())
    assert [] == provisioned.apply().notes

    with bare(provisioned, "site-2") as connection:
        sending = connection.channel()
        sending.confirm_delivery()
        taken = fill(sending, at_most=2 * Sizes().turns.messages)
        sending.basic_publish(names.TURNS, "site-3", b"x", mandatory=True)
    assert Sizes().turns.messages <= 3 + taken < 2 * Sizes().turns.messages
    (limits,) = list_of_limits(provisioned.broker, "site-2")
    expected = {"max-connections": MOST_CONNECTIONS, "max-channels": MOST_CHANNELS}
    assert expected == limits["value"]

    async def take() -> None:
        async with opened(provisioned.connect("site-1")) as site:
            inbox = Inbox(site, Settlement.DONE)
            await site.consume(names.turns_queue("site-1"), inbox)
            assert [b"0", b"1", b"2", b"x"] == await inbox.bodies(4)

    run(take())


def fill(sending: BlockingChannel, *, at_most: int) -> int:
    """Send turns to site-1 until the broker takes no more; how many it took."""
    for count in range(at_most):
        try:
            sending.basic_publish(names.TURNS, "site-1", b"x", mandatory=True)
        except pika_errors.NackError:
            return count
    return at_most


def list_of_limits(broker: Broker, user: str) -> list[dict[str, object]]:
    found = broker.management.ask("GET", "user-limits", user)
    assert isinstance(found, list)
    return found


def test_a_policy_that_lifts_a_bound_is_named(provisioned: Provisioned) -> None:
    provisioned.apply()
    theirs = {"pattern": "^tasuki", "definition": {"max-length": 10**6}, "apply-to": "queues"}
    ask = provisioned.broker.management.ask

    ask("PUT", "policies", VHOST, "theirs", body={**theirs, "priority": PRIORITY - 1})
    assert [] == provisioned.apply().notes
    ask("PUT", "policies", VHOST, "theirs", body={**theirs, "priority": PRIORITY})
    assert 2 + len(SITES) == sum("policy theirs" in note for note in provisioned.apply().notes)


def test_a_site_takes_what_is_sent_to_it_with_its_generated_password(
    provisioned: Provisioned,
) -> None:
    report = provisioned.apply()
    assert report.applied
    assert [] == report.notes

    async def scenario() -> None:
        async with (
            opened(provisioned.connect("site-2")) as site,
            opened(provisioned.connect(CONTROLLER)) as controller,
        ):
            inbox = Inbox(site, Settlement.DONE)
            for queue in (
                names.turns_queue("site-2"),
                names.weights_stream("site-2"),
                names.control_queue("site-2"),
            ):
                await site.consume(queue, inbox)
            routes = (
                names.to_turns("site-2"),
                names.to_weights("site-2"),
                names.to_control("site-2"),
                names.to_control(),
            )
            for number, route in enumerate(routes):
                await controller.publish(route, numbered(1, first=number))
                assert [f"{number}".encode()] == await inbox.bodies(1)

    run(scenario())


@pytest.mark.parametrize(
    "queue", [names.turns_queue("site-1"), names.weights_stream("site-1"), names.DEAD]
)
def test_a_site_may_not_read_what_is_another_s(provisioned: Provisioned, queue: str) -> None:
    provisioned.apply()

    async def scenario() -> None:
        async with opened(provisioned.connect("site-2")) as site:
            with pytest.raises(NotPermitted, match="refuses"):
                await site.consume(queue, Inbox(site))

    run(scenario())


def test_an_operator_reads_the_dead_letters_and_nothing_else(provisioned: Provisioned) -> None:
    provisioned.apply()
    password = (provisioned.out / "operator/password").read_text().strip()

    url = f"amqp://operator:{password}@127.0.0.1:{provisioned.broker.port}/{VHOST}"
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        method, _, _ = connection.channel().basic_get(names.DEAD)
        assert method is None
        with pytest.raises(pika_errors.ChannelClosedByBroker, match="refused"):
            connection.channel().basic_get(names.turns_queue("site-1"))


def test_the_command_applies_and_prints_no_password(
    provisioned: Provisioned, tmp_path: Path
) -> None:
    command = ["provision", str(provisioned.write()), "--out", str(provisioned.out), "--apply"]

    done = CliRunner().invoke(
        app, [*command, "--admin-password-file", str(tmp_path / "admin"), "--json"]
    )

    assert 0 == done.exit_code, done.output
    assert json.loads(done.stdout)["applied"]
    assert provisioned.broker.password() not in done.output
    assert provisioned.settings("site-1").password not in done.output
    assert len(provisioned.broker.list_queues(VHOST)) == 3 + 3 * len(SITES)


def test_another_site_s_password_opens_nothing(provisioned: Provisioned) -> None:
    provisioned.apply()
    wrong = provisioned.settings("site-1").password

    url = f"amqp://site-2:{wrong}@127.0.0.1:{provisioned.broker.port}/{VHOST}"
    with pytest.raises(pika_errors.ProbableAuthenticationError):
        pika.BlockingConnection(pika.URLParameters(url))


def test_one_more_site_leaves_passwords_and_waiting_turns_alone(provisioned: Provisioned) -> None:
    provisioned.apply()
    password = (provisioned.out / "site-1/password").read_bytes()

    async def send() -> None:
        async with opened(provisioned.connect(CONTROLLER)) as controller:
            await controller.publish(names.to_turns("site-1"), numbered(3))

    run(send())

    report = provisioned.apply(sites=[*SITES, "site-4"])

    assert {"site-4", "ca"} == {name.split("/")[0] for name in report.created}
    assert password == (provisioned.out / "site-1/password").read_bytes()
    assert names.turns_queue("site-4") in provisioned.broker.list_queues(VHOST)

    async def take() -> None:
        async with (
            opened(provisioned.connect("site-1")) as site_1,
            opened(provisioned.connect("site-4")) as site_4,
        ):
            inbox = Inbox(site_1, Settlement.DONE)
            await site_1.consume(names.turns_queue("site-1"), inbox)
            assert [b"0", b"1", b"2"] == await inbox.bodies(3)
            await site_4.consume(names.turns_queue("site-4"), Inbox(site_4))

    run(take())


def test_a_second_time_changes_nothing_on_the_broker(provisioned: Provisioned) -> None:
    provisioned.apply()
    before = broker_state(provisioned.broker)

    report = provisioned.apply()

    assert before == broker_state(provisioned.broker)
    assert ([], [], [], []) == (report.created, report.changed, report.removed, report.notes)


def broker_state(broker: Broker) -> object:
    exported = broker.management.ask("GET", "definitions")
    assert isinstance(exported, dict)
    of_users = ("users", "permissions", "topic_permissions")
    kinds = (*of_users, "policies", "queues", "exchanges", "bindings")
    return {kind: sorted(exported[kind], key=json.dumps) for kind in kinds}


def test_new_passwords_for_old_users_are_refused_and_nothing_is_changed(
    provisioned: Provisioned, tmp_path: Path
) -> None:
    """Kits that were lost, or another federation on this broker: nobody is locked out by it."""
    provisioned.apply()
    before = broker_state(provisioned.broker)

    with pytest.raises(SettingsError, match="another password") as caught:
        provisioned.apply(sites=[*SITES, "site-4"], out=tmp_path / "elsewhere")

    assert "site-1" in str(caught.value)
    assert before == broker_state(provisioned.broker)


def test_a_deleted_user_comes_back_with_a_new_password(provisioned: Provisioned) -> None:
    provisioned.apply()
    old = provisioned.settings("site-1").password
    (provisioned.out / "site-1/password").unlink()
    provisioned.broker.management.ask("DELETE", "users", "site-1")

    provisioned.apply()

    assert old != provisioned.settings("site-1").password

    async def scenario() -> None:
        async with opened(provisioned.connect("site-1")) as site:
            await site.consume(names.turns_queue("site-1"), Inbox(site))

    run(scenario())


def test_a_site_that_is_no_longer_listed_is_reported_and_its_queue_kept(
    provisioned: Provisioned,
) -> None:
    provisioned.apply()
    shutil.rmtree(provisioned.out / "site-3")  # the broker alone knows of it

    report = provisioned.apply(sites=SITES[:2])

    assert ["site-3"] == report.removed
    assert names.turns_queue("site-3") in provisioned.broker.list_queues(VHOST)


def test_a_changed_size_is_said_not_to_be_in_force(provisioned: Provisioned) -> None:
    provisioned.apply()

    report = provisioned.apply(
        sites=SITES, more="[streams]\nmax_bytes = 1_000_000_000\nsegment_bytes = 100_000_000\n"
    )

    assert 4 == len(report.notes)
    assert all("x-max-length-bytes = 20000000000, not 1000000000" in n for n in report.notes)


def test_classic_control_queues_are_replaced_and_their_readers_go_on(
    provisioned: Provisioned,
) -> None:
    """As an earlier Tasuki provisioned them."""
    provisioned.apply()
    make_control_classic(provisioned.broker, "site-1")

    async def scenario() -> None:
        async with (
            opened(provisioned.connect("site-1")) as site,
            opened(provisioned.connect(CONTROLLER)) as controller,
        ):
            inbox = Inbox(site, Settlement.DONE)
            await site.consume(names.control_queue("site-1"), inbox)

            report = provisioned.apply()

            assert ([names.control_queue("site-1")], []) == (report.replaced, report.notes)
            for number, route in enumerate([names.to_control("site-1"), names.to_control()]):
                await controller.publish(route, numbered(1, first=number))
                assert [f"{number}".encode()] == await inbox.bodies(1)

    run(scenario())
    queue = provisioned.broker.list_queues(VHOST)[names.control_queue("site-1")]
    assert "quorum" == queue["type"]
    assert [] == provisioned.apply().replaced


def make_control_classic(broker: Broker, site: str) -> None:
    ask = broker.management.ask
    queue = names.control_queue(site)
    ask("DELETE", "queues", VHOST, queue)
    arguments = {"x-queue-type": "classic", "x-max-length": 1000, "x-message-ttl": 300000}
    ask("PUT", "queues", VHOST, queue, body={"durable": True, "arguments": arguments})
    for route in (names.to_control(site), names.to_control()):
        path = ("bindings", VHOST, "e", route.exchange, "q", queue)
        ask("POST", *path, body={"routing_key": route.key})


def test_control_is_bounded_and_grows_old(broker: Broker, vhost: str) -> None:
    """A quorum queue keeps to both limits, on every RabbitMQ that we speak to."""
    sizes = Sizes(control_messages=10, control_ttl_s=2)
    broker.provision(vhost, topology(["site-1"], sizes=sizes))
    with channel(broker, vhost) as sending:
        sending.confirm_delivery()
        for number in range(15):
            sending.basic_publish(names.CONTROL, "all", f"{number}".encode(), mandatory=True)

        queue = names.control_queue("site-1")
        method, _, oldest = sending.basic_get(queue)
        assert (b"5", 9) == (oldest, method and method.message_count)

        def waiting() -> int:
            return int(sending.queue_declare(queue, passive=True).method.message_count)

        wait_until(lambda: waiting() == 0, what="the control has grown old")
        sending.basic_nack(method.delivery_tag, requeue=True)
        wait_until(lambda: waiting() == 0, what="nor does it come back")
        assert (None, None, None) == sending.basic_get(queue)


def test_a_broker_of_one_node_is_whole_and_said_to_be_one(
    provisioned: Provisioned, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_provision(provisioned.write(), out=provisioned.out, admin=provisioned.admin())

    assert 0 == code
    assert "the broker, which has one node" in capsys.readouterr().out
    placement = provisioned.apply().placement
    assert placement is not None
    assert (1, [], []) == (placement.replicas, placement.missing, placement.commands)


def test_another_number_of_replicas_is_no_difference_of_queues_that_are_there(
    provisioned: Provisioned,
) -> None:
    provisioned.apply()

    assert [] == provisioned.apply(more="replicas = 5\n").notes


def test_a_wrong_administrator_is_refused(provisioned: Provisioned, tmp_path: Path) -> None:
    (tmp_path / "admin").write_text("guess")

    with pytest.raises(NotPermitted, match="administrator"):
        provisioned.apply()


def test_an_address_where_nobody_is_says_so(provisioned: Provisioned) -> None:
    path = provisioned.write()

    with pytest.raises(BrokerUnreachable, match="management API"):
        provision(path, out=provisioned.out, admin=provisioned.admin(url="http://127.0.0.1:1"))


def test_a_broker_that_starts_with_the_files_has_it_all(
    rabbitmq_is_here: None, tmp_path: Path
) -> None:
    """As in a container: no administrator, no API, only the two files."""
    with Broker(config=configuration(tmp_path)) as broker:
        federation = Provisioned(broker, tmp_path)
        provision(federation.write(), out=federation.out)
        start_with_definitions(broker, tmp_path, federation.out)

        run(turn_to_site_3(federation))
        send_weights(federation, MAX_CHUNK_BYTES + 2**10)
        with pytest.raises(pika_errors.ChannelClosedByBroker, match="larger than"):
            send_weights(federation, MAX_CHUNK_BYTES + 2**17)


def send_weights(federation: Provisioned, size: int) -> None:
    """One message of so many bytes, from a site to another."""
    with bare(federation, "site-1") as connection:
        sending = connection.channel()
        sending.confirm_delivery()
        sending.basic_publish(names.WEIGHTS, "site-3", bytes(size), mandatory=True)


def test_a_broker_that_starts_with_the_files_speaks_tls(
    rabbitmq_is_here: None, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    more = f'[broker]\nscheme = "amqps"\nca = "{certificate.name}"\n'
    settings = configuration(tmp_path, more=more)
    # The test broker is asked over plain text whether it is up.
    assert "none" == settings.pop("listeners.tcp")
    assert "5671" == settings.pop("listeners.ssl.default")
    settings["listeners.ssl.1"] = f"127.0.0.1:{port}"
    for key, path in {"cert": certificate, "key": tmp_path / "key.pem"}.items():
        assert f"/etc/rabbitmq/tls/{key}.pem" == settings[f"ssl_options.{key}file"]
        settings[f"ssl_options.{key}file"] = str(path)
    with Broker(config=settings) as broker:
        federation = Provisioned(broker, tmp_path)
        more = f'scheme = "amqps"\nca = "{certificate.name}"\n'
        provision(federation.write(port=port, more=more), out=federation.out)
        start_with_definitions(broker, tmp_path, federation.out)

        assert federation.settings("site-3").tls is not None
        run(turn_to_site_3(federation))


async def turn_to_site_3(federation: Provisioned) -> None:
    async with (
        opened(federation.connect("site-3")) as site,
        opened(federation.connect(CONTROLLER)) as controller,
    ):
        inbox = Inbox(site, Settlement.DONE)
        await site.consume(names.turns_queue("site-3"), inbox)
        await controller.publish(names.to_turns("site-3"), numbered(1))
        assert [b"0"] == await inbox.bodies(1)


def configuration(folder: Path, *, more: str = "") -> dict[str, str]:
    """The lines of rabbitmq.conf, with its definitions in this folder."""
    path = folder / "federation.toml"
    path.write_text(f'name = "{VHOST}"\nsites = {json.dumps(SITES)}\n{more}')
    provision(path, out=folder / "for-its-configuration")
    lines = (folder / "for-its-configuration/broker/rabbitmq.conf").read_text().splitlines()
    settings = dict(line.split(" = ") for line in lines if line and not line.startswith("#"))
    assert "/etc/rabbitmq/definitions.json" == settings["load_definitions"]
    return {**settings, "load_definitions": str(folder / "definitions.json")}


def start_with_definitions(broker: Broker, folder: Path, out: Path) -> None:
    document = json.loads((out / "broker/definitions.json").read_text())
    # The test broker asks its own administrator whether it is up; RabbitMQ makes none itself when
    # it is given definitions.
    document["users"].append(
        {
            "name": "admin",
            "password_hash": passwords.password_hash(broker.password()),
            "hashing_algorithm": passwords.HASHING,
            "tags": ["administrator"],
        }
    )
    (folder / "definitions.json").write_text(json.dumps(document))
    broker.start()


def make_certificate(folder: Path) -> Path:
    """A certificate of its own authority for 127.0.0.1; its key lies beside it."""
    path = folder / "broker.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path
