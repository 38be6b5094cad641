"""Shut one site out, or give one user a new password and a new certificate.

What was taken back is recorded, so that provisioning again does not let it in again by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from tasuki.core.model import CONTROLLER
from tasuki.disk.errors import disk_errors
from tasuki.disk.writing import PUBLIC
from tasuki.errors import SettingsError
from tasuki.settings.federation import BROKER, FederationFile
from tasuki_cli.provision import files
from tasuki_cli.provision.authority import Registry
from tasuki_cli.provision.enrolled import Enrolled
from tasuki_cli.provision.layout import ENROLLED, PASSWORD, REVOKED, SEAL_KEY, SITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """What one user lost.

    Attributes:
        serial: of the certificate, as hexadecimal digits; empty if there was none.
        is_shut_out: it got nothing new instead.
        until: when the certificate stops being good; empty: at once.
    """

    name: str
    serial: str
    at: str
    is_shut_out: bool
    until: str = ""

    def is_over(self, now: datetime) -> bool:
        return not self.until or datetime.fromisoformat(self.until) <= now


class Revocations:
    """The record in `out/revoked`.

    Raises:
        SettingsError: what is there is no such record.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._path = out / REVOKED / "revoked.json"
        self._all = self._read()

    @property
    def shut_out(self) -> list[str]:
        return sorted({entry.name for entry in self._all if entry.is_shut_out})

    @property
    def serials(self) -> list[int]:
        """Of the certificates that are not good any more."""
        now = datetime.now(UTC)
        return [int(each.serial, 16) for each in self._all if each.serial and each.is_over(now)]

    def shut_out_site(self, site: str, *, registry: Registry | None, enrolled: Enrolled) -> None:
        """Record that a site is out, and move its kit away, or its requests."""
        self._all = [replace(e, until="") if e.name == site else e for e in self._all]
        kit = self._out / site
        serials = self._serials_of(site, registry, enrolled)
        for serial in serials or [None]:
            entry = self._record(site, serial, is_shut_out=True)
        target = self._out / REVOKED / f"{site}-{entry.serial[:16] or entry.at.replace(':', '')}"
        if kit.is_dir():
            files.move_folder(kit, target)
        if enrolled.latest(site) is not None:
            enrolled.move_away(site, target.with_name(f"{target.name}-{ENROLLED}"))

    def replace_all(
        self, user: str, *, registry: Registry | None, enrolled: Enrolled, until: datetime | None
    ) -> None:
        """What a member has made itself takes the place of all that it had, which is good so long.

        Call it before that is certified.
        """
        self._let_in(user)
        for serial in self._serials_of(user, registry, enrolled):
            self._record(user, serial, is_shut_out=False, until=until)

    def _serials_of(
        self, user: str, registry: Registry | None, enrolled: Enrolled
    ) -> Sequence[int | None]:
        """Of the certificates that it has and that were not taken back."""
        of_kit = None if registry is None else registry.serial_of(user)
        there = [*enrolled.serials(user), *([] if of_kit is None else [of_kit])]
        known = {entry.serial for entry in self._all if entry.name == user}
        return [serial for serial in there if f"{serial:x}" not in known]

    def take_back(
        self, user: str, *, registry: Registry | None, until: datetime | None = None
    ) -> None:
        """Let a kit have neither password nor keys nor certificate, so that it gets new ones.

        Args:
            until: the certificate that it had is good so long, as its keys are; None: no longer.
        """
        self._let_in(user)
        serial = None if registry is None else registry.serial_of(user)
        self._record(user, serial, is_shut_out=False, until=until)
        if registry is not None:
            registry.withdraw(user)
        files.set_aside(self._out / user / PASSWORD, self._out / user / SEAL_KEY)

    def _let_in(self, user: str) -> None:
        self._all = [replace(e, is_shut_out=False) if e.name == user else e for e in self._all]
        if any(entry.name == user for entry in self._all):
            self._write()

    def _record(
        self,
        user: str,
        serial: int | None,
        *,
        is_shut_out: bool,
        until: datetime | None = None,
    ) -> Revoked:
        entry = Revoked(
            name=user,
            serial="" if serial is None else f"{serial:x}",
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            is_shut_out=is_shut_out,
            until="" if until is None else until.isoformat(timespec="seconds"),
        )
        self._all.append(entry)
        self._write()
        return entry

    def _write(self) -> None:
        files.make_folder(self._path.parent)
        entries = [asdict(one) for one in self._all]
        files.put(self._path, json.dumps(entries, indent=2) + "\n", mode=PUBLIC)

    def _read(self) -> list[Revoked]:
        if not self._path.exists():
            return []
        try:
            with disk_errors(self._path):
                return TypeAdapter(list[Revoked]).validate_json(self._path.read_bytes())
        except ValueError as exc:
            raise SettingsError(f"{self._path} is not what `tasuki provision` writes") from exc


def without(federation: FederationFile, shut_out: Iterable[str]) -> FederationFile:
    """The federation as it is with some sites shut out."""
    out = set(shut_out)
    sites = [site for site in federation.sites if site not in out]
    return federation.model_copy(update={"sites": sites})


def check_reissue(user: str, federation: FederationFile) -> None:
    """Raises SettingsError: nobody of that name has a password or a certificate of ours."""
    known = [*federation.sites, CONTROLLER]
    if federation.has_own_authority:
        known.append(BROKER)
    if user not in known:
        raise SettingsError(f"--reissue {user}: known here are {', '.join(known)}")


def check_revoke(site: str, out: Path) -> None:
    """Raises SettingsError: there is no such site that could be shut out."""
    is_plain = Path(site).name == site and site != CONTROLLER
    is_enrolled = is_plain and (out / ENROLLED / site).is_dir()
    if not is_enrolled and not (is_plain and (out / site / SITE).is_file()):
        raise SettingsError(f"--revoke {site}: there is no kit of a site of this name in {out}")
