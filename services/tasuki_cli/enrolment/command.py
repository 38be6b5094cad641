"""`tasuki enroll`: asks or installs, and tells what to do next."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from tasuki_cli.enrolment.asking import Asked, ask, renew
from tasuki_cli.enrolment.installing import Installed, install


def run_ask(name: str, *, federation: str | None, folder: Path, as_json: bool) -> None:
    """Make keys and a request, and show its fingerprint.

    Args:
        federation: None: the member has keys of one, and renews them.
    """
    if federation is None:
        asked = renew(name, folder=folder)
    else:
        asked = ask(name, federation=federation, folder=folder)
    typer.echo(_document(asked) if as_json else _said(asked))


def run_install(answer: Path, *, folder: Path, as_json: bool) -> None:
    """Take an answer, and show whom the member believes from now on."""
    installed = install(answer, folder=folder)
    if as_json:
        typer.echo(json.dumps(_values(installed)))
        return
    for path in installed.created:
        typer.echo(f"wrote {path}")
    typer.echo(
        f"{installed.name} is a member of {installed.federation}, by roster {installed.roster}\n"
        f"fingerprint of the authority: {installed.authority}\n"
        "compare it by telephone with whoever provisions before you start; then\n"
        "start the service, or start it again if it runs: it takes the new keys at its next start"
    )


def _said(asked: Asked) -> str:
    return (
        f"wrote {asked.path}\n"
        f"fingerprint of this request: {asked.fingerprint}\n"
        f"send the file to whoever provisions {asked.federation}, and read the fingerprint out to "
        "them by telephone;\n"
        f"then `tasuki enroll --install ANSWER --out {asked.path.parent}`. What else is in this "
        "folder stays here."
    )


def _document(asked: Asked) -> str:
    return json.dumps(
        {
            "federation": asked.federation,
            "name": asked.name,
            "request": str(asked.path),
            "fingerprint": asked.fingerprint,
        }
    )


def _values(installed: Installed) -> dict[str, object]:
    return {
        "federation": installed.federation,
        "name": installed.name,
        "authority": installed.authority,
        "roster": installed.roster,
        "created": installed.created,
    }
