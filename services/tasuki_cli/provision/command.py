"""`tasuki provision`: read federation.toml, write the kits, tell what was done."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tasuki.core.model import CONTROLLER
from tasuki.disk.writing import PUBLIC
from tasuki.errors import NotReplicated, SettingsError
from tasuki.settings.broker import read_secret
from tasuki.settings.federation import BROKER, FederationFile, check_management
from tasuki.settings.toml import read
from tasuki_cli.provision import files
from tasuki_cli.provision.apply import apply
from tasuki_cli.provision.books import Books
from tasuki_cli.provision.changes import Changes
from tasuki_cli.provision.definitions import known_hashes, write_definitions
from tasuki_cli.provision.layout import AUTHORITY, CA, ROSTER
from tasuki_cli.provision.management import Management
from tasuki_cli.provision.placement import place
from tasuki_cli.provision.report import Report, show
from tasuki_cli.provision.signing import Petition, petitions

Compare = Callable[[Sequence[Petition]], None]


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


def run_provision(
    federation_toml: Path,
    *,
    out: Path,
    admin: Admin | None = None,
    changes: Changes | None = None,
    compare: Compare | None = None,
    as_json: bool = False,
) -> int:
    """Provision and tell what was done; returns the exit code.

    Args:
        admin: applies it to the running broker too.
        compare: is shown the requests before any is signed; raises if one shall not be.
    """
    report = provision(federation_toml, out=out, admin=admin, changes=changes, compare=compare)
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
    compare: Compare | None = None,
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
    asked = petitions(changes.sign, listed)
    password = None if admin is None else _check_admin(listed, admin)
    files.make_folder(out, mode=0o755)
    files.add(out / ".gitignore", "*\n", mode=PUBLIC)  # passwords belong in no repository
    books = Books(listed, out, changes)
    books.check(asked)
    if asked and compare is not None:
        compare(asked)
    books.change(asked)
    kits = books.write_kits()
    answered = books.answer(asked)
    before = known_hashes(out)
    federation = books.federation
    document, changed = write_definitions(federation, kits.passwords, out, hashes=kits.hashes)
    report = Report(
        federation=federation.name,
        sites=federation.sites,
        out=str(out),
        created=kits.created + books.created,
        changed=changed + books.changed,
        removed=kits.removed,
        revoked=books.revocations.shut_out,
        awaited=kits.awaited,
        signed=answered,
        authority=books.fingerprint,
        notes=kits.notes + books.notes,
        applied=admin is not None,
        roster=books.roster,
    )
    _give(report, changes.owner)
    _note_listed(listed, report)
    _note_renewed(changes, report)
    if admin is not None and password is not None:
        management = _management(listed, admin, password, out)
        done = apply(
            document,
            {**kits.passwords, **kits.earlier},
            management,
            reissued=changes.reissue,
            disconnect=not changes.overlap_days,
            hashes={
                user: {*books.enrolled.hashes(user), before.get(user, "")} for user in kits.hashes
            },
            shut_out=books.revocations.shut_out,
        )
        report.notes.extend(done.differences)
        report.removed[:] = sorted({*report.removed, *done.unlisted} - {*report.revoked})
        count = listed.broker.replicas
        placement = place(document, management, count=count, prefix=admin.ctl)
        return replace(report, replaced=done.replaced, placement=placement)
    return report


def _give(report: Report, owner: files.Owner) -> None:
    """What containers read has to belong to their user; a kit that is there keeps its owner."""
    out = Path(report.out)
    written = [*report.created, *report.changed]
    for kit in [*report.sites, CONTROLLER, BROKER]:
        if not (out / kit).is_dir():
            continue  # it has enrolled
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
