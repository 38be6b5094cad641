"""The roster that provisioning signs: each change of members makes the next one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasuki.core.trust import Must, Roster
from tasuki.errors import MessageError, SettingsError
from tasuki.settings.controller import read_controller
from tasuki.settings.security import SecurityTable
from tasuki.settings.site import read_site
from tasuki.trust.member import Member
from tasuki.trust.rosters import Rosters, authority_in, read_issued, verified
from tasuki_cli.provision.changes import Changes
from tasuki_cli.provision.command import provision
from tasuki_cli.provision.report import Report

Provision = Callable[..., Report]
DAY = 86400
TLS = '[broker]\nscheme = "amqps"\n'
FORMS = pytest.mark.parametrize(
    "more", ["", TLS, TLS + 'ca = "x"\n', TLS + "[certificates]\nmake = false\n"]
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "x").write_text("certificates")
    return tmp_path / "kits"


@pytest.fixture
def provisioned(out: Path) -> Provision:
    def make(
        *, sites: tuple[str, ...] = ("site-1", "site-2"), more: str = "", **changes: object
    ) -> Report:
        path = out.parent / "federation.toml"
        path.write_text(f'name = "clinics"\nsites = {json.dumps(sites)}\n{more}')
        return provision(path, out=out, changes=Changes(**changes))  # type: ignore[arg-type]

    return make


def roster(out: Path, name: str = "ca/roster.pem") -> Roster:
    return verified(read_issued(out / name), authority_in(out / "ca/ca.pem"))


def security(out: Path, user: str) -> SecurityTable:
    if user == "controller":
        return read_controller(out / user / "controller.toml", {}).security
    return read_site(out / user / "site.toml", {}).security


def member(out: Path, user: str) -> Member:
    return security(out, user).member(user, folder=out.parent)


@FORMS
def test_everyone_s_kit_signs_and_seals_for_the_others(
    out: Path, provisioned: Provision, more: str
) -> None:
    report = provisioned(more=more)

    assert ([], 1) == (report.notes, report.roster)
    assert ("controller", "site-1", "site-2") == roster(out).members(at=time.time())
    for user in roster(out).members(at=time.time()):
        assert [Must.SIGNED, Must.SEALED] == security(out, user).require
        keys = member(out, user).keys
        assert keys is not None
        (card,) = keys.rosters.newest.cards_of(user)
        assert (card.signs, card.unseals) == (keys.signing.public, keys.sealing.public)


@FORMS
def test_who_wants_no_security_has_no_roster(out: Path, provisioned: Provision, more: str) -> None:
    report = provisioned(more=more + "[security]\nrequire = []\n")

    assert report.roster is None
    assert not security(out, "site-1").is_used
    assert [] == [*out.rglob("roster.pem"), *out.rglob("seal.key")]


def test_what_is_required_is_what_kits_insist_on(out: Path, provisioned: Provision) -> None:
    provisioned(more='[security]\nrequire = ["signed"]\n')

    assert [Must.SIGNED] == security(out, "controller").require


def test_one_more_site_makes_the_next_roster_and_keeps_the_one_before(
    out: Path, provisioned: Provision
) -> None:
    provisioned()
    first = roster(out)

    provisioned(sites=("site-1", "site-2", "site-3"))

    assert (2, {*first.cards}) == (roster(out).number, {*roster(out).cards} & {*first.cards})
    assert first == roster(out, "ca/rosters/roster-0001.pem")
    assert {2} == {roster(out, f"{kit}/roster.pem").number for kit in ("site-1", "controller")}


def test_a_member_with_new_keys_has_two_cards_for_a_while(
    out: Path, provisioned: Provision
) -> None:
    provisioned()
    (before,) = roster(out).cards_of("site-1")

    provisioned(reissue="site-1", overlap_days=3)

    old, new = roster(out).cards_of("site-1", at=time.time())
    assert (before.signs, before.unseals) == (old.signs, old.unseals)
    assert time.time() + 2 * DAY < old.ends < time.time() + 4 * DAY < new.ends
    (other,) = roster(out).cards_of("site-2")
    assert other.ends == before.ends


def test_without_an_overlap_the_old_keys_are_good_no_more(
    out: Path, provisioned: Provision
) -> None:
    provisioned()
    provisioned(reissue="site-1", overlap_days=0)

    assert 2 == len(roster(out).cards_of("site-1"))
    assert 1 == len(roster(out).cards_of("site-1", at=time.time()))


@FORMS
def test_a_revoked_site_is_on_the_roster_with_nothing_that_is_good(
    out: Path, provisioned: Provision, more: str
) -> None:
    provisioned(more=more)
    provisioned(more=more, revoke="site-2")

    (card,) = roster(out).cards_of("site-2")
    assert (2, False) == (roster(out).number, card.is_good(time.time()))
    assert ("controller", "site-1") == roster(out).members(at=time.time())
    provisioned(more=more)
    assert 2 == roster(out).number


def test_a_site_that_comes_back_has_new_keys_and_a_new_card(
    out: Path, provisioned: Provision
) -> None:
    provisioned()
    provisioned(revoke="site-2")
    provisioned(reissue="site-2")

    lost, new = roster(out).cards_of("site-2")
    assert lost.revoked is not None
    assert new.is_good(time.time())


def test_a_roster_that_ends_soon_is_followed_by_the_next(
    out: Path, provisioned: Provision, monkeypatch: pytest.MonkeyPatch
) -> None:
    provisioned(more="[security]\nroster_days = 40\n")
    later = time.time() + 20 * DAY
    monkeypatch.setattr(time, "time", lambda: later)

    assert 2 == provisioned().roster
    assert 2 == provisioned().roster
    assert roster(out).ends > later + 300 * DAY


def test_the_number_of_a_roster_that_was_given_out_is_never_used_again(
    out: Path, provisioned: Provision
) -> None:
    provisioned()
    provisioned(revoke="site-2")
    (out / "ca/roster.pem").unlink()

    assert 2 == provisioned().roster
    assert 3 == provisioned(sites=("site-1", "site-3")).roster


def test_a_kit_from_before_is_left_as_it_is_and_told_of(out: Path, provisioned: Provision) -> None:
    provisioned(more="[security]\nrequire = []\n")
    settings = (out / "site-1/site.toml").read_text()

    notes = provisioned().notes

    assert settings == (out / "site-1/site.toml").read_text()
    assert any("--reissue site-1 gives it keys" in note for note in notes)
    assert any(note.startswith("site-1's settings have no [security]") for note in notes)
    assert () == roster(out).cards


def test_a_kit_from_before_gets_keys_when_it_is_issued_again(
    out: Path, provisioned: Provision
) -> None:
    provisioned(more="[security]\nrequire = []\n")
    provisioned(reissue="site-1")

    assert ("site-1",) == roster(out).members(at=time.time())
    assert (out / "site-1/seal.key").exists()


def test_a_folder_of_another_federation_is_refused(out: Path, provisioned: Provision) -> None:
    provisioned()
    path = out.parent / "federation.toml"
    path.write_text('name = "others"\nsites = ["site-1"]\n')

    with pytest.raises(SettingsError, match="the authority of clinics, not of others"):
        provision(path, out=out)


def test_a_roster_of_another_authority_is_taken_by_nobody(
    out: Path, provisioned: Provision, tmp_path: Path
) -> None:
    provisioned()
    provision(out.parent / "federation.toml", out=tmp_path / "other")

    rosters = Rosters(authority_in(out / "site-1/authority.pem"), now=time.time)
    with pytest.raises(MessageError, match="not signed by our authority"):
        rosters.take(read_issued(tmp_path / "other/ca/roster.pem"))


def test_a_second_time_needs_no_key_of_the_authority(out: Path, provisioned: Provision) -> None:
    provisioned()
    (out / "ca/ca.key").rename(out.parent / "kept-elsewhere")

    assert 1 == provisioned().roster
