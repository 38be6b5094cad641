"""Where a member has what in its own folder, and what a renewal puts beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasuki.errors import SettingsError
from tasuki.settings.broker import OLD
from tasuki.settings.controller import read_controller
from tasuki.settings.site import read_site
from tasuki_cli.provision import files
from tasuki_cli.provision.contents import settings_of
from tasuki_cli.provision.layout import CLIENT, PASSWORD, ROSTER, SEAL_KEY, SITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a member has what; as its settings say once it has some."""

    password: Path
    key: Path
    seal_key: Path
    authority: Path
    roster: Path
    certificate: Path

    @property
    def secrets(self) -> tuple[Path, Path, Path]:
        return (self.password, self.seal_key, self.key)


def request_in(folder: Path, name: str) -> Path:
    return folder / f"{name}-request.pem"


def places_of(name: str, folder: Path) -> Places:
    """Of a member whose settings are there."""
    path = folder / settings_of(name)
    if not path.exists():
        raise SettingsError(
            f"there is no {path}: name with --out the folder that {name} runs from, or enroll "
            "without --renew"
        )
    if path.name == SITE:
        site = read_site(path, {})
        if site.name != name:
            raise SettingsError(f"{path} is of {site.name}, not of {name}")
        broker, security = site.broker, site.security
    else:
        controller = read_controller(path, {})
        broker, security = controller.broker, controller.security
    given = (security.key, security.seal_key, security.authority, security.roster)
    key, seal_key, authority, roster = given
    if key is None or seal_key is None or authority is None or roster is None:
        raise SettingsError(
            f"{path} has no [security] with keys to renew: have its kit issued again "
            f"(`tasuki provision --reissue {name}`), or enroll in a new folder"
        )
    return Places(
        password=broker.password_file,
        key=key,
        seal_key=seal_key,
        authority=authority,
        roster=roster,
        certificate=broker.cert or folder / CLIENT.certificate,
    )


def first_places(folder: Path, *, signer: str) -> Places:
    return Places(
        password=folder / PASSWORD,
        key=folder / CLIENT.key,
        seal_key=folder / SEAL_KEY,
        authority=folder / signer,
        roster=folder / ROSTER,
        certificate=folder / CLIENT.certificate,
    )


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def give_all(folder: Path, *paths: Path | None) -> None:
    """What root makes in a service's folder belongs to the service's user."""
    owner = files.owner_of(folder)
    for path in paths:
        for each in (path, None if path is None else beside(path, OLD)):
            if each is not None and each.exists():
                files.give(each, owner)
