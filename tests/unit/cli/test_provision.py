"""Provisioning adds and never changes: passwords, settings and the broker's definitions."""

from __future__ import annotations

import base64
import hashlib
import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tasuki.broker.nodes import Node
from tasuki.broker.topology import PRIORITY, Sizes, definitions, topology
from tasuki.core.model import CONTROLLER
from tasuki.errors import SettingsError
from tasuki.settings.controller import read_controller
from tasuki.settings.site import read_site
from tasuki.transport.amqp import AmqpSettings
from tasuki.wire import names
from tasuki_cli.main import app
from tasuki_cli.provision import passwords
from tasuki_cli.provision.apply import shadowed
from tasuki_cli.provision.command import provision
from tasuki_cli.provision.definitions import MOST_CHANNELS, MOST_CONNECTIONS
from tasuki_cli.provision.report import Report

SITES = ["site-1", "site-2", "site-3"]
SECRETS = {"password", "token"}


def write_federation(folder: Path, *, sites: Sequence[str] = SITES, more: str = "") -> Path:
    path = folder / "federation.toml"
    path.write_text(f'name = "clinics"\nsites = {json.dumps(list(sites))}\n{more}')
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "kits"


def provisioned(out: Path, *, sites: Sequence[str] = SITES, more: str = "") -> Report:
    return provision(write_federation(out.parent, sites=sites, more=more), out=out)


def contents(out: Path) -> dict[str, tuple[bytes, int]]:
    """Every file: its bytes and when it was last written."""
    return {
        str(path.relative_to(out)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in out.rglob("*")
        if path.is_file()
    }


def secret_texts(out: Path) -> list[str]:
    return [path.read_text().strip() for path in out.rglob("*") if path.name in SECRETS]


def broker_definitions(out: Path) -> dict[str, Any]:  # Any: JSON
    found: dict[str, Any] = json.loads((out / "broker/definitions.json").read_text())
    return found


def test_every_site_the_controller_the_operators_and_the_broker_get_their_files(out: Path) -> None:
    report = provisioned(out)

    service = {"password", ".env", "compose.yaml", "README.md"}
    service |= {"client.key", "seal.key", "authority.pem", "roster.pem"}
    site_kit = service | {"site.toml", "tasuki-site.service"}
    controller = service | {"controller.toml", "token", "tasuki-controller.service"}
    expected = {f"{site}/{name}" for site in SITES for name in site_kit}
    expected |= {f"controller/{name}" for name in controller}
    expected |= {f"operator/{name}" for name in ("password", "token", "README.md")}
    for_broker = ("enabled_plugins", ".env", "compose.yaml", "README.md")
    expected |= {f"broker/{name}" for name in for_broker}
    expected |= {"ca/ca.key", "ca/ca.pem", "ca/roster.pem", "ca/rosters/roster-0001.pem"}
    broker = {"broker/definitions.json", "broker/rabbitmq.conf"}
    assert expected | broker | {".gitignore"} == set(contents(out))
    assert expected == set(report.created)
    assert broker == set(report.changed)


def test_a_second_time_changes_nothing(out: Path) -> None:
    provisioned(out)
    before = contents(out)

    report = provisioned(out)

    assert before == contents(out)
    assert ([], [], []) == (report.created, report.changed, report.notes)


def test_one_more_site_changes_no_byte_of_the_others(out: Path) -> None:
    provisioned(out)
    before = contents(out)
    users = {user["name"]: user for user in broker_definitions(out)["users"]}

    report = provisioned(out, sites=[*SITES, "site-4"])

    after = contents(out)
    del before["broker/definitions.json"]
    rosters = {name for name in before if name.endswith("/roster.pem")}
    assert rosters == {name for name in before if before[name] != after[name]}
    assert {"site-4", "ca"} == {name.split("/")[0] for name in report.created}
    assert {"broker/definitions.json", *rosters} == {*report.changed}
    now = {user["name"]: user for user in broker_definitions(out)["users"]}
    assert users == {name: now[name] for name in users}
    assert {"site-4"} == now.keys() - users.keys()


def test_a_site_that_is_no_longer_listed_is_reported_and_kept(out: Path) -> None:
    provisioned(out)
    before = contents(out)

    report = provisioned(out, sites=SITES[:2])

    assert ["site-3"] == report.removed
    assert before["site-3/password"] == contents(out)["site-3/password"]
    assert "site-3" not in (out / "broker/definitions.json").read_text()


def test_a_site_that_comes_back_has_its_old_password(out: Path) -> None:
    provisioned(out)
    password = (out / "site-3/password").read_bytes()
    provisioned(out, sites=SITES[:2])

    report = provisioned(out)

    assert [] == report.removed
    assert password == (out / "site-3/password").read_bytes()


def test_settings_that_their_owner_has_edited_are_left_alone(out: Path) -> None:
    provisioned(out)
    path = out / "site-1/site.toml"
    edited = path.read_text() + '\n[trainers.cifar10]\nrun = "train.py"\n'
    path.write_text(edited)

    report = provisioned(out)

    assert edited == path.read_text()
    assert [] == report.notes


def test_a_broker_that_moved_is_noted_and_the_settings_kept(out: Path) -> None:
    provisioned(out)
    before = contents(out)

    report = provisioned(out, more='[broker]\nhost = "elsewhere.example"\n')

    assert before == contents(out)
    assert 4 == len(report.notes)
    assert "elsewhere.example" in report.notes[0]


def test_a_file_that_went_missing_is_made_again_alone(out: Path) -> None:
    provisioned(out)
    before = contents(out)
    (out / "site-2/site.toml").unlink()

    report = provisioned(out)

    assert ["site-2/site.toml"] == report.created
    assert before["site-2/site.toml"][0] == (out / "site-2/site.toml").read_bytes()


def test_an_empty_password_is_an_error_and_not_replaced(out: Path) -> None:
    provisioned(out)
    (out / "site-2/password").write_text("")

    with pytest.raises(SettingsError, match=r"site-2.*is empty"):
        provisioned(out)


def test_definitions_that_are_not_ours_are_an_error(out: Path) -> None:
    provisioned(out)
    (out / "broker/definitions.json").write_text("[]")

    with pytest.raises(SettingsError, match="move it away"):
        provisioned(out)


def test_the_settings_can_be_read_by_the_services(out: Path) -> None:
    provisioned(out, more='[broker]\nhost = "mq.example"\nport = 5673\n')

    for site in SITES:
        settings = read_site(out / site / "site.toml", {})
        table = settings.broker
        amqp = AmqpSettings.from_url(table.url, password=table.password())
        assert (site, site) == (settings.name, amqp.user)
        assert (Node("mq.example", 5673), "clinics") == (amqp.nodes[0], amqp.vhost)
        assert (out / site / "password").read_text().strip() == amqp.password
    controller = read_controller(out / "controller/controller.toml", {})
    assert CONTROLLER == controller.broker.user
    assert out / "controller/token" == controller.http.token_file


def test_with_tls_each_kit_has_the_certificates_and_the_broker_speaks_nothing_else(
    out: Path,
) -> None:
    (out.parent / "our-ca.pem").write_text("certificates")

    provisioned(out, more='[broker]\nscheme = "amqps"\nca = "our-ca.pem"\n')

    table = read_site(out / "site-1/site.toml", {}).broker
    assert "amqps://site-1@localhost:5671/clinics" == table.url
    assert table.ca is not None
    assert "certificates" == table.ca.read_text()
    conf = (out / "broker/rabbitmq.conf").read_text()
    assert "listeners.tcp = none" in conf
    assert "listeners.ssl.default = 5671" in conf


def test_a_public_authority_needs_no_certificates_of_ours(out: Path) -> None:
    report = provisioned(out, more='[broker]\nscheme = "amqps"\n[certificates]\nmake = false\n')

    assert set() == {"site-1/ca.pem", "site-1/client.pem", "broker/ca.pem"} & {*report.created}
    table = read_site(out / "site-1/site.toml", {}).broker
    assert (None, None) == (table.ca, table.cert)
    assert table.tls() is not None
    assert "listeners.tcp = none" in (out / "broker/rabbitmq.conf").read_text()


def test_secrets_are_private_and_different_from_each_other(out: Path) -> None:
    provisioned(out)

    for path in out.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.name in SECRETS:
            assert 0o600 == mode
        elif path.is_dir() and path.name != "broker":
            assert 0o700 == mode, path
    found = secret_texts(out)
    assert len(set(found)) == len(found) - 1  # the operators' token is in two places
    assert min(map(len, found)) >= 40
    assert (out / "controller/token").read_bytes() == (out / "operator/token").read_bytes()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_secret_is_printed_or_in_the_broker_s_files(out: Path, options: list[str]) -> None:
    path = write_federation(out.parent)

    done = CliRunner().invoke(app, ["provision", str(path), "--out", str(out), *options])

    assert 0 == done.exit_code, done.output
    assert "site-1/password" in done.output
    public = done.output + "".join(
        file.read_text() for file in out.rglob("*") if file.is_file() and file.name not in SECRETS
    )
    assert [secret for secret in secret_texts(out) if secret in public] == []


def test_json_is_one_object(out: Path) -> None:
    path = write_federation(out.parent)

    done = CliRunner().invoke(app, ["provision", str(path), "--out", str(out), "--json"])

    report = json.loads(done.stdout)
    assert ("clinics", SITES, False) == (report["federation"], report["sites"], report["applied"])


def test_hashes_are_rabbitmq_s_salted_sha_256() -> None:
    # The example of RabbitMQ's documentation: "test12" with the salt 0x908DC60A.
    documented = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"

    assert documented == passwords.password_hash("test12", salt=bytes.fromhex("908DC60A"))
    assert passwords.is_hash_of(documented, "test12")
    assert not passwords.is_hash_of(documented, "test13")
    assert not passwords.is_hash_of("no base64!", "test12")


def test_the_definitions_hold_the_hash_of_each_password(out: Path) -> None:
    provisioned(out)

    users = {user["name"]: user for user in broker_definitions(out)["users"]}
    assert {*SITES, "controller", "operator"} == set(users)
    for name, user in users.items():
        password = (out / name / "password").read_text().strip()
        raw = base64.b64decode(user["password_hash"])
        assert raw[4:] == hashlib.sha256(raw[:4] + password.encode()).digest()
        assert "rabbit_password_hashing_sha256" == user["hashing_algorithm"]
    assert len({user["password_hash"] for user in users.values()}) == len(users)
    assert ["management"] == users["operator"]["tags"]
    assert not any(user["tags"] for name, user in users.items() if name != "operator")


def test_a_replaced_password_gets_a_new_hash(out: Path) -> None:
    provisioned(out)
    (out / "site-1/password").write_text("rotated\n")

    report = provisioned(out)

    assert ["broker/definitions.json"] == report.changed
    first = broker_definitions(out)["users"][2]
    assert "site-1" == first["name"]
    assert passwords.is_hash_of(first["password_hash"], "rotated")


def test_the_definitions_are_the_topology_and_its_sizes(out: Path) -> None:
    provisioned(out, more="[streams]\nmax_bytes = 30_000_000\nsegment_bytes = 10_000_000\n")

    found = broker_definitions(out)
    sizes = Sizes(stream_bytes=30_000_000, segment_bytes=10_000_000)
    expected = definitions(topology(SITES, sizes=sizes), vhost="clinics")
    operator = found["permissions"].pop()
    assert expected == {kind: found[kind] for kind in expected}
    assert [{"name": "clinics"}] == found["vhosts"]
    assert ("operator", "^$", "^$", r"^tasuki\.dead$") == (
        operator["user"],
        operator["configure"],
        operator["write"],
        operator["read"],
    )


def test_the_controller_is_told_how_much_streams_keep(out: Path) -> None:
    provisioned(out, more="[streams]\nmax_bytes = 30_000_000\nsegment_bytes = 10_000_000\n")
    assert 30_000_000 == read_controller(out / "controller/controller.toml", {}).stream_bytes


def test_only_the_controller_may_send_control(out: Path) -> None:
    provisioned(out)

    allowed = {entry["user"]: entry for entry in broker_definitions(out)["topic_permissions"]}
    assert {*SITES, "controller", "operator"} == set(allowed)
    assert {"controller"} == {user for user, entry in allowed.items() if entry["write"] != "^$"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\nsites = []', "at least 1"),
        ('name = "x"\nsites = ["a", "a"]', "listed twice"),
        ('name = "x"\nsites = ["controller"]', "no site can be called 'controller'"),
        ('name = "x"\nsites = ["broker"]', "no site can be called 'broker'"),
        ('name = "x"\nsites = ["../a"]', "site name"),
        ('name = "x y"\nsites = ["a"]', "federation name"),
        ('name = "x"\nsites = ["a"]\n[broker]\nhost = "a/b"', "broker.host"),
        ('name = "x"\nsites = ["a"]\n[broker]\nca = "ca.pem"', "would protect nothing"),
        ('name = "x"\nsites = ["a"]\n[broker]\nmanagement = "http://u:p@h"', "leave user"),
        ('name = "x"\nsites = ["a"]\n[broker]\nmanagement = "mq:15672"', "is no http"),
        ('name = "x"\nsites = ["a"]\n[certificates]\nca_days = 9', "at least days"),
        ('name = "x"\nsites = ["ca"]', "no site can be called 'ca'"),
        ('name = "x"\nsites = ["a"]\n[streams]\nmax_bytes = 100_000_000', "at least twice"),
        ('name = "x"\nsites = ["a"]\n[stream]\nmax_bytes = 1', "did you mean 'streams'"),
    ],
)
def test_a_federation_file_that_is_wrong_says_why(out: Path, text: str, message: str) -> None:
    path = out.parent / "federation.toml"
    path.write_text(text)

    with pytest.raises(SettingsError, match=message):
        provision(path, out=out)

    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--admin-password-file"),
        (["--admin-password-file", "missing"], "cannot be read"),
    ],
)
def test_applying_without_a_password_writes_nothing(
    out: Path, options: list[str], message: str
) -> None:
    path = write_federation(out.parent)

    done = CliRunner().invoke(app, ["provision", str(path), "--out", str(out), "--apply", *options])

    assert isinstance(done.exception, SettingsError)
    assert message in str(done.exception)
    assert not out.exists()


def a_policy(**changes: object) -> dict[str, object]:
    """An operator's own, for all queues of a vhost."""
    return {
        "name": "ours",
        "pattern": ".*",
        "apply-to": "all",
        "priority": PRIORITY,
        "definition": {"max-length": 10**6},
        **changes,
    }


def test_a_policy_of_the_operator_s_that_lifts_a_bound_is_named(out: Path) -> None:
    provisioned(out)
    document = broker_definitions(out)

    told = shadowed(document, [*document["policies"], a_policy()])

    assert 2 + len(SITES) == len(told)
    assert told[0].startswith(f"the broker keeps {names.REPORTS} by its policy ours, and not by ")
    assert f"give ours a priority below {PRIORITY}" in told[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"priority": PRIORITY - 1},
        {"apply-to": "streams"},
        {"apply-to": "exchanges"},
        {"pattern": r"^tasuki\.weights\."},
        {"pattern": "(?<no pattern of ours"},
    ],
)
def test_a_policy_that_lifts_no_bound_is_the_operator_s_affair(
    out: Path, changes: dict[str, object]
) -> None:
    provisioned(out)
    document = broker_definitions(out)

    assert [] == shadowed(document, [*document["policies"], a_policy(**changes)])


def test_a_site_may_take_neither_all_connections_nor_all_memory(out: Path) -> None:
    provisioned(out)

    limits = {user["name"]: user["limits"] for user in broker_definitions(out)["users"]}

    expected = {"max-connections": MOST_CONNECTIONS, "max-channels": MOST_CHANNELS}
    assert dict.fromkeys(SITES, expected) == {site: limits[site] for site in SITES}
    assert {} == limits[CONTROLLER]
