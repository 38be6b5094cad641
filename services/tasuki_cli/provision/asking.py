"""Before a request is signed, somebody says that its fingerprint is the one that was sent."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from tasuki.errors import SettingsError
from tasuki_cli.provision.signing import Petition


def ask_whether_compared(petitions: Sequence[Petition]) -> None:
    """On a terminal; where nobody can answer, an option has to.

    Raises:
        SettingsError: one was not compared, or is another.
    """
    if not sys.stdin.isatty():
        all_of_them = "; ".join(f"{one.name}: {one.written.fingerprint}" for one in petitions)
        raise SettingsError(
            "compare these fingerprints with those that the members read out to you, and give "
            f"--yes; nothing was signed. {all_of_them}"
        )
    for one in petitions:
        typer.echo(f"{one.path}: {one.name}, fingerprint {one.written.fingerprint}", err=True)
        if not typer.confirm(f"Does {one.name} have the same, by telephone?", err=True):
            raise SettingsError(
                f"{one.path} was not signed, nor any other: somebody else may have sent it"
            )
