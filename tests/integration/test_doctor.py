"""`tasuki doctor` names what is wrong, and nothing else."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.broker import Broker
from support.federation import free_port
from support.simulation import TRAINERS
from support.wiretap import channel
from tasuki import errors
from tasuki.broker.topology import topology
from tasuki.core.model import CONTROLLER
from tasuki.disk.lock import locked
from tasuki.wire import names
from tasuki_cli.doctor import run_doctor
from tasuki_cli.provision.certificates import Authority, new_authority

SITE = """
name = "site-1"
folder = "data"
device = "{device}"
[broker]
url = "{url}"
password_file = "password"
{broker}
[trainers.walk]
run = "{run}"
folder = "{trainers}"
{data}
"""


@dataclass
class Patient:
    """A site's settings, and what the doctor says of them."""

    folder: Path
    url: str
    capsys: pytest.CaptureFixture[str]
    broker: str = ""
    run: str = "walk:train"
    trainers: Path = TRAINERS
    data: str = ""
    device: str = "cpu"

    def examine(self) -> tuple[int, dict[str, dict[str, Any]]]:  # Any: JSON
        """The exit code, and the checks by their names."""
        text = SITE.format(**vars(self))
        (self.folder / "site.toml").write_text(text)
        code = run_doctor(self.folder / "site.toml", as_json=True)
        report = json.loads(self.capsys.readouterr().out.splitlines()[-1])
        assert report["ok"] == (code == 0)
        return code, {check["name"]: check for check in report["checks"]}

    def fails(self, name: str, error: type[errors.TasukiError], says: str) -> None:
        """Exactly this check fails, for this reason, with a word on what to do."""
        code, checks = self.examine()
        failed = [each["name"] for each in checks.values() if each["status"] == "fail"]
        assert [name] == failed, checks
        assert (error.__name__, error.exit_code) == (checks[name]["error"], code)
        assert says in checks[name]["found"]
        assert checks[name]["advice"]


@pytest.fixture
def patient(
    tmp_path: Path, broker: Broker, capsys: pytest.CaptureFixture[str]
) -> Iterator[Patient]:
    """A site in good health."""
    vhost = broker.vhost()
    broker.provision(vhost, topology(["site-1", "site-2"]))
    (tmp_path / "password").write_text(broker.password("site-1"))
    (tmp_path / "password").chmod(0o600)
    url = f"amqp://site-1@{broker.host}:{broker.port}/{quote(vhost, safe='')}"
    yield Patient(tmp_path, url, capsys)
    broker.drop_vhost(vhost)


def test_a_site_in_good_health_is_told_so(patient: Patient) -> None:
    code, checks = patient.examine()
    assert 0 == code, checks
    assert [
        "name resolution", "TCP", "secrets", "login", "queues", "no second copy", "permissions",
        "message size", "ack timeout", "security", "disk", "write access", "own folder", "clock",
        "device", "trainer walk",
    ] == list(checks)  # fmt: skip
    for name in ("login", "queues", "permissions", "message size", "trainer walk"):
        assert checks[name]["status"] == "ok", checks[name]


def test_people_get_a_table_with_what_to_do(patient: Patient) -> None:
    patient.run = "gone.py"
    patient.examine()
    code = run_doctor(patient.folder / "site.toml", as_json=False)
    shown = " ".join(patient.capsys.readouterr().out.split())
    assert errors.TrainerNotFound.exit_code == code
    assert "not ready; start with trainer walk" in shown
    assert "[trainers.walk] run" in shown


def test_all_well_is_a_line_each(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: fifty wrapped lines."""
    monkeypatch.setenv("COLUMNS", "80")
    _, checks = patient.examine()
    run_doctor(patient.folder / "site.toml", as_json=False)
    shown = patient.capsys.readouterr().out
    warned = sum(check["status"] == "warn" for check in checks.values())
    well = [line for line in shown.splitlines() if line.split()[0] in {"ok", "skipped"}]
    assert len(checks) - warned == len(well), shown
    assert [] == [line for line in well if len(line) > 80 or "\u2026" in line]
    run_doctor(patient.folder / "site.toml", as_json=False, is_verbose=True)
    assert str(patient.trainers) in "".join(patient.capsys.readouterr().out.split())


def test_no_message_is_left_behind(patient: Patient, broker: Broker) -> None:
    patient.examine()
    vhost = patient.url.rpartition("/")[2]
    assert {0} == {queue.get("messages", 0) for queue in broker.list_queues(vhost).values()}


def test_a_host_without_an_address(patient: Patient) -> None:
    patient.url = "amqp://site-1@nowhere.invalid:5672/x"
    patient.fails("name resolution", errors.BrokerUnreachable, "nowhere.invalid")


def test_what_needs_a_failed_check_is_not_looked_at(patient: Patient) -> None:
    patient.url = f"amqp://site-1@127.0.0.1:{free_port()}/x"
    patient.fails("TCP", errors.BrokerUnreachable, "nobody answers")
    _, checks = patient.examine()
    assert "skipped" == checks["login"]["status"] == checks["message size"]["status"]
    assert "TCP has to work first" in checks["login"]["found"]
    assert "ok" == checks["write access"]["status"]


def test_a_wrong_password(patient: Patient) -> None:
    (patient.folder / "password").write_text("hunter2")
    patient.fails("login", errors.NotPermitted, "refuses user 'site-1'")
    assert "hunter2" not in patient.capsys.readouterr().out


def test_a_password_file_that_is_not_there(patient: Patient) -> None:
    (patient.folder / "password").unlink()
    patient.fails("secrets", errors.SettingsError, "password_file")


def test_a_missing_file_is_told_where_nobody_answers_too(patient: Patient) -> None:
    patient.url = f"amqp://site-1@127.0.0.1:{free_port()}/x"
    (patient.folder / "password").unlink()
    code, checks = patient.examine()
    assert errors.BrokerUnreachable.exit_code == code
    assert ["TCP", "secrets"] == [
        each["name"] for each in checks.values() if each["status"] == "fail"
    ]


def test_a_password_that_everybody_may_read(patient: Patient) -> None:
    (patient.folder / "password").chmod(0o644)
    code, checks = patient.examine()
    assert (0, "warn") == (code, checks["secrets"]["status"])
    assert "by the service's user alone" in checks["secrets"]["advice"]


def test_a_vhost_that_is_not_there(patient: Patient) -> None:
    patient.url = patient.url.rpartition("/")[0] + "/elsewhere"
    patient.fails("login", errors.NotPermitted, "vhost")


def test_a_queue_that_was_not_provisioned(patient: Patient, broker: Broker) -> None:
    vhost = patient.url.rpartition("/")[2]
    broker.management.ask("DELETE", "queues", vhost, "tasuki.control.site-1")
    patient.fails("queues", errors.Unroutable, "tasuki.control.site-1")


def test_a_second_copy_of_the_site(patient: Patient, broker: Broker) -> None:
    vhost = patient.url.rpartition("/")[2]
    with channel(broker, vhost) as reading:
        next(reading.consume(names.turns_queue("site-1"), inactivity_timeout=0.01))
        code, checks = patient.examine()
        with locked(patient.folder / "data"):  # as by the service that has every right to read it
            _, at_work = patient.examine()
    assert (0, "warn") == (code, checks["no second copy"]["status"])
    assert "end the other service of the name site-1" in checks["no second copy"]["advice"]
    assert "ok" == at_work["no second copy"]["status"]


@pytest.mark.parametrize(
    ("write", "read", "missing"),
    [
        ("^tasuki.weights$", ".*", "tasuki.turns"),
        ("^tasuki.(turns|weights)$", ".*", "tasuki.reports"),
        (".*", "^tasuki.(weights|control).site-1$", "tasuki.turns.site-1"),
        (".*", "^tasuki.(turns|weights).site-1$", "tasuki.control.site-1"),
    ],
)
def test_a_permission_that_was_taken_away(
    patient: Patient, broker: Broker, write: str, read: str, missing: str
) -> None:
    vhost = patient.url.rpartition("/")[2]
    broker.management.permit("site-1", vhost, configure="^$", write=write, read=read)
    patient.fails("permissions", errors.NotPermitted, f"'{missing}'")


def test_a_turn_that_waits_is_not_touched(patient: Patient, broker: Broker) -> None:
    vhost = patient.url.rpartition("/")[2]
    broker.management.ask(
        "POST",
        "exchanges",
        vhost,
        names.TURNS,
        "publish",
        body={
            "properties": {"delivery_mode": 2},
            "routing_key": "site-1",
            "payload": "a turn",
            "payload_encoding": "string",
        },
    )
    code, _ = patient.examine()
    with channel(broker, vhost) as reading:
        method, _, body = next(reading.consume(names.turns_queue("site-1"), inactivity_timeout=20))
        reading.cancel()
    assert (0, b"a turn", False) == (code, body, method and method.redelivered)


def test_each_node_of_several_has_its_line(patient: Patient, broker: Broker) -> None:
    here, gone = f"127.0.0.1:{broker.port}", f"127.0.0.1:{free_port()}"
    patient.broker = f'hosts = ["{gone}", "nowhere.invalid:1", "{here}"]'

    code, checks = patient.examine()

    assert 0 == code, checks
    names_of_nodes = [name for name in checks if name.startswith("node ")]
    assert [f"node {gone}", "node nowhere.invalid:1", f"node {here}"] == names_of_nodes
    assert ["warn", "warn", "ok"] == [checks[name]["status"] for name in names_of_nodes]
    assert "TCP: nobody answers" in checks[f"node {gone}"]["found"]
    assert gone in checks[f"node {gone}"]["advice"]
    assert "name resolution: nowhere.invalid" in checks["node nowhere.invalid:1"]["found"]
    assert "the broker lets site-1 in" in checks[f"node {here}"]["found"]
    for name in ("queues", "permissions", "message size"):
        assert "ok" == checks[name]["status"], checks[name]
    assert "login" not in checks


def test_no_node_that_lets_us_in_is_a_failure(patient: Patient, broker: Broker) -> None:
    gone = f"127.0.0.1:{free_port()}"
    patient.broker = f'hosts = ["127.0.0.1:{broker.port}", "{gone}"]'
    (patient.folder / "password").write_text("hunter2")

    code, checks = patient.examine()

    assert errors.NotPermitted.exit_code == code
    assert ["fail", "fail"] == [
        check["status"] for name, check in checks.items() if name.startswith("node ")
    ]
    assert f"node 127.0.0.1:{broker.port} has to work first" in checks["queues"]["found"]


def test_nodes_are_reached_and_not_asked_without_the_secrets(
    patient: Patient, broker: Broker
) -> None:
    patient.broker = f'hosts = ["127.0.0.1:{broker.port}", "localhost:{broker.port}"]'
    (patient.folder / "password").unlink()

    patient.fails("secrets", errors.SettingsError, "password_file")
    _, checks = patient.examine()

    node = checks[f"node 127.0.0.1:{broker.port}"]
    assert "skipped" == node["status"]
    assert "secrets has to work first" in node["found"]


def test_a_device_that_is_not_there(patient: Patient) -> None:
    patient.device = "cuda:99"
    patient.fails("device", errors.SettingsError, "'cuda:99' is not here")


@pytest.mark.parametrize(("held", "status"), [("scan", "ok"), (None, "warn")])
def test_data_that_is_there_or_still_to_come(
    patient: Patient, held: str | None, status: str
) -> None:
    (patient.folder / "scans").mkdir()
    if held is not None:
        (patient.folder / "scans" / held).touch()
    patient.data = '[data]\npath = "scans"'
    code, checks = patient.examine()
    assert (0, status) == (code, checks["[data] path"]["status"])


def test_data_that_is_not_there(patient: Patient) -> None:
    patient.data = '[data]\npath = "scans"'
    patient.fails("[data] path", errors.SettingsError, "there is no")


def test_a_controller_in_good_health(patient: Patient, broker: Broker) -> None:
    (patient.folder / "password").write_text(broker.password(CONTROLLER))
    url = patient.url.replace("//site-1@", f"//{CONTROLLER}@")
    config = patient.folder / "controller.toml"
    config.write_text(f'folder = "data"\n[broker]\nurl = "{url}"\npassword_file = "password"\n')
    codes = [run_doctor(config, as_json=True, role=role) for role in (None, "controller")]
    *_, last = patient.capsys.readouterr().out.splitlines()
    assert [0, 0] == codes, last
    assert "device" not in {check["name"] for check in json.loads(last)["checks"]}


def test_settings_of_another_role(patient: Patient) -> None:
    patient.examine()
    with pytest.raises(errors.SettingsError, match="trainers"):
        run_doctor(patient.folder / "site.toml", as_json=True, role="controller")


def test_a_folder_that_cannot_be_written(patient: Patient) -> None:
    (patient.folder / "data").write_text("a file where the folder should be")
    code, checks = patient.examine()
    assert errors.StorageError.exit_code == code
    assert "fail" == checks["write access"]["status"]


def test_a_disk_too_small_for_the_weights_that_are_there(patient: Patient) -> None:
    (patient.folder / "data").mkdir()
    with (patient.folder / "data/big.safetensors").open("wb") as file:
        file.truncate(2**42)  # no byte of it is written
    code, checks = patient.examine()
    assert (0, "warn") == (code, checks["disk"]["status"])
    assert "4096.0 GiB" in checks["disk"]["found"]
    assert "free space" in checks["disk"]["advice"]


def test_a_trainer_that_lacks_a_module(patient: Patient, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import no_such_module\n")
    patient.trainers = tmp_path
    for run in ("mine:train", "mine.py"):
        patient.run = run
        patient.fails("trainer walk", errors.TrainerNotFound, "no_such_module")


def test_a_function_that_evaluates_and_is_not_there_is_named(
    patient: Patient, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("def train(turn): ...")
    patient.trainers, patient.run = tmp_path, 'mine:train"\nevaluate = "mine:judge'
    patient.fails("trainer walk", errors.TrainerNotFound, "'mine' has no function 'judge'")


def test_a_script_is_not_run(patient: Patient, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import json\nopen('ran', 'w').write('')\n")
    patient.trainers, patient.run = tmp_path, "mine.py"
    code, _ = patient.examine()
    assert (0, False) == (code, (tmp_path / "ran").exists())


@contextmanager
def speaking_tls(folder: Path, *, host: str, now: datetime) -> Iterator[int]:
    """A port that proves to be this host with a certificate of this time."""
    authority = new_authority("test", days=3650)
    (folder / "ca.pem").write_bytes(authority.certificate)
    (folder / "ca.key").write_bytes(authority.key)
    signer = Authority.load(folder / "ca.pem", folder / "ca.key", days=90)
    pair = signer.for_server([host], now=now)
    (folder / "server.pem").write_bytes(pair.certificate)
    (folder / "server.key").write_bytes(pair.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = threading.Thread(target=_accept, args=(listening, context))
        accepting.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join(10)


def _accept(listening: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            plain, _ = listening.accept()
        except OSError:
            return  # the test is over
        try:
            context.wrap_socket(plain, server_side=True).close()
        except OSError:
            plain.close()


@pytest.mark.parametrize(
    ("host", "age_days", "says"),
    [
        ("127.0.0.1", 100, "has expired"),
        ("127.0.0.1", -100, "not valid yet"),
        ("127.0.0.2", 0, "for another"),
    ],
)
def test_a_broker_that_proves_the_wrong_thing(
    patient: Patient, tmp_path: Path, host: str, age_days: int, says: str
) -> None:
    now = datetime.now(UTC) - timedelta(days=age_days)
    with speaking_tls(tmp_path, host=host, now=now) as port:
        patient.url, patient.broker = f"amqps://site-1@127.0.0.1:{port}/x", 'ca = "ca.pem"'
        patient.fails("TLS", errors.BrokerUnreachable, says)


def test_an_authority_that_we_do_not_trust(patient: Patient, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(new_authority("other", days=1).certificate)
    with speaking_tls(tmp_path, host="127.0.0.1", now=datetime.now(UTC)) as port:
        patient.url, patient.broker = f"amqps://site-1@127.0.0.1:{port}/x", 'ca = "other.pem"'
        patient.fails("TLS", errors.BrokerUnreachable, "authority")
