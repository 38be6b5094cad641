"""`tasuki report`: a run as one page, and its numbers as CSV."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from tasuki.errors import LedgerBroken, SettingsError
from tasuki_cli.records import print_json
from tasuki_controller.documents import WrittenReport
from tasuki_report import Source, collect, write_csv, write_report


def report(
    run: str, source: Source, *, output: Path | None, folder: Path | None, as_json: bool
) -> None:
    """Write the page to `output` and the tables to `folder`, whichever is named.

    Raises:
        SettingsError: neither is, or what draws the page is not installed.
        LedgerBroken: all was written, and it says that the ledger does not hold.
    """
    if output is None and folder is None:
        raise SettingsError("say what to write: -o report.html, --csv FOLDER, or both")
    material = collect(source, run)
    size = None if output is None else write_report(material, output)
    tables = [] if folder is None else write_csv(material, folder)
    done = WrittenReport(
        run=run,
        path=None if output is None else str(output),
        size=size,
        tables=list(map(str, tables)),
        verified=material.verified is not None,
    )
    _say(done, folder, as_json=as_json)
    if material.broken:
        raise LedgerBroken(material.broken)


def _say(done: WrittenReport, folder: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    console = Console(soft_wrap=True, highlight=False)
    if done.path is not None and done.size is not None:
        console.print(Text(f"{done.path}: the report of {done.run}, {done.size / 2**20:.1f} MiB"))
    if done.tables:
        console.print(Text(f"{folder}: {len(done.tables)} tables of {done.run}"))
