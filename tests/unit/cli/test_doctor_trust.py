"""What the doctor says of keys, card and roster."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasuki.errors import MessageError, SettingsError
from tasuki.settings.site import read_site
from tasuki.trust.sealing import SealingKey
from tasuki_cli.doctor import trust
from tasuki_cli.doctor.report import Check, Status, in_order
from tasuki_cli.enrolment.asking import renew
from tasuki_cli.provision.changes import Changes
from tasuki_cli.provision.command import provision
from tasuki_cli.provision.report import Report

Provision = Callable[..., Report]


@pytest.fixture
def provisioned(tmp_path: Path) -> Provision:
    def make(*, more: str = "", **changes: object) -> Report:
        path = tmp_path / "federation.toml"
        path.write_text(f'name = "clinics"\nsites = {json.dumps(["site-1", "site-2"])}\n{more}')
        return provision(path, out=tmp_path / "kits", changes=Changes(**changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    return tmp_path / "kits/site-1"


def looked_at(kit: Path, *, who: str = "site-1") -> dict[str, Check]:
    settings = read_site(kit / "site.toml", {})
    steps = trust.steps(settings.security, who=who, folder=settings.folder)
    return {check.name: check for check in in_order(steps)}


def test_a_kit_is_in_order(provisioned: Provision, kit: Path) -> None:
    report = provisioned()
    checks = looked_at(kit)

    assert {Status.OK} == {check.status for check in checks.values()}
    assert "insists on signed and sealed" in checks["keys"].found
    assert "roster 1 of clinics" in checks["roster"].found
    assert str(report.authority) in checks["roster"].found
    assert "site-2 until" in checks["members"].found


def test_a_federation_without_a_roster_believes_its_broker(
    provisioned: Provision, kit: Path
) -> None:
    provisioned(more="[security]\nrequire = []\n")

    assert "the broker is believed" in looked_at(kit)["security"].found


def test_what_ends_soon_is_a_warning(
    provisioned: Provision, kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provisioned(more="[certificates]\ndays = 60\n")
    later = time.time() + 40 * 86400
    monkeypatch.setattr(time, "time", lambda: later)

    checks = looked_at(kit)

    assert (Status.OK, Status.WARN) == (checks["roster"].status, checks["card"].status)
    assert "tasuki enroll site-1 --renew" in checks["card"].advice


def test_a_roster_that_has_ended_is_a_failure(
    provisioned: Provision, kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provisioned()
    later = time.time() + 366 * 86400
    monkeypatch.setattr(time, "time", lambda: later)

    check = looked_at(kit)["roster"]

    assert (Status.FAIL, MessageError.exit_code) == (check.status, check.exit_code)
    assert "has ended" in check.found


def test_a_roster_of_another_authority_is_a_failure(
    provisioned: Provision, kit: Path, tmp_path: Path
) -> None:
    provisioned()
    provision(tmp_path / "federation.toml", out=tmp_path / "other")
    (kit / "roster.pem").write_bytes((tmp_path / "other/ca/roster.pem").read_bytes())

    assert "not signed by our authority" in looked_at(kit)["roster"].found


def test_a_member_that_was_revoked_is_told(provisioned: Provision, kit: Path) -> None:
    provisioned()
    provisioned(revoke="site-2")

    assert "revoked: site-2" in looked_at(kit)["members"].found


def test_our_own_revocation_is_a_failure(provisioned: Provision, kit: Path, tmp_path: Path) -> None:
    provisioned()
    kept = kit.rename(tmp_path / "kept")
    kept.joinpath("site.toml").parent.mkdir(exist_ok=True)
    kit.mkdir()
    (kit / "site.toml").write_bytes((kept / "site.toml").read_bytes())
    provisioned(revoke="site-1")
    (kept / "roster.pem").write_bytes((tmp_path / "kits/ca/roster.pem").read_bytes())

    assert "our card was revoked" in looked_at(kept)["card"].found


def test_keys_that_are_on_no_card_are_a_failure(provisioned: Provision, kit: Path) -> None:
    provisioned()
    (kit / "seal.key").write_bytes(SealingKey.new().pem())
    assert "is not the one of our card" in looked_at(kit)["card"].found

    (kit / "client.key").write_bytes((kit.parent / "site-2/client.key").read_bytes())
    check = looked_at(kit)["card"]
    assert (Status.FAIL, SettingsError.exit_code) == (check.status, check.exit_code)
    assert "on no card of site-1" in check.found


def test_a_key_that_is_missing_or_everybody_s_is_told(provisioned: Provision, kit: Path) -> None:
    provisioned()
    (kit / "seal.key").chmod(0o644)
    assert Status.WARN == looked_at(kit)["keys"].status

    (kit / "seal.key").unlink()
    assert "seal.key cannot be read" in looked_at(kit)["keys"].found
    assert Status.SKIPPED == looked_at(kit)["card"].status


def test_a_renewal_that_waits_is_told(provisioned: Provision, kit: Path) -> None:
    provisioned()
    renew("site-1", folder=kit)

    assert "a renewal waits for its answer" in looked_at(kit)["card"].found
