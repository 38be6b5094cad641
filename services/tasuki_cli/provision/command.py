"""`tasuki provision`: read federation.toml, write the kits, tell what was done."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasuki.core.model import CONTROLLER
from tasuki.disk.writing import PUBLIC
from tasuki.errors import NotReplicated, SettingsError
from tasuki.settings.broker import read_secret
from tasuki.settings.federation import BROKER, FederationFile, check_management
from tasuki.settings.toml import read
from tasuki_cli.options import OVERLAP_DAYS
from tasuki_cli.provision import files
from tasuki_cli.provision.apply import apply
from tasuki_cli.provision.authority import Registry
from tasuki_cli.provision.definitions import write_definitions
from tasuki_cli.provision.kits import write_kits
from tasuki_cli.provision.layout import AUTHORITY, CA, ROSTER
from tasuki_cli.provision.management import Management
from tasuki_cli.provision.members import Members
from tasuki_cli.provision.placement import place
from tasuki_cli.provision.report import Report, show
from tasuki_cli.provision.revocation import Revocations, check_reissue, check_revoke, without


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """Who may create users and queues on the broker.

    Attributes:
        url: of the management API; wins over federation.toml's.
        ctl: what the broker's own commands are run through; None for those of this machine.
    """

    user: str
    password_file: Path | None
    url: str | None = None
    ctl: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What provisioning does to those who have a kit already.

    Attributes:
        reissue: who gets a new password and a new certificate.
        revoke: the site that is shut out.
        overlap_days: how long the keys and the certificate stay good that a renewal replaces.
        owner: whose the files of kits are where containers run.
    """

    reissue: str | None = None
    revoke: str | None = None
    overlap_days: int = OVERLAP_DAYS
    owner: files.Owner = field(default_factory=files.default_owner)

    @classmethod
    def from_options(
        cls,
        *,
        reissue: str | None,
        revoke: str | None,
        owner: str | None,
        overlap_days: int = OVERLAP_DAYS,
    ) -> Changes:
        """Raises SettingsError: this is no owner."""
        changes = cls(reissue=reissue, revoke=revoke, overlap_days=overlap_days)
        if owner is None:
            return changes
        if re.fullmatch(r"\d+(:\d+)?", owner) is None:
            raise SettingsError(f"--owner {owner}: give numbers, as in 10001:10001")
        uid, _, gid = owner.partition(":")
        return replace(changes, owner=files.Owner(uid=int(uid), gid=int(gid or uid)))

    @property
    def until(self) -> datetime | None:
        """How long the certificate that is replaced stays good; None: no longer.

        A broker's is replaced where it is used, and who has the old one is no broker of ours.
        """
        if self.reissue == BROKER or not self.overlap_days:
            return None
        return datetime.now(UTC) + timedelta(days=self.overlap_days)

    def check(self, federation: FederationFile, out: Path) -> None:
        """Raises SettingsError: nobody of that name can be changed like this."""
        if self.reissue is not None:
            check_reissue(self.reissue, federation)
        if self.revoke is not None:
            check_revoke(self.revoke, out)


def run_provision(
    federation_toml: Path,
    *,
    out: Path,
    admin: Admin | None = None,
    changes: Changes | None = None,
    as_json: bool = False,
) -> int:
    """Provision and tell what was done; returns the exit code.

    Args:
        admin: applies it to the running broker too.
    """
    report = provision(federation_toml, out=out, admin=admin, changes=changes)
    if as_json:
        sys.stdout.write(json.dumps(asdict(report)) + "\n")
    else:
        show(report)
    return 0 if report.is_whole else NotReplicated.exit_code


def provision(
    federation_toml: Path,
    *,
    out: Path,
    admin: Admin | None = None,
    changes: Changes | None = None,
) -> Report:
    """Write what is missing under `out`, and on the broker too if there is an admin.

    Raises:
        SettingsError: a file cannot be used, or the broker's users are not those of `out`.
        StorageError: the folder cannot be written.
        TransportError: the broker cannot be reached or refuses.
    """
    changes = changes or Changes()
    listed = read(federation_toml, FederationFile)
    # Before anything is written: a wrong option should leave no folder behind.
    changes.check(listed, out)
    password = None if admin is None else _check_admin(listed, admin)
    files.make_folder(out, mode=0o755)
    files.add(out / ".gitignore", "*\n", mode=PUBLIC)  # passwords belong in no repository
    registry = _registry(listed, out)
    revocations = Revocations(out)
    if changes.revoke is not None:
        revocations.shut_out_site(changes.revoke, registry=registry)
    if changes.reissue is not None:
        revocations.take_back(changes.reissue, registry=registry, until=changes.until)
    federation = without(listed, revocations.shut_out)
    members = _members(listed, out, registry, changes)
    if members is not None:
        members.shut_out(revocations.shut_out)
    kits = write_kits(federation, out, registry=registry, members=members, owner=changes.owner)
    if registry is not None and listed.has_own_authority:
        registry.write_revocations(revocations.serials)
    document, changed = write_definitions(federation, kits.passwords, out)
    report = Report(
        federation=federation.name,
        sites=federation.sites,
        out=str(out),
        created=[name for made in (kits, registry, members) if made for name in made.created],
        changed=changed + ([] if members is None else members.changed),
        removed=kits.removed,
        revoked=revocations.shut_out,
        notes=kits.notes + ([] if registry is None else registry.notes),
        applied=admin is not None,
        roster=None if members is None else members.number,
    )
    _give(report, changes.owner)
    _note_listed(listed, report)
    _note_renewed(changes, report)
    if admin is not None and password is not None:
        management = _management(listed, admin, password, out)
        done = apply(
            document,
            kits.passwords,
            management,
            reissued=changes.reissue,
            disconnect=not changes.overlap_days,
            shut_out=revocations.shut_out,
        )
        report.notes.extend(done.differences)
        report.removed[:] = sorted({*report.removed, *done.unlisted} - {*report.revoked})
        count = listed.broker.replicas
        placement = place(document, management, count=count, prefix=admin.ctl)
        return replace(report, replaced=done.replaced, placement=placement)
    return report


def _registry(federation: FederationFile, out: Path) -> Registry | None:
    """It signs certificates, or the roster, or both."""
    is_needed = federation.has_own_authority or federation.has_roster
    return Registry(federation, out) if is_needed else None


def _members(
    federation: FederationFile, out: Path, registry: Registry | None, changes: Changes
) -> Members | None:
    if registry is None or not federation.has_roster:
        return None
    days = changes.overlap_days
    return Members(federation, out, registry=registry, overlap_days=days, renewed=changes.reissue)


def _give(report: Report, owner: files.Owner) -> None:
    """What containers read has to belong to their user; a kit that is there keeps its owner."""
    out = Path(report.out)
    written = [*report.created, *report.changed]
    for kit in [*report.sites, CONTROLLER, BROKER]:
        is_new = f"{kit}/.env" in report.created
        paths = [out / name for name in written if name.startswith(f"{kit}/")]
        whose = owner if is_new else files.owner_of(out / kit)
        for path in [out / kit, *((out / kit).rglob("*") if is_new else paths)]:
            files.give(path, whose)


def _note_renewed(changes: Changes, report: Report) -> None:
    if changes.reissue is None:
        return
    parts = ["hand its folder over again"]
    if not report.applied:
        parts.append("the broker knows it once it has the new files of broker/, or with --apply")
    elif changes.overlap_days:
        parts.append(
            "do it soon: runs go on while its connection holds, and one that breaks is not made "
            "again with the old password"
        )
    if report.roster is not None and changes.reissue != BROKER:
        parts.append(f"first hand {CONTROLLER}/{ROSTER} to the controller, which tells the sites")
    report.notes.append(f"{changes.reissue} has new secrets: {'; '.join(parts)}")


def _note_listed(federation: FederationFile, report: Report) -> None:
    for site in report.revoked:
        if site in federation.sites:
            report.notes.append(
                f"{site} is shut out and still listed: take it out of the list of sites, or let it "
                f"in again with --reissue {site}"
            )


def _check_admin(federation: FederationFile, admin: Admin) -> str:
    if admin.password_file is None:
        raise SettingsError("--apply needs --admin-password-file: the administrator's password")
    try:
        check_management(admin.url or federation.management_url)
    except ValueError as exc:
        raise SettingsError(f"--management: {exc}") from exc
    return read_secret(admin.password_file, what="--admin-password-file")


def _management(federation: FederationFile, admin: Admin, password: str, out: Path) -> Management:
    broker = federation.broker
    ca = out / AUTHORITY / CA if federation.has_own_authority else broker.ca
    url = admin.url or federation.management_url
    return Management(url, user=admin.user, password=password, ca=ca)
