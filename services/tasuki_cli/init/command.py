"""Write a template's files into a folder, and say what to do with them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import typer

from tasuki.disk.errors import disk_errors
from tasuki.errors import SettingsError
from tasuki_cli.init.catalogue import TEMPLATES, template_named


def list_templates(*, as_json: bool) -> None:
    """Print them, one a line."""
    if as_json:
        rows = [{"name": t.name, "about": t.about, "needs": t.needs} for t in TEMPLATES.values()]
        typer.echo(json.dumps({"templates": rows}))
        return
    for template in TEMPLATES.values():
        needs = f"; pip install {template.needs}" if template.needs else ""
        typer.echo(f"{template.name:<16}{template.about}{needs}")


def run_init(folder: Path, *, template: str, as_json: bool) -> None:
    """Write the files.

    Raises:
        SettingsError: there is no such template, or a file of that name is there.
        StorageError: they cannot be written.
    """
    chosen = template_named(template)
    files = chosen.files(run=_run_name(folder))
    _refuse_to_overwrite(folder, files)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        with disk_errors(folder / name), (folder / name).open("x", encoding="utf-8") as file:
            file.write(text)
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "files": list(files)}))
        return
    typer.echo(f"wrote {', '.join(files)} to {folder}")
    if chosen.needs:
        typer.echo(f"it needs: pip install {chosen.needs}")
    typer.echo(f"train at once: tasuki simulate {shlex.quote(str(folder / 'run.toml'))}")


def _refuse_to_overwrite(folder: Path, files: dict[str, str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder} is a file: name a folder")
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise SettingsError(
            f"{folder} has {', '.join(there)} already, and nothing was written: name another folder"
        )


def _run_name(folder: Path) -> str:
    """A name for the run, from the folder's: what a name cannot have becomes a hyphen."""
    plain = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    return plain[:40] or "run"
