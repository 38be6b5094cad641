"""`tasuki runs`, `ledger` and `export`: what a data folder or a controller has to say."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasuki.observe.printable import printable
from tasuki.wire.strict_json import json_text
from tasuki.wire.weights import verify_digest
from tasuki_controller import views
from tasuki_controller.account import ledger_rows
from tasuki_controller.data_folder import DataFolder

View = Mapping[str, Any]  # Any: JSON


class Archive(Protocol):
    """Where runs are on record."""

    def runs(self) -> Sequence[View]:
        """A line for each run."""

    def rows(self, run: str) -> Sequence[View]:
        """The ledger of a run. Raises UnknownRun."""

    def verify(self, run: str) -> tuple[int, int]:
        """How many rows and checkpoints hold. Raises LedgerBroken."""

    def copy_best(self, run: str, folder: Path) -> Path:
        """A file with the weights to use, perhaps in `folder`. Raises UnknownRun."""


class LocalArchive:
    """A data folder on this machine."""

    def __init__(self, data: Path) -> None:
        self._data = DataFolder(data)

    def runs(self) -> Sequence[View]:
        return [views.run_row(state) for state in self._data.runs().values()]

    def rows(self, run: str) -> Sequence[View]:
        return ledger_rows(self._data.rows(run))

    def verify(self, run: str) -> tuple[int, int]:
        return self._data.verify(run)

    def copy_best(self, run: str, folder: Path) -> Path:
        return self._data.best(run)


def show_runs(archive: Archive, *, as_json: bool) -> None:
    """A line for each run."""
    rows = archive.runs()
    if as_json:
        print_json({"runs": list(rows)})
        return
    table = Table("run", "status", "rounds", "turns", "skipped", "digest", box=None)
    table.add_column("reason", overflow="fold")  # however long its words are
    for row in rows:
        # The reason is free text of a site's, not markup.
        table.add_row(
            *(str(row[key]) for key in ("run", "status", "rounds", "turns", "skipped")),
            str(row["digest"])[:23],
            Text(printable(str(row["reason"]))),
        )
    Console().print(table)


def show_ledger(run: str, archive: Archive, *, as_json: bool) -> None:
    """A line for each row."""
    rows = archive.rows(run)
    if as_json:
        print_json({"run": run, "rows": list(rows)})
        return
    table = Table("row", "at (UTC)", "what", "led to", "hash", box=None)
    for row in rows:
        # What a site called its error is text of the site's, not markup.
        what, led_to = str(row["what"]), "; ".join(row["led_to"]) or str(row["outcome"])
        said = (Text(printable(text)) for text in (what, led_to))
        table.add_row(str(row["seq"]), str(row["at"]), *said, str(row["hash"])[7:23])
    Console().print(table)


def verify(run: str, archive: Archive, *, as_json: bool) -> None:
    """Raises LedgerBroken: naming the first row or file that is not what was recorded."""
    rows, files = archive.verify(run)
    if as_json:
        print_json({"run": run, "rows": rows, "checkpoints": files, "verified": True})
    else:
        Console().print(f"{run}: {rows} rows and {files} checkpoints are as they were recorded")


def export(run: str, output: Path, archive: Archive, *, as_json: bool) -> None:
    """Copy the best checkpoint."""
    from tasuki_site.model_files import export as write

    with tempfile.TemporaryDirectory(prefix="tasuki-") as folder:
        source = archive.copy_best(run, Path(folder))
        write(source, output)
        digest = verify_digest(source)
    if as_json:
        print_json({"run": run, "path": str(output), "digest": digest})
    else:
        Console().print(f"{output}: {source.stem} of {run}, {digest}", soft_wrap=True)


def print_json(content: View) -> None:
    """One object on one line."""
    Console(soft_wrap=True, highlight=False).out(json_text(content), highlight=False)
