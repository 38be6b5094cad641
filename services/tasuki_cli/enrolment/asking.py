"""A member's keys are made in its own folder and never leave it; what leaves it is a request.

A renewal leaves what is in use as it is, and makes what will replace it beside it (`.next`).
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from pathlib import Path

from tasuki.core.model import CONTROLLER, check_name
from tasuki.disk.writing import PRIVATE, PUBLIC
from tasuki.errors import MessageError, SettingsError
from tasuki.settings.broker import NEXT
from tasuki.settings.federation import RESERVED
from tasuki.settings.toml import top_level
from tasuki.trust.papers import REQUEST, Request, Written, certificate_request, read_request
from tasuki.trust.rosters import authority_in, read_issued, verified
from tasuki.trust.sealing import SealingKey
from tasuki.trust.signing import SigningKey
from tasuki_cli.enrolment.places import (
    Places,
    beside,
    first_places,
    give_all,
    places_of,
    request_in,
)
from tasuki_cli.provision import files
from tasuki_cli.provision.contents import settings_of
from tasuki_cli.provision.layout import SIGNER, SITE
from tasuki_cli.provision.passwords import new_password, password_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that waits for its answer.

    Attributes:
        path: the file to send.
        fingerprint: what both ends compare.
    """

    federation: str
    name: str
    path: Path
    fingerprint: str


def ask(name: str, *, federation: str, folder: Path) -> Asked:
    """Make a member's keys and its request.

    Raises:
        SettingsError: it cannot have this name, or the folder is in use.
        StorageError: the folder cannot be written.
    """
    _check_names(name, federation)
    settings = folder / settings_of(name)
    if settings.exists():
        raise SettingsError(
            f"{settings} is there: whoever has enrolled already renews with "
            f"`tasuki enroll {name} --renew --out {folder}`"
        )
    _refuse_others(name, folder)
    files.make_folder(folder)
    places = first_places(folder, signer=SIGNER)
    _make_secrets(places, suffix="")
    return _write_request(name, federation=federation, folder=folder, places=places, suffix="")


def renew(name: str, *, folder: Path) -> Asked:
    """Make new keys and a new password beside those in use, and the request for them.

    Raises:
        SettingsError: there are none in use here, or a renewal waits for its answer.
        StorageError: the folder cannot be written.
    """
    places = places_of(name, folder)
    for path in (*places.secrets, places.authority, places.roster):
        if not path.exists():
            raise SettingsError(
                f"--renew: there is no {path}; name with --out the folder that {name} runs from"
            )
    _refuse_others(name, folder)
    try:
        known = verified(read_issued(places.roster), authority_in(places.authority))
    except MessageError as exc:
        raise SettingsError(f"{places.roster}: {exc}") from exc
    _make_secrets(places, suffix=NEXT)
    return _write_request(
        name, federation=known.federation, folder=folder, places=places, suffix=NEXT
    )


def _check_names(name: str, federation: str) -> None:
    try:
        check_name(name, what="member")
        check_name(federation, what="federation")
    except ValueError as exc:
        raise SettingsError(str(exc)) from exc
    if name in RESERVED and name != CONTROLLER:
        raise SettingsError(f"no site can be called {name!r}: choose another name")


def _refuse_others(name: str, folder: Path) -> None:
    """A folder has one member, and one request at a time."""
    for path in sorted(folder.glob("*-request.pem")):
        if path != request_in(folder, name):
            raise SettingsError(f"{folder} is another member's: {path.name} is there")
        written, _ = read_request(path)
        raise SettingsError(
            f"{path} waits for its answer (fingerprint {written.fingerprint}): send it, and then "
            "`tasuki enroll --install ANSWER`; to begin again, delete it, and what ends in "
            f"{NEXT} beside it if there is any"
        )
    for other in {settings_of(CONTROLLER), SITE} - {settings_of(name)}:
        if (folder / other).exists():
            raise SettingsError(f"{folder} is another member's: {other} is there")
    if (folder / SITE).exists() and "name" not in top_level(folder / SITE):
        raise SettingsError(f"{folder / SITE} names no site")


def _make_secrets(places: Places, *, suffix: str) -> None:
    """Those that are missing: whoever was stopped half-way goes on with what there is."""
    made = (
        (places.password, (new_password() + "\n").encode()),
        (places.seal_key, SealingKey.new().pem()),
        (places.key, SigningKey.new().pem()),
    )
    for path, content in made:
        files.add(beside(path, suffix), content, mode=PRIVATE)


def _write_request(
    name: str, *, federation: str, folder: Path, places: Places, suffix: str
) -> Asked:
    key_path, seal_path = beside(places.key, suffix), beside(places.seal_key, suffix)
    pem = files.content_of(key_path)
    key = SigningKey.load(pem, path=key_path)
    sealing = SealingKey.load(files.content_of(seal_path), path=seal_path)
    password = files.content_of(beside(places.password, suffix)).decode().strip()
    request = Request(
        federation=federation,
        name=name,
        certificate_request=certificate_request(name, pem),
        unseals=base64.b64encode(sealing.public).decode(),
        password_hash=password_hash(password),
        at=int(time.time()),
        renews=bool(suffix),
    )
    before = None
    if suffix:
        before = SigningKey.load(files.content_of(places.key), path=places.key)
    written = Written.of(request, key=key, previous=before)
    path = request_in(folder, name)
    files.put(path, written.armored(what=REQUEST), mode=PUBLIC)
    give_all(folder, path, *(beside(secret, suffix) for secret in places.secrets))
    return Asked(federation=federation, name=name, path=path, fingerprint=written.fingerprint)
