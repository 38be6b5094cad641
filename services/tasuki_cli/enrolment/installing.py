"""The authority's answer: checked against what waits for it, and put where the service finds it.

What a renewal replaces is kept beside it (`.old`): whichever of this folder, the broker and the
other members changes first, the service goes on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from tasuki.core.model import CONTROLLER
from tasuki.core.trust import Roster
from tasuki.disk.errors import disk_errors
from tasuki.disk.writing import PRIVATE, PUBLIC, sync
from tasuki.errors import MessageError, SettingsError
from tasuki.settings.broker import NEXT, OLD
from tasuki.settings.federation import FederationFile
from tasuki.settings.toml import checked
from tasuki.trust.armor import armored
from tasuki.trust.fingerprints import fingerprint
from tasuki.trust.papers import Answer, Request, authority_of, read_answer, read_request
from tasuki.trust.rosters import WHAT, authority_in, read_issued, verified
from tasuki.trust.signing import PublicKey, SigningKey, public_bytes
from tasuki_cli.enrolment.places import (
    Places,
    beside,
    first_places,
    give_all,
    places_of,
    request_in,
)
from tasuki_cli.provision import files
from tasuki_cli.provision.certificates import is_signed_by
from tasuki_cli.provision.contents import FOLDERS, Contents, kind_of, settings_of, texts_of
from tasuki_cli.provision.layout import CA, TOKEN
from tasuki_cli.provision.passwords import new_password
from tasuki_cli.provision.texts import render


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """An answer that was taken.

    Attributes:
        authority: the fingerprint of whom the member believes from now on.
        roster: the number of the roster that came with it.
        created: files that were not there before, or not so.
    """

    federation: str
    name: str
    authority: str
    roster: int
    created: list[str]


def install(path: Path, *, folder: Path) -> Installed:
    """Take the authority's answer to the request that waits here. Once more after a crash is fine.

    Raises:
        SettingsError: it is not the answer to that, or not of our authority.
        StorageError: the folder cannot be written.
    """
    _, answer = read_answer(path)
    request = _waiting(answer, path, folder=folder)
    is_first = not (folder / settings_of(answer.name)).exists()
    contents = _contents(answer, folder)
    places = (
        first_places(folder, signer=contents.signer) if is_first else places_of(answer.name, folder)
    )
    roster = _checked(answer, request, path, places=places)
    written = [_put(places.authority, answer.authority), _put_roster(places, answer, roster)]
    if answer.ca and is_first:
        written.append(_put(folder / CA, answer.ca))
    for secret in places.secrets:
        _take_next(secret)
    if answer.certificate:
        written.append(_put(places.certificate, answer.certificate))
    if is_first:
        written += _write_texts(answer.name, folder, contents)
    sync(folder)
    with disk_errors(folder):
        request_in(folder, answer.name).unlink()
    give_all(folder, *written, *places.secrets)
    return Installed(
        federation=answer.federation,
        name=answer.name,
        authority=_fingerprint(authority_of(answer)),
        roster=roster.number,
        created=[str(each) for each in written if each is not None],
    )


def _waiting(answer: Answer, path: Path, *, folder: Path) -> Request:
    """The request that this answers."""
    waiting = request_in(folder, answer.name)
    if not waiting.exists():
        raise SettingsError(
            f"{path} is for {answer.name}, and no request of it waits in {folder}: name with "
            "--out the folder in which it was made; an answer is installed once"
        )
    written, request = read_request(waiting)
    if (written.digest, request.federation) != (answer.request, answer.federation):
        raise SettingsError(
            f"{path} answers another request of {answer.name} than the one in {folder}, of "
            f"{request.federation}: have that one ({waiting.name}) signed"
        )
    return request


def _checked(answer: Answer, request: Request, path: Path, *, places: Places) -> Roster:
    """The roster in an answer, once all of it fits what is here."""
    authority = authority_of(answer)
    if authority is None:
        raise SettingsError(f"{path} names no authority")
    known = places.authority
    if known.exists() and public_bytes(authority_in(known)) != public_bytes(authority):
        raise SettingsError(
            f"{path} is of another authority ({_fingerprint(authority)}) than the one in {known} "
            f"({_fingerprint(authority_in(known))}); ask whoever provisions whether there is a new "
            "one: then enroll in a new folder"
        )
    try:
        roster = verified(answer.issued, authority)
    except (MessageError, ValueError) as exc:
        raise SettingsError(f"{path}: {exc}") from exc
    cards = roster.cards_of(answer.name, at=time.time())
    wanted = (request.signs, request.unsealing)
    if roster.federation != answer.federation or wanted not in {
        (card.signs, card.unseals) for card in cards
    }:
        raise SettingsError(f"{path}: its roster has no card of these keys; have it signed again")
    _check_keys(answer, request, path, places=places)
    return roster


def _check_keys(answer: Answer, request: Request, path: Path, *, places: Places) -> None:
    key = beside(places.key, NEXT) if beside(places.key, NEXT).exists() else places.key
    if SigningKey.load(files.content_of(key), path=key).public != request.signs:
        raise SettingsError(f"{path}: {key} is not the key that it is for")
    if not answer.certificate:
        return
    certificate = x509.load_pem_x509_certificate(answer.certificate.encode())
    authority = x509.load_pem_x509_certificate(answer.authority.encode())
    if not is_signed_by(certificate, authority):
        raise SettingsError(f"{path}: its certificate is not of its authority")
    if certificate.public_key() != request.key:
        raise SettingsError(f"{path}: its certificate is of another key")


def _contents(answer: Answer, folder: Path) -> Contents:
    federation = checked(answer.settings, FederationFile, name="the answer's settings")
    owner = files.owner_of(folder)
    return Contents(
        federation=federation,
        owner=owner if owner.uid else files.default_owner(),
        has_ca=bool(answer.ca),
        is_enrolled=True,
    )


def _write_texts(name: str, folder: Path, contents: Contents) -> list[Path | None]:
    for inner in FOLDERS[kind_of(name)]:
        files.make_folder(folder / inner)
    written: list[Path | None] = []
    if name == CONTROLLER and files.add(folder / TOKEN, new_password() + "\n", mode=PRIVATE):
        written.append(folder / TOKEN)
    gaps = contents.gaps(name)
    for file, template in texts_of(name).items():
        if files.add(folder / file, render(template, gaps), mode=PUBLIC):
            written.append(folder / file)
    return written


def _put(path: Path, content: str | bytes) -> Path | None:
    return path if files.put(path, content, mode=PUBLIC) else None


def _put_roster(places: Places, answer: Answer, roster: Roster) -> Path | None:
    """Unless there is a newer one."""
    if places.roster.exists():
        known = verified(read_issued(places.roster), authority_in(places.authority))
        if known.number >= roster.number:
            return None
    return _put(places.roster, armored(answer.issued, what=WHAT))


def _take_next(secret: Path) -> None:
    """The next one takes this one's place, which is kept beside it. At no instant is there none."""
    following = beside(secret, NEXT)
    if not following.exists():
        return
    files.put(beside(secret, OLD), files.content_of(secret), mode=PRIVATE)
    with disk_errors(secret):
        following.replace(secret)


def _fingerprint(key: PublicKey | None) -> str:
    return "" if key is None else fingerprint(public_bytes(key))
