"""A member makes its keys itself: what it asks, what is signed, and what it then has."""

from __future__ import annotations

import base64
import json
import re
import shutil
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from support.tls import handshake, server_of
from tasuki.core.trust import Must
from tasuki.errors import SettingsError
from tasuki.settings.broker import read_secret
from tasuki.settings.controller import read_controller
from tasuki.settings.site import read_site
from tasuki.trust.armor import armored, unarmored
from tasuki.trust.papers import Written, read_answer
from tasuki.trust.rosters import authority_in, read_issued, verified
from tasuki.trust.signing import SigningKey
from tasuki_cli.enrolment.asking import Asked, ask, renew
from tasuki_cli.enrolment.installing import install
from tasuki_cli.main import app
from tasuki_cli.provision import passwords
from tasuki_cli.provision.changes import Changes
from tasuki_cli.provision.command import provision
from tasuki_cli.provision.report import Report

TLS = 'scheme = "amqps"\n'
SECRETS = re.compile(r"^(password|client\.key|seal\.key|token|ca\.key|server\.key)(\.next|\.old)?$")


@dataclass
class Lab:
    """A federation whose members enrol, at folders of their own."""

    folder: Path
    name: str = "clinics"
    sites: Sequence[str] = ("site-1", "site-2")
    broker: str = TLS
    security: str = "kits = false\n"

    @property
    def out(self) -> Path:
        return self.folder / "authority"

    def at(self, name: str) -> Path:
        return self.folder / f"at-{name}"

    def provision(self, *requests: Path, **changes: object) -> Report:
        path = self.folder / "federation.toml"
        path.write_text(
            f'name = "{self.name}"\nsites = {json.dumps(self.sites)}\n'
            f'[broker]\nhost = "mq.example"\n{self.broker}[security]\n{self.security}'
        )
        made = Changes(sign=requests, **changes)  # type: ignore[arg-type]
        return provision(path, out=self.out, changes=made)

    def ask(self, name: str) -> Asked:
        return ask(name, federation=self.name, folder=self.at(name))

    def sign(self, *asked: Asked, **changes: object) -> list[Path]:
        report = self.provision(*(one.path for one in asked), **changes)
        return [Path(one.answer) for one in report.signed]

    def enrol(self, name: str) -> None:
        (answer,) = self.sign(self.ask(name))
        install(answer, folder=self.at(name))

    def renew(self, name: str, **changes: object) -> None:
        (answer,) = self.sign(renew(name, folder=self.at(name)), **changes)
        install(answer, folder=self.at(name))

    def hash_of(self, user: str) -> str:
        users = json.loads((self.out / "broker/definitions.json").read_text())["users"]
        (found,) = (each["password_hash"] for each in users if each["name"] == user)
        assert isinstance(found, str)
        return found


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    (tmp_path / "x").write_text("certificates")
    return Lab(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def secrets_in(folder: Path) -> list[bytes]:
    """What no other folder may have: of keys the lines between the first and the last."""
    found = []
    for path in folder.rglob("*"):
        if SECRETS.match(path.name):
            text = path.read_bytes()
            inner = re.search(rb"PRIVATE KEY-----\n(.+)\n-----END", text, re.DOTALL)
            found.append(inner[1] if inner else text.strip())
    return found


FORMS = pytest.mark.parametrize(
    "broker", ["", TLS, TLS + 'ca = "x"\n', TLS + "[certificates]\nmake = false\n"]
)


@FORMS
def test_a_site_that_enrolled_has_settings_keys_and_a_card(lab: Lab, broker: str) -> None:
    lab.broker = broker
    lab.enrol("site-1")

    settings = read_site(lab.at("site-1") / "site.toml", {})
    member = settings.security.member("site-1", folder=lab.folder)
    assert {Must.SIGNED, Must.SEALED} == member.require
    keys = member.keys
    assert keys is not None
    (card,) = keys.rosters.newest.cards_of("site-1", at=time.time())
    assert (card.signs, card.unseals) == (keys.signing.public, keys.sealing.public)
    assert settings.broker.url.endswith("://site-1@mq.example:5672/clinics") or "amqps" in (
        settings.broker.url
    )
    assert passwords.is_hash_of(lab.hash_of("site-1"), settings.broker.password())


def test_the_controller_enrols_in_the_same_way(lab: Lab) -> None:
    lab.enrol("controller")

    settings = read_controller(lab.at("controller") / "controller.toml", {})
    assert settings.security.is_used
    assert settings.http.token_file is not None
    assert read_secret(settings.http.token_file, what="token")
    assert not (lab.out / "operator/token").exists()


def test_a_certificate_that_was_asked_for_is_taken_by_the_broker(lab: Lab) -> None:
    lab.enrol("site-1")

    context = read_site(lab.at("site-1") / "site.toml", {}).broker.tls()
    assert context is not None
    handshake(context, server_of(lab.out / "broker"), host="mq.example")


@FORMS
def test_nothing_secret_of_a_member_is_anywhere_else(lab: Lab, broker: str) -> None:
    lab.broker = broker
    for name in ("site-1", "controller"):
        lab.enrol(name)
    lab.renew("site-1")

    for name in ("site-1", "controller"):
        theirs = secrets_in(lab.at(name))
        assert len(theirs) >= 3
        elsewhere = {**contents(lab.out)}
        elsewhere |= {
            key: value
            for other in ("site-1", "controller")
            if other != name
            for key, value in contents(lab.at(other)).items()
        }
        papers = {key: text for key, text in contents(lab.at(name)).items() if "pem" in key}
        for text in [*elsewhere.values(), *papers.values()]:
            assert not any(secret in text or decoded(secret) in text for secret in theirs)
            inside = armored_parts(text)
            assert not any(secret in inside or decoded(secret) in inside for secret in theirs)


def decoded(secret: bytes) -> bytes:
    """A key's own bytes, without the frame around them."""
    try:
        return base64.b64decode(b"".join(secret.split()), validate=True)[-32:]
    except ValueError:
        return secret


def armored_parts(text: bytes) -> bytes:
    """What is inside of a request or an answer, decoded as far as it goes."""
    for what in ("REQUEST", "ANSWER"):
        try:
            parts = json.loads(unarmored(text, what=what))
        except ValueError:
            continue
        return b"\0".join(base64.b64decode(part) for part in parts.values())
    return b""


def test_secrets_are_their_owner_s_alone(lab: Lab) -> None:
    lab.enrol("site-1")
    lab.renew("site-1")
    renew("site-1", folder=lab.at("site-1"))

    found = [path for path in lab.at("site-1").iterdir() if SECRETS.match(path.name)]
    assert 9 == len(found)
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in found}


def test_nobody_gets_a_kit_where_members_enrol(lab: Lab) -> None:
    report = lab.provision()

    assert ["site-1", "site-2", "controller"] == report.awaited
    assert not (lab.out / "site-1").exists()
    users = json.loads((lab.out / "broker/definitions.json").read_text())["users"]
    assert ["operator"] == [user["name"] for user in users]


def test_one_member_enrols_beside_others_with_kits(lab: Lab) -> None:
    lab.security = ""
    lab.sites = ("site-1",)
    lab.provision()
    lab.sites = ("site-1", "site-2")
    lab.enrol("site-2")

    assert not (lab.out / "site-2").exists()
    lab.provision()
    assert not (lab.out / "site-2").exists()
    roster = verified(read_issued(lab.out / "ca/roster.pem"), authority_in(lab.out / "ca/ca.pem"))
    assert ("controller", "site-1", "site-2") == roster.members(at=time.time())


def test_a_renewal_keeps_what_is_in_use_until_it_is_answered(lab: Lab) -> None:
    lab.enrol("site-1")
    before = contents(lab.at("site-1"))

    renew("site-1", folder=lab.at("site-1"))

    after = contents(lab.at("site-1"))
    assert before == {name: after[name] for name in before}
    new = {"password.next", "client.key.next", "seal.key.next", "site-1-request.pem"}
    assert new == after.keys() - before.keys()


def test_a_renewal_has_two_cards_and_two_passwords_for_a_while(lab: Lab) -> None:
    lab.enrol("site-1")
    table = read_site(lab.at("site-1") / "site.toml", {}).broker
    old = table.password()

    lab.renew("site-1")

    settings = read_site(lab.at("site-1") / "site.toml", {})
    member = settings.security.member("site-1", folder=lab.folder)
    assert member.keys is not None
    assert 2 == len(member.keys.rosters.newest.cards_of("site-1", at=time.time()))
    assert 1 == len(member.keys.others)
    new, other = table.passwords()
    assert (old, True) == (other, new != old)
    assert passwords.is_hash_of(lab.hash_of("site-1"), new)


def test_the_certificate_that_was_renewed_is_refused_once_its_time_is_over(lab: Lab) -> None:
    lab.enrol("site-1")
    first = x509.load_pem_x509_certificate((lab.at("site-1") / "client.pem").read_bytes())
    lab.renew("site-1")
    assert [] == list(revoked(lab.out))

    lab.renew("site-1", overlap_days=0)

    second = x509.load_pem_x509_certificate((lab.at("site-1") / "client.pem").read_bytes())
    assert first.serial_number not in revoked(lab.out)
    assert second.serial_number not in revoked(lab.out)
    assert 1 == len(revoked(lab.out))


def revoked(out: Path) -> set[int]:
    crl = x509.load_pem_x509_crl((out / "ca/crl.pem").read_bytes())
    return {entry.serial_number for entry in crl}


def test_a_kit_s_owner_makes_its_own_keys_later(lab: Lab) -> None:
    lab.security = ""
    lab.provision()
    shutil.copytree(lab.out / "site-1", lab.at("site-1"))

    lab.renew("site-1")

    report = lab.provision()
    assert any("site-1/ is used no more" in note for note in report.notes)
    password = read_site(lab.at("site-1") / "site.toml", {}).broker.password()
    assert passwords.is_hash_of(lab.hash_of("site-1"), password)
    assert password != (lab.out / "site-1/password").read_text().strip()


def test_whoever_enrolled_is_revoked_and_may_enrol_anew(lab: Lab) -> None:
    lab.enrol("site-1")
    first = lab.at("site-1")

    lab.provision(revoke="site-1")

    assert (
        "site-1"
        not in (lab.out / "broker/definitions.json")
        .read_text()
        .partition("users")[2][
            : (lab.out / "broker/definitions.json").read_text().find("permissions")
        ]
    )
    serial = x509.load_pem_x509_certificate((first / "client.pem").read_bytes()).serial_number
    assert {serial} == revoked(lab.out)
    first.rename(lab.folder / "lost")
    lab.enrol("site-1")
    roster = verified(read_issued(lab.out / "ca/roster.pem"), authority_in(lab.out / "ca/ca.pem"))
    assert [False, True] == [card.is_good(time.time()) for card in roster.cards_of("site-1")]


def test_asking_again_after_a_stop_half_way_goes_on(lab: Lab) -> None:
    asked = lab.ask("site-1")
    keys = (lab.at("site-1") / "client.key").read_bytes()
    asked.path.unlink()

    lab.ask("site-1")

    assert keys == (lab.at("site-1") / "client.key").read_bytes()


@pytest.mark.parametrize("stopped_at", ["password", "client.key", "request"])
def test_an_installation_that_was_stopped_is_done_again(lab: Lab, stopped_at: str) -> None:
    lab.enrol("site-1")
    asked = renew("site-1", folder=lab.at("site-1"))
    (answer,) = lab.sign(asked)
    request = asked.path.read_bytes()
    done = {"password": ("password",), "client.key": ("password", "seal.key", "client.key")}
    for name in done.get(stopped_at, ()):
        path = lab.at("site-1") / name
        shutil.copy(path, path.with_name(f"{name}.old"))
        path.with_name(f"{name}.next").rename(path)
    if stopped_at == "request":
        install(answer, folder=lab.at("site-1"))
        asked.path.write_bytes(request)

    install(answer, folder=lab.at("site-1"))

    member = read_site(lab.at("site-1") / "site.toml", {}).security.member(
        "site-1", folder=lab.folder
    )
    assert member.keys is not None
    newest = member.keys.rosters.newest.cards_of("site-1")[-1]
    assert newest.signs == member.keys.signing.public
    assert not list(lab.at("site-1").glob("*.next"))


def test_a_signing_that_was_stopped_is_done_again(lab: Lab) -> None:
    asked = lab.ask("site-1")
    (answer,) = lab.sign(asked)
    answer.unlink()

    assert [answer] == lab.sign(asked)
    assert 1 == lab.provision().roster
    install(answer, folder=lab.at("site-1"))


# What is refused, and changes nothing.


def refused(lab: Lab, act: Callable[[], object], match: str) -> None:
    before = contents(lab.folder)
    with pytest.raises(SettingsError, match=match):
        act()
    assert before == contents(lab.folder)


def test_a_request_is_signed_once(lab: Lab) -> None:
    asked = lab.ask("site-1")
    (answer,) = lab.sign(asked)

    refused(lab, lambda: lab.sign(asked), re.escape(f"the answer is {answer}"))


def test_a_request_of_another_federation_is_refused(lab: Lab) -> None:
    lab.provision()
    asked = ask("site-1", federation="others", folder=lab.at("site-1"))

    refused(lab, lambda: lab.sign(asked), "a request to others, not to clinics")


def test_a_name_that_is_not_listed_is_refused(lab: Lab) -> None:
    lab.provision()
    asked = lab.ask("site-9")

    refused(lab, lambda: lab.sign(asked), "site-9 is not listed")


def test_a_name_that_is_taken_is_refused(lab: Lab) -> None:
    lab.enrol("site-1")
    asked = ask("site-1", federation="clinics", folder=lab.folder / "somebody-else")

    refused(lab, lambda: lab.sign(asked), "site-1 is a member already.*--renew.*--revoke site-1")


def test_the_name_of_a_kit_is_taken_too(lab: Lab) -> None:
    lab.security = ""
    lab.provision()
    asked = lab.ask("site-1")

    refused(lab, lambda: lab.sign(asked), "site-1 is a member already")


def test_two_requests_of_one_name_are_refused(lab: Lab) -> None:
    lab.provision()
    mine, other = lab.ask("site-1"), ask("site-1", federation="clinics", folder=lab.folder / "b")

    refused(lab, lambda: lab.sign(mine, other), "both of site-1")


def test_a_renewal_by_somebody_else_is_refused(lab: Lab) -> None:
    lab.enrol("site-1")
    lab.enrol("site-2")
    thief = shutil.copytree(lab.at("site-2"), lab.folder / "thief")
    settings = (thief / "site.toml").read_text()
    (thief / "site.toml").write_text(settings.replace("site-2", "site-1"))
    asked = renew("site-1", folder=thief)

    refused(lab, lambda: lab.sign(asked), "not signed with a key that site-1 has now")


def test_a_renewal_with_keys_that_were_revoked_is_refused(lab: Lab) -> None:
    lab.enrol("site-1")
    lab.provision(revoke="site-1")
    asked = renew("site-1", folder=lab.at("site-1"))

    refused(lab, lambda: lab.sign(asked), "not signed with a key that site-1 has now")


def test_keys_that_were_revoked_do_not_come_back(lab: Lab) -> None:
    asked = lab.ask("site-1")
    text = asked.path.read_bytes()
    (answer,) = lab.sign(asked)
    install(answer, folder=lab.at("site-1"))
    lab.provision(revoke="site-1")
    asked.path.write_bytes(text)

    refused(lab, lambda: lab.sign(asked), "on a card of site-1 before")


@pytest.mark.parametrize("at", range(0, 100, 7))
def test_a_damaged_request_is_refused(lab: Lab, at: int) -> None:
    lab.provision()
    asked = lab.ask("site-1")
    text = bytearray(asked.path.read_bytes())
    place = 40 + at * (len(text) - 100) // 100
    text[place] = ord("A") if text[place] != ord("A") else ord("B")
    asked.path.write_bytes(bytes(text))

    refused(lab, lambda: lab.sign(asked), "sent again")


def test_a_request_that_names_another_s_key_is_refused(lab: Lab) -> None:
    lab.provision()
    mine, other = lab.ask("site-1"), lab.ask("site-2")
    parts = json.loads(unarmored(mine.path.read_bytes(), what="REQUEST"))
    body = json.loads(base64.b64decode(parts["body"]))
    theirs = json.loads(unarmored(other.path.read_bytes(), what="REQUEST"))
    body["unseals"] = json.loads(base64.b64decode(theirs["body"]))["unseals"]
    parts["body"] = base64.b64encode(json.dumps(body, sort_keys=True).encode()).decode()
    mine.path.write_bytes(armored(json.dumps(parts).encode(), what="REQUEST"))

    refused(lab, lambda: lab.sign(mine), "altered after it was signed")


def test_an_answer_is_no_request_and_a_request_is_no_answer(lab: Lab) -> None:
    asked = lab.ask("site-1")
    (answer,) = lab.sign(asked)

    refused(lab, lambda: lab.provision(answer), "the answer to one")
    refused(lab, lambda: install(asked.path, folder=lab.at("site-1")), "the authority signs it")


def test_an_answer_fits_the_folder_that_asked_alone(lab: Lab) -> None:
    lab.ask("site-1")
    (answer,) = lab.sign(lab.ask("site-2"))
    refused(lab, lambda: install(answer, folder=lab.at("site-1")), "no request of it waits")

    again = Lab(lab.folder / "again", sites=("site-2",))
    again.folder.mkdir()
    again.ask("site-2")
    refused(lab, lambda: install(answer, folder=again.at("site-2")), "answers another request")


def test_an_answer_is_installed_once(lab: Lab) -> None:
    (answer,) = lab.sign(lab.ask("site-1"))
    install(answer, folder=lab.at("site-1"))

    refused(lab, lambda: install(answer, folder=lab.at("site-1")), "installed once")


def test_an_answer_of_another_authority_is_refused_where_one_is_known(lab: Lab) -> None:
    lab.enrol("site-1")
    (answer,) = lab.sign(renew("site-1", folder=lab.at("site-1")))
    forger = Lab(lab.folder / "forger")
    forger.folder.mkdir()
    forger.provision()
    _, genuine = read_answer(answer)
    pem = (forger.out / "ca/ca.pem").read_text()
    key = SigningKey.load((forger.out / "ca/ca.key").read_bytes(), path=answer)
    forged = Written.of(genuine.model_copy(update={"authority": pem}), key=key)
    answer.write_bytes(forged.armored(what="ANSWER"))

    refused(lab, lambda: install(answer, folder=lab.at("site-1")), "of another authority")


def test_a_damaged_answer_is_refused(lab: Lab) -> None:
    (answer,) = lab.sign(lab.ask("site-1"))
    text = bytearray(answer.read_bytes())
    text[len(text) // 2] ^= 1
    answer.write_bytes(bytes(text))

    refused(lab, lambda: install(answer, folder=lab.at("site-1")), "sent again")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("operator", "no site can be called"),
        ("authority", "no site can be called"),
        ("A site", "name"),
    ],
)
def test_a_name_that_nobody_can_have_is_refused(lab: Lab, name: str, match: str) -> None:
    refused(lab, lambda: lab.ask(name), match)


def test_a_folder_that_is_in_use_is_left_alone(lab: Lab) -> None:
    lab.enrol("site-1")
    folder = lab.at("site-1")
    refused(lab, lambda: lab.ask("site-1"), "--renew")
    refused(lab, lambda: ask("controller", federation="clinics", folder=folder), "another member's")
    refused(lab, lambda: renew("site-2", folder=folder), "is of site-1, not of site-2")

    lab.ask("site-2")
    refused(lab, lambda: lab.ask("site-2"), "waits for its answer")
    elsewhere = lab.at("site-2")
    refused(lab, lambda: ask("site-3", federation="clinics", folder=elsewhere), "another member's")
    refused(lab, lambda: renew("site-2", folder=elsewhere), "there is no .*site.toml")


def test_a_second_renewal_waits_for_the_first(lab: Lab) -> None:
    lab.enrol("site-1")
    renew("site-1", folder=lab.at("site-1"))

    refused(lab, lambda: renew("site-1", folder=lab.at("site-1")), "waits for its answer")


def test_a_federation_without_a_roster_signs_nothing(lab: Lab) -> None:
    lab.security = "require = []\n"
    lab.provision()
    asked = lab.ask("site-1")

    refused(lab, lambda: lab.sign(asked), r"has no roster, with \[security\] require = \[\]")


def test_reissue_is_not_for_those_who_make_their_keys_themselves(lab: Lab) -> None:
    lab.enrol("site-1")

    refused(lab, lambda: lab.provision(reissue="site-1"), "tasuki enroll site-1 --renew")


# As commands.


def tasuki(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert 0 == result.exit_code, result.output
    return result.output


def test_both_ends_see_the_same_fingerprints(lab: Lab) -> None:
    lab.provision()
    folder, kit = lab.folder, str(lab.at("site-1"))
    asked = tasuki("enroll", "site-1", "--federation", "clinics", "--out", kit)
    (letters,) = re.findall(r"fingerprint of this request: ([A-Z ]{29})", asked)
    federation = str(folder / "federation.toml")
    request = f"{kit}/site-1-request.pem"

    with pytest.raises(SettingsError, match=letters):
        tasuki("provision", federation, "--out", str(lab.out), "--sign", request)
    signed = tasuki("provision", federation, "--out", str(lab.out), "--sign", request, "--yes")

    assert letters in signed
    answer = str(lab.out / "enrolled/site-1/1/site-1-answer.pem")
    installed = tasuki("enroll", "--install", answer, "--out", kit)
    (authority,) = re.findall(r"fingerprint of the authority: ([A-Z ]{29})", installed)
    assert authority in signed
    assert authority in tasuki("roster", "show", "--config", f"{kit}/site.toml")


def test_commands_speak_json(lab: Lab) -> None:
    lab.provision()
    kit = str(lab.at("site-1"))
    asked = json.loads(
        tasuki("enroll", "site-1", "--federation", "clinics", "--out", kit, "--json")
    )
    assert {"federation", "name", "request", "fingerprint"} == asked.keys()
    report = lab.provision(Path(asked["request"]))
    installed = json.loads(
        tasuki("enroll", "--install", report.signed[0].answer, "--out", kit, "--json")
    )
    assert ("site-1", 2) == (installed["name"], installed["roster"])
    shown = json.loads(tasuki("roster", "verify", "--config", f"{kit}/site.toml", "--json"))
    assert (["site-1"], True, False) == (
        shown["members"],
        shown["is_proved"],
        shown["has_ended"],
    )


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["enroll"], "name the member"),
        (["enroll", "site-1"], "either --federation"),
        (["enroll", "site-1", "--renew", "--federation", "clinics"], "either --federation"),
        (["enroll", "site-1", "--install", "x"], "--install takes"),
        (["roster", "show"], "name a roster"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(arguments: list[str], match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        tasuki(*arguments)
