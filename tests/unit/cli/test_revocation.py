"""Shutting one site out and renewing one kit; nobody else's files change by a byte."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from support.tls import handshake, server_of
from tasuki.errors import SettingsError
from tasuki.settings.site import read_site
from tasuki_cli.provision import files, passwords
from tasuki_cli.provision.changes import Changes
from tasuki_cli.provision.command import provision
from tasuki_cli.provision.report import Report

Provision = Callable[..., Report]
SITES = ["site-1", "site-2"]
SCHEMES = pytest.mark.parametrize("scheme", ["amqp", "amqps"])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "kits"


@pytest.fixture
def provisioned(out: Path) -> Provision:
    def make(
        *,
        sites: list[str] = SITES,
        scheme: str = "amqps",
        reissue: str | None = None,
        revoke: str | None = None,
        overlap_days: int = 0,
    ) -> Report:
        path = out.parent / "federation.toml"
        path.write_text(
            f'name = "clinics"\nsites = {json.dumps(sites)}\n[broker]\nscheme = "{scheme}"\n'
        )
        return provision(
            path,
            out=out,
            changes=Changes(reissue=reissue, revoke=revoke, overlap_days=overlap_days),
        )

    return make


def files_of(out: Path, *folders: str) -> dict[str, bytes]:
    found = (path for folder in folders for path in (out / folder).rglob("*") if path.is_file())
    # A roster is everyone's, and there is a new one after each change.
    kept = (path for path in found if path.name != "roster.pem")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in kept}


def users(out: Path) -> set[str]:
    return {u["name"] for u in json.loads((out / "broker/definitions.json").read_text())["users"]}


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def listed(out: Path) -> set[int]:
    """What the broker is told not to take."""
    (path,) = (out / "broker/crl").iterdir()
    assert (out / "ca/crl.pem").read_bytes() == path.read_bytes()
    return {entry.serial_number for entry in x509.load_pem_x509_crl(path.read_bytes())}


@SCHEMES
def test_a_revoked_site_has_no_kit_and_no_user(
    out: Path, provisioned: Provision, scheme: str
) -> None:
    provisioned(scheme=scheme)
    others = files_of(out, "site-1", "controller", "operator")

    report = provisioned(scheme=scheme, revoke="site-2")

    assert (["site-1"], ["site-2"]) == (report.sites, report.revoked)
    assert not (out / "site-2").exists()
    assert "site-2" not in (out / "broker/definitions.json").read_text()
    assert others == files_of(out, "site-1", "controller", "operator")
    (kept,) = (path for path in (out / "revoked").iterdir() if path.is_dir())
    assert kept.name.startswith("site-2-")
    assert "site-2" in report.notes[0]


def test_a_revoked_certificate_is_listed_for_the_broker(out: Path, provisioned: Provision) -> None:
    provisioned()
    assert set() == listed(out)
    lost = serial(out / "site-2/client.pem")

    provisioned(revoke="site-2")

    assert {lost} == listed(out)


def test_the_list_verifies_and_is_good_as_long_as_its_authority(
    out: Path, provisioned: Provision
) -> None:
    """One that ran out would shut everyone out."""
    provisioned()
    provisioned(revoke="site-2")

    revoked = x509.load_pem_x509_crl((out / "ca/crl.pem").read_bytes())
    authority = x509.load_pem_x509_certificate((out / "ca/ca.pem").read_bytes())
    key = authority.public_key()
    assert revoked.is_signature_valid(key)  # type: ignore[arg-type]  # an EC key, made by us
    assert authority.not_valid_after_utc == revoked.next_update_utc


def test_provisioning_again_does_not_let_a_revoked_site_in(
    out: Path, provisioned: Provision
) -> None:
    provisioned()
    provisioned(revoke="site-2")

    report = provisioned()

    assert not (out / "site-2").exists()
    assert "site-2" not in users(out)
    assert ([], [], ["site-2"]) == (report.created, report.changed, report.revoked)
    assert "let it in again with --reissue site-2" in report.notes[0]


def test_a_site_that_was_taken_out_of_the_list_can_be_revoked(
    out: Path, provisioned: Provision
) -> None:
    provisioned()
    lost = serial(out / "site-2/client.pem")

    report = provisioned(sites=["site-1"], revoke="site-2")

    assert ([], []) == (report.removed, report.notes)
    assert {lost} == listed(out)


def test_the_last_site_can_be_revoked(out: Path, provisioned: Provision) -> None:
    provisioned(sites=["site-1"])

    report = provisioned(sites=["site-1"], revoke="site-1")

    assert [] == report.sites
    assert {"controller", "operator"} == users(out)


@SCHEMES
def test_reissue_lets_a_revoked_site_in_again_with_other_secrets(
    out: Path, provisioned: Provision, scheme: str
) -> None:
    provisioned(scheme=scheme)
    old = (out / "site-2/password").read_text()
    provisioned(scheme=scheme, revoke="site-2")

    report = provisioned(scheme=scheme, reissue="site-2")

    assert (SITES, []) == (report.sites, report.revoked)
    assert old != (out / "site-2/password").read_text()
    assert "site-2" in users(out)


@pytest.mark.parametrize("user", ["site-2", "controller"])
def test_reissue_changes_password_key_and_certificate_of_one_kit_alone(
    out: Path, provisioned: Provision, user: str
) -> None:
    provisioned()
    lost = serial(out / f"{user}/client.pem")
    rest = {"site-1", "site-2", "controller", "operator"} - {user}
    others, before = files_of(out, *rest), files_of(out, user)

    report = provisioned(reissue=user)

    assert others == files_of(out, *rest)
    after = files_of(out, user)
    changed = {name for name in before if before[name] != after[name]}
    new = ("password", "client.pem", "client.key", "seal.key")
    assert {f"{user}/{name}" for name in new} == changed
    assert {f"{user}/password.old", f"{user}/seal.key.old"} == after.keys() - before.keys()
    assert {lost} == listed(out)
    assert changed < {*report.created}
    assert f"{user} has new secrets: hand its folder over again" in report.notes[0]
    hashes = json.loads((out / "broker/definitions.json").read_text())["users"]
    (stored,) = (u["password_hash"] for u in hashes if u["name"] == user)
    assert passwords.is_hash_of(stored, after[f"{user}/password"].decode().strip())


def test_a_reissued_kit_works_and_keeps_what_its_owner_wrote(
    out: Path, provisioned: Provision
) -> None:
    provisioned()
    with (out / "site-2/site.toml").open("a") as settings:
        settings.write('\n[trainers.cifar10]\nrun = "train.py"\n')

    provisioned(reissue="site-2")

    settings_now = read_site(out / "site-2/site.toml", {})
    assert ["cifar10"] == list(settings_now.trainers)
    context = settings_now.broker.tls()
    assert context is not None
    handshake(context, server_of(out / "broker"), host="localhost")


def test_the_broker_can_have_a_new_certificate(out: Path, provisioned: Provision) -> None:
    provisioned()
    lost = serial(out / "broker/server.pem")
    others = files_of(out, "site-1", "site-2", "controller", "operator")

    provisioned(reissue="broker")

    assert lost != serial(out / "broker/server.pem")
    assert {lost} == listed(out)
    assert others == files_of(out, "site-1", "site-2", "controller", "operator")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reissue": "site-9"}, "known here are site-1, site-2, controller, broker"),
        ({"revoke": "site-9"}, "there is no kit"),
        ({"revoke": "controller"}, "there is no kit of a site"),
        ({"revoke": "../elsewhere"}, "there is no kit"),
        ({"scheme": "amqp", "reissue": "broker"}, "known here are site-1, site-2, controller"),
    ],
)
def test_a_name_that_is_wrong_changes_nothing(
    out: Path, provisioned: Provision, options: dict[str, str], message: str
) -> None:
    provisioned()
    before = files_of(out, ".")

    with pytest.raises(SettingsError, match=message):
        provisioned(**options)

    assert before == files_of(out, ".")


def test_a_record_that_is_not_ours_is_an_error(out: Path, provisioned: Provision) -> None:
    provisioned()
    provisioned(revoke="site-2")
    (out / "revoked/revoked.json").write_text("{}")

    with pytest.raises(SettingsError, match=r"revoked\.json is not what"):
        provisioned()


def test_a_record_that_was_lost_takes_nobody_off_the_list(
    out: Path, provisioned: Provision
) -> None:
    provisioned()
    lost = serial(out / "site-2/client.pem")
    provisioned(revoke="site-2")
    (out / "revoked/revoked.json").unlink()

    provisioned()

    assert {lost} == listed(out)


def test_a_kit_that_is_a_mount_of_its_own_is_emptied(tmp_path: Path) -> None:
    """In a container each kit is a volume: it cannot be moved, and neither across devices."""
    memory = Path("/dev/shm")  # noqa: S108 - another device is the point
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second device")
    kit = tmp_path / "site-2"
    (kit / "trainers").mkdir(parents=True)
    (kit / "password").write_text("secret")
    with tempfile.TemporaryDirectory(dir=memory) as elsewhere:
        target = Path(elsewhere) / "site-2-1"

        files.move_folder(kit, target)

        assert ["password", "trainers"] == sorted(path.name for path in target.iterdir())
    assert [] == list(kit.iterdir())
