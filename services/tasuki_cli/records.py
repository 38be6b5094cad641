"""`tasuki runs`, `ledger` and `export`: what a data folder has to say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tasuki.core.report import TurnRefused
from tasuki.core.run import RunState, TurnFailed, TurnFinished
from tasuki.ledger.sqlite import Row
from tasuki.wire.weights import verify_digest
from tasuki_cli.data_folder import DataFolder
from tasuki_controller import history


def show_runs(data: Path, *, as_json: bool) -> None:
    """A line for each run."""
    states = DataFolder(data).runs()
    rows = [_run_row(state) for state in states.values()]
    if as_json:
        _print_json({"runs": rows})
        return
    table = Table("run", "status", "rounds", "turns", "skipped", "digest", box=None)
    for row in rows:
        table.add_row(
            *(str(row[key]) for key in ("run", "status", "rounds", "turns", "skipped")),
            str(row["digest"])[:23],
        )
    Console().print(table)


def show_ledger(run: str, data: Path, *, as_json: bool) -> None:
    """A line for each row."""
    rows = DataFolder(data).rows(run)
    if as_json:
        _print_json({"run": run, "rows": [_ledger_row(row) for row in rows]})
        return
    table = Table("row", "at (UTC)", "what", "outcome", "hash", box=None)
    for row in rows:
        shown = _ledger_row(row)
        table.add_row(
            str(row.seq), str(shown["at"]), str(shown["what"]), row.outcome, row.hash[7:23]
        )
    Console().print(table)


def verify(run: str, data: Path, *, as_json: bool) -> None:
    """Raises LedgerBroken: naming the first row or file that is not what was recorded."""
    rows, files = DataFolder(data).verify(run)
    if as_json:
        _print_json({"run": run, "rows": rows, "checkpoints": files, "verified": True})
    else:
        Console().print(f"{run}: {rows} rows and {files} checkpoints are as they were recorded")


def export(run: str, output: Path, data: Path, *, as_json: bool) -> None:
    """Copy the best checkpoint."""
    from tasuki_site.model_files import export as write

    source = DataFolder(data).best(run)
    write(source, output)
    digest = verify_digest(source)
    if as_json:
        _print_json({"run": run, "path": str(output), "digest": digest})
    else:
        Console().print(f"{output}: {source.stem} of {run}, {digest}", soft_wrap=True)


def _run_row(state: RunState) -> dict[str, object]:
    return {
        "run": state.plan.run,
        "status": state.status.value,
        "rounds": f"{state.round + 1}/{state.plan.task.rounds}",
        "turns": state.turns,
        "skipped": len(state.skipped),
        "digest": state.weights.digest,
        "reason": state.reason,
    }


def _ledger_row(row: Row) -> dict[str, object]:
    return {
        "seq": row.seq,
        "at": datetime.fromtimestamp(row.at, UTC).isoformat(timespec="milliseconds"),
        "what": _described(history.decode_event(row)),
        "outcome": row.outcome,
        "hash": row.hash,
    }


def _described(event: object) -> str:
    match event:
        case TurnFinished(record=record):
            return f"{record.id}: {record.site} {record.received[:15]} -> {record.sent.digest[:15]}"
        case TurnFailed(id=id, site=site, error=error):
            return f"{id}: {site} failed with {error}"
        case TurnRefused(id=id, site=site):
            return f"{id}: refused by {site}"
    return type(event).__name__


def _print_json(content: Mapping[str, object]) -> None:
    Console(soft_wrap=True, highlight=False).out(json.dumps(content), highlight=False)
