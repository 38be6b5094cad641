"""`tasuki provision`: read federation.toml, write the kits, tell what was done."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from tasuki.errors import SettingsError
from tasuki.settings.broker import read_secret
from tasuki.settings.federation import FederationFile, check_management
from tasuki.settings.toml import read
from tasuki_cli.provision import files
from tasuki_cli.provision.apply import apply
from tasuki_cli.provision.definitions import write_definitions
from tasuki_cli.provision.kits import write_kits
from tasuki_cli.provision.management import Management


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """Who may create users and queues on the broker; `url` wins over federation.toml's."""

    user: str
    password_file: Path | None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was done; nothing secret.

    Attributes:
        created: files that were not there, seen from `out`.
        changed: files of the broker that are new or other than before.
        removed: sites that are no longer listed but still have a kit or queues.
        notes: what does not fit federation.toml and was left as it is.
        applied: whether a running broker has it all.
    """

    federation: str
    sites: list[str]
    out: str
    created: list[str]
    changed: list[str]
    removed: list[str]
    notes: list[str]
    applied: bool


def run_provision(
    federation_toml: Path, *, out: Path, admin: Admin | None = None, as_json: bool = False
) -> int:
    """Provision and tell what was done; returns the exit code.

    Args:
        admin: applies it to the running broker too.
    """
    report = provision(federation_toml, out=out, admin=admin)
    if as_json:
        sys.stdout.write(json.dumps(asdict(report)) + "\n")
    else:
        _show(report)
    return 0


def provision(federation_toml: Path, *, out: Path, admin: Admin | None = None) -> Report:
    """Write what is missing under `out`, and on the broker too if there is an admin.

    Raises:
        SettingsError: a file cannot be used, or the broker's users are not those of `out`.
        StorageError: the folder cannot be written.
        TransportError: the broker cannot be reached or refuses.
    """
    federation = read(federation_toml, FederationFile)
    # Before anything is written: a wrong option should leave no folder behind.
    management = None if admin is None else _management(federation, admin)
    files.make_folder(out, mode=0o755)
    files.add(out / ".gitignore", "*\n", mode=files.PUBLIC)  # passwords belong in no repository
    kits = write_kits(federation, out)
    document, changed = write_definitions(federation, kits.passwords, out)
    notes, removed = kits.notes, kits.removed
    if management is not None:
        differences, unlisted = apply(document, kits.passwords, management)
        notes, removed = notes + differences, removed + unlisted
    return Report(
        federation=federation.name,
        sites=federation.sites,
        out=str(out),
        created=kits.created,
        changed=changed,
        removed=sorted(set(removed)),
        notes=notes,
        applied=management is not None,
    )


def _management(federation: FederationFile, admin: Admin) -> Management:
    if admin.password_file is None:
        raise SettingsError("--apply needs --admin-password-file: the administrator's password")
    password = read_secret(admin.password_file, what="--admin-password-file")
    url = admin.url or federation.broker.management
    try:
        check_management(url)
    except ValueError as exc:
        raise SettingsError(f"--management {exc}") from exc
    return Management(url, user=admin.user, password=password, ca=federation.broker.ca)


def _show(report: Report) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for name in [*report.created, *report.changed]:
        console.print(f"wrote {report.out}/{name}")
    for site in report.removed:
        console.print(
            f"{site} is no longer listed, but its kit and its queues stay; to shut it out: "
            f"rabbitmqctl delete_user {site}",
            style="yellow",
        )
    for note in report.notes:
        console.print(f"note: {note}", style="yellow")
    what = "nothing new" if not (report.created or report.changed) else "done"
    where = f"kits in {report.out}" + (" and on the broker" if report.applied else "")
    sites = ", ".join(report.sites)
    console.print(f"{report.federation}: {what}; {sites}: {where}")
