"""Kits against a broker made of their own files: TLS verified both ways, and who is refused.

Each refusal is told twice: the site says what to do about it, the broker's log says why.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.broker import Broker
from support.transports import Inbox, numbered, opened, run
from support.waiting import until, wait_until
from tasuki.core.model import CONTROLLER
from tasuki.errors import BrokerUnreachable, NotPermitted, TransportError
from tasuki.ports import Settlement
from tasuki.settings.broker import BrokerTable
from tasuki.settings.controller import read_controller
from tasuki.settings.site import read_site
from tasuki.transport.amqp import AmqpTransport
from tasuki.transport.broker import BrokerConnection
from tasuki.wire import names
from tasuki_cli.doctor import run_doctor
from tasuki_cli.provision import Admin, Changes, passwords
from tasuki_cli.provision.certificates import Authority
from tasuki_cli.provision.command import provision
from tasuki_cli.provision.report import Report

SITES = ["site-1", "site-2", "site-3"]
INSTALLED = "/etc/rabbitmq"
PROOF = 'cert = "client.pem"\nkey = "client.key"\n'
"""In the settings: what a site proves itself to the broker with."""


class Clinics:
    """A federation's kits, and the broker that runs on the one for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "kits"
        self.port, self._management = _free_ports(2)
        self.provision()
        self.broker = Broker(
            config=self._configuration(),
            advanced=_here((self.out / "broker/advanced.config").read_text(), self.out),
        )
        (folder / "admin").write_text(self.broker.password())
        self._add_administrator()

    def provision(
        self, *, out: Path | None = None, changes: Changes | None = None, apply: bool = False
    ) -> Report:
        path = self.folder / "federation.toml"
        path.write_text(
            f'name = "clinics"\nsites = {json.dumps(SITES)}\n[broker]\nhost = "localhost"\n'
            f'port = {self.port}\nscheme = "amqps"\n'
            f'management = "https://localhost:{self._management}"\n'
        )
        admin = Admin(user="admin", password_file=self.folder / "admin") if apply else None
        return provision(path, out=out or self.out, admin=admin, changes=changes)

    def kit(self, site: str, *, name: str) -> Path:
        """A copy of a site's kit that a test may spoil."""
        return shutil.copytree(self.out / site, self.folder / f"{site}-{name}")

    def connect(self, user: str) -> AmqpTransport:
        if user == CONTROLLER:
            table = read_controller(self.out / user / "controller.toml", {}).broker
        else:
            table = read_site(self.out / user / "site.toml", {}).broker
        return BrokerConnection(table).transport

    def certify(self, kit: Path, *, now: datetime) -> None:
        """Give a kit a certificate that was made at another time."""
        folder = self.out / "ca"
        authority = Authority.load(folder / "ca.pem", folder / "ca.key", days=100)
        pair = authority.for_client("site-1", now=now)
        (kit / "client.pem").write_bytes(pair.certificate)
        (kit / "client.key").write_bytes(pair.key)

    def _configuration(self) -> dict[str, str]:
        lines = _here((self.out / "broker/rabbitmq.conf").read_text(), self.out).splitlines()
        settings = dict(line.split(" = ") for line in lines if line and not line.startswith("#"))
        # The test broker is asked over plain text whether it is up, and has ports of its own.
        assert "none" == settings.pop("listeners.tcp")
        assert f"{self.port}" == settings.pop("listeners.ssl.default")
        assert "15671" == settings.pop("management.ssl.port")
        del settings["prometheus.tcp.port"]
        settings["listeners.ssl.1"] = f"127.0.0.1:{self.port}"
        settings["management.ssl.port"] = f"{self._management}"
        settings["management.ssl.ip"] = "127.0.0.1"
        return {**settings, "load_definitions": str(self.folder / "definitions.json")}

    def _add_administrator(self) -> None:
        document = json.loads((self.out / "broker/definitions.json").read_text())
        document["users"].append(
            {
                "name": "admin",
                "password_hash": passwords.password_hash(self.broker.password()),
                "hashing_algorithm": passwords.HASHING,
                "tags": ["administrator"],
            }
        )
        (self.folder / "definitions.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def clinics(rabbitmq_is_here: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinics]:
    clinics = Clinics(tmp_path_factory.mktemp("clinics"))
    with clinics.broker as broker:
        broker.start()
        yield clinics


def test_a_turn_goes_through_with_everyone_verified(clinics: Clinics) -> None:
    async def scenario() -> None:
        async with (
            opened(clinics.connect("site-1")) as site,
            opened(clinics.connect(CONTROLLER)) as controller,
        ):
            inbox = Inbox(site, Settlement.DONE)
            await site.consume(names.turns_queue("site-1"), inbox)
            await controller.publish(names.to_turns("site-1"), numbered(1))
            assert [b"0"] == await inbox.bodies(1)

    run(scenario())


def test_a_wrong_ca_is_refused_by_the_site(clinics: Clinics, tmp_path: Path) -> None:
    kit = clinics.kit("site-1", name="wrong-ca")
    clinics.provision(out=tmp_path / "other")
    shutil.copy(tmp_path / "other/ca/ca.pem", kit / "ca.pem")

    said = refusal(kit, BrokerUnreachable)

    assert "certificate verify failed" in said
    assert "[broker] ca" in said
    # Under TLS 1.3 Erlang has no better words for an alert (21) that comes before the keys.
    logged(clinics.broker, r"CLIENT ALERT: Fatal - Unknown CA|record_type_mismatch,21")


def test_a_certificate_of_another_authority_is_refused(clinics: Clinics, tmp_path: Path) -> None:
    kit = clinics.kit("site-1", name="foreign")
    clinics.provision(out=tmp_path / "other")
    for name in ("client.pem", "client.key"):
        shutil.copy(tmp_path / "other/site-1" / name, kit / name)

    assert "authority that it does not know" in refusal(kit, NotPermitted)
    logged(clinics.broker, r"SERVER ALERT: Fatal - Unknown CA")


def test_an_expired_certificate_is_refused(clinics: Clinics) -> None:
    kit = clinics.kit("site-1", name="expired")
    clinics.certify(kit, now=datetime.now(UTC) - timedelta(days=101))

    assert "our certificate has expired" in refusal(kit, NotPermitted)
    logged(clinics.broker, r"SERVER ALERT: Fatal - Certificate Expired")


def test_a_missing_certificate_is_refused(clinics: Clinics) -> None:
    kit = clinics.kit("site-1", name="bare")
    text = (kit / "site.toml").read_text()
    (kit / "site.toml").write_text(text.replace(PROOF, ""))

    assert "set [broker] cert and key" in refusal(kit, NotPermitted)
    logged(clinics.broker, r"SERVER ALERT: Fatal - (Certificate required|Handshake Failure)")


def test_a_wrong_password_is_refused(clinics: Clinics) -> None:
    kit = clinics.kit("site-1", name="guess")
    (kit / "password").write_text("guess\n")

    assert "the broker refuses user 'site-1'" in refusal(kit, NotPermitted)
    logged(clinics.broker, r"PLAIN login refused: user 'site-1' - invalid credentials")


def test_plain_text_is_not_answered(clinics: Clinics) -> None:
    kit = clinics.kit("site-1", name="plain")
    text = (kit / "site.toml").read_text().replace("amqps:", "amqp:")
    (kit / "site.toml").write_text(text.replace(PROOF, ""))

    refusal(kit, BrokerUnreachable)


def test_tls_1_1_is_not_answered(clinics: Clinics) -> None:
    context = ssl.create_default_context(cafile=str(clinics.out / "site-1/ca.pem"))
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")

    with (
        socket.create_connection(("127.0.0.1", clinics.port)) as plain,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


def test_the_site_service_says_why_and_ends_with_its_code(clinics: Clinics) -> None:
    kit = clinics.kit("site-1", name="service")
    clinics.certify(kit, now=datetime.now(UTC) - timedelta(days=101))
    with (kit / "site.toml").open("a") as settings:
        settings.write('\n[trainers.any]\nrun = "train.py"\nfolder = "trainers"\n')
    (kit / "trainers/train.py").write_text("")
    command = [sys.executable, "-m", "tasuki_cli.main", "site", "--config", str(kit / "site.toml")]

    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=90)

    assert NotPermitted.exit_code == done.returncode, done.stderr
    assert "our certificate has expired" in done.stderr


def test_a_revoked_site_is_disconnected_and_stays_out(clinics: Clinics) -> None:
    kit = clinics.kit("site-2", name="revoked")

    async def scenario() -> None:
        connection = BrokerConnection(read_site(kit / "site.toml", {}).broker)
        await connection.transport.open()
        clinics.provision(changes=Changes(revoke="site-2"), apply=True)
        await until(lambda: not connection.is_up, what="the broker let go of site-2")
        await connection.transport.close()

    run(scenario())

    assert "our certificate was revoked" in refusal(kit, NotPermitted)
    logged(clinics.broker, r"SERVER ALERT: Fatal - Certificate Revoked")
    # Were its certificate not listed, nor the list there, its user would not be either.
    clinics.certify(kit, now=datetime.now(UTC))
    assert "the broker refuses user 'site-2'" in refusal(kit, NotPermitted)
    logged(clinics.broker, r"PLAIN login refused: user 'site-2' - invalid credentials")


def test_a_reissued_site_comes_in_with_its_new_kit_alone(clinics: Clinics) -> None:
    old = clinics.kit("site-3", name="old")

    report = clinics.provision(changes=Changes(reissue="site-3", overlap_days=0), apply=True)

    assert report.applied
    assert "our certificate was revoked" in refusal(old, NotPermitted)

    async def scenario() -> None:
        async with opened(clinics.connect("site-3")) as site:
            await site.consume(names.turns_queue("site-3"), Inbox(site))

    run(scenario())


def test_reissue_disconnects_whoever_has_the_old_password(clinics: Clinics) -> None:
    async def scenario() -> None:
        connection = BrokerConnection(read_site(clinics.out / "site-3/site.toml", {}).broker)
        await connection.transport.open()
        await until(seen(clinics.broker, "site-3"), what="the broker's pages show site-3")
        clinics.provision(changes=Changes(reissue="site-3", overlap_days=0), apply=True)
        await until(lambda: not connection.is_up, what="the broker let go of site-3")
        await connection.transport.close()

    run(scenario())


def test_a_reissued_site_stays_connected_and_comes_in_with_its_old_certificate(
    clinics: Clinics,
) -> None:
    """All but the password overlaps, and open connections are left alone."""
    old = clinics.kit("site-3", name="before-its-renewal")

    async def scenario() -> None:
        connection = BrokerConnection(read_site(old / "site.toml", {}).broker)
        await connection.transport.open()
        report = clinics.provision(changes=Changes(reissue="site-3"), apply=True)
        assert any("do it soon" in note for note in report.notes)
        assert connection.is_up
        await connection.transport.close()

    run(scenario())

    assert "the broker refuses user 'site-3'" in refusal(old, NotPermitted)
    shutil.copy(clinics.out / "site-3/password", old / "password.next")

    async def again() -> None:
        async with opened(BrokerConnection(read_site(old / "site.toml", {}).broker).transport):
            pass

    run(again())


def test_the_doctor_finds_a_kit_in_order(
    clinics: Clinics, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = doctor(clinics.kit("site-1", name="examined"), capsys)
    assert {"ok"} == {checks[name]["status"] for name in ("TLS", "certificate", "login")}
    assert set() == {name for name in checks if checks[name]["status"] == "fail"}


def test_the_doctor_finds_the_controllers_kit_in_order(
    clinics: Clinics, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kit = shutil.copytree(clinics.out / CONTROLLER, tmp_path / CONTROLLER)
    code = run_doctor(kit / "controller.toml", as_json=True)
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize(("age_days", "says"), [(101, "has expired"), (-1, "is not valid before")])
def test_the_doctor_reads_a_kits_certificate(
    clinics: Clinics, capsys: pytest.CaptureFixture[str], age_days: int, says: str
) -> None:
    kit = clinics.kit("site-1", name=f"aged-{age_days}")
    clinics.certify(kit, now=datetime.now(UTC) - timedelta(days=age_days))

    checks = doctor(kit, capsys)

    assert ("skipped", "fail") == (checks["TLS"]["status"], checks["certificate"]["status"])
    assert ("skipped", NotPermitted.exit_code) == (
        checks["login"]["status"],
        checks["certificate"]["exit_code"],
    )
    assert says in str(checks["certificate"]["found"])


def test_the_doctor_is_told_whose_certificate_is_refused(
    clinics: Clinics, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kit = clinics.kit("site-1", name="foreign-to-the-doctor")
    clinics.provision(out=tmp_path / "other")
    for name in ("client.pem", "client.key"):
        shutil.copy(tmp_path / "other/site-1" / name, kit / name)

    checks = doctor(kit, capsys)

    assert ("ok", "fail") == (checks["certificate"]["status"], checks["login"]["status"])
    assert "authority that it does not know" in str(checks["login"]["found"])


def doctor(kit: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    """What `tasuki doctor` finds, by the names of its checks."""
    run_doctor(kit / "site.toml", as_json=True)
    checks = json.loads(capsys.readouterr().out.splitlines()[-1])["checks"]
    return {check["name"]: check for check in checks}


def seen(broker: Broker, user: str) -> Callable[[], bool]:
    def is_seen() -> bool:
        connections = broker.management.ask("GET", "connections")
        assert isinstance(connections, list)
        return [one.get("user") for one in connections].count(user) == 2

    return is_seen


def refusal(kit: Path, kind: type[TransportError]) -> str:
    """What the site of this kit says when it does not get in."""
    table = read_site(kit / "site.toml", {}).broker
    with pytest.raises(kind) as caught:
        run(_open(table.model_copy(update={"patience_s": 4.0})))
    return str(caught.value)


async def _open(table: BrokerTable) -> None:
    async with opened(BrokerConnection(table).transport):
        pass


def logged(broker: Broker, pattern: str) -> None:
    """Whether the broker's operator can see why."""
    wait_until(lambda: re.search(pattern, broker.logs()), what=f"the broker logs {pattern}")


def _here(text: str, out: Path) -> str:
    return text.replace(INSTALLED, str(out / "broker"))


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
