"""`tasuki runs`, `ledger` and `export`: what a data folder or a controller has to say."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tasuki.clock import SystemClock
from tasuki.core.run import OVER
from tasuki.errors import LedgerBroken, SettingsError
from tasuki.ledger.sqlite import Row
from tasuki.observe.printable import headline, printable
from tasuki.weights.digest import verify_digest
from tasuki_controller import documents, history
from tasuki_controller.checkpoints import BEST, LATEST, Kept
from tasuki_controller.data_folder import DataFolder, verified_ledger
from tasuki_controller.history import Step
from tasuki_controller.ledger_in_words import ledger_rows, replayed_rows
from tasuki_controller.removal import remove
from tasuki_controller.scoreboard import scores_of
from tasuki_controller.turn_now import doing
from tasuki_controller.turn_rows import turn_table


class Ledgers(Protocol):
    """Where the ledgers of runs are."""

    def rows(self, run: str) -> Sequence[documents.LedgerRow]:
        """The ledger of a run. Raises UnknownRun."""

    def kept_rows(self, run: str) -> Iterator[Row]:
        """Its rows as they were written. Raises UnknownRun."""


class Archive(Ledgers, Protocol):
    """Where runs are on record."""

    def runs(self, *, even_removed: bool = False) -> Sequence[documents.RunRow]:
        """A line for each run."""

    def turns(self, run: str) -> documents.TurnTable:
        """Every turn of a run. Raises UnknownRun."""

    def scores(self, run: str, *, metric: str | None, mode: str | None) -> documents.Scores:
        """By one metric or all; `mode`: max or min. Raises UnknownRun, SettingsError."""

    def verify(self, run: str) -> documents.VerifiedLedger:
        """How many rows and checkpoints hold. Raises LedgerBroken."""

    def remove(self, run: str, *, stop: bool) -> documents.RemovedRun:
        """Let its weights go; `stop`: it ends first. Raises UnknownRun, RunUnderWay."""

    def copy_weights(self, run: str, folder: Path, *, round: int | None) -> Kept:
        """A file with the weights to use, perhaps in `folder`; `round`: those of its end.

        Raises UnknownRun.
        """


class LocalArchive:
    """A data folder on this machine; also what a report is made from."""

    def __init__(self, data: Path) -> None:
        self._data = DataFolder(data)
        self._newest: list[Step] = []  # of the run that was asked for last

    def runs(self, *, even_removed: bool = False) -> Sequence[documents.RunRow]:
        rows = map(documents.run_row, self._data.runs().values())
        return [row for row in rows if even_removed or not row.removed]

    def submitted(self, run: str) -> documents.SubmittedRun:
        steps = self._steps(run)
        return documents.submitted_run(self._data.state(steps), [step.row for step in steps])

    def standing(self, run: str) -> documents.Standing:
        steps = self._steps(run)
        return documents.standing(self._data.state(steps), steps)

    def rows(self, run: str) -> Sequence[documents.LedgerRow]:
        with suppress(LedgerBroken):  # `--verify` is for that; here, what is there is shown
            return replayed_rows(self._steps(run))
        return ledger_rows(self._data.rows(run))

    def kept_rows(self, run: str) -> Iterator[Row]:
        return self._data.kept_rows(run)

    def turns(self, run: str) -> documents.TurnTable:
        steps = self._steps(run)
        return turn_table(self._data.state(steps), history.records(steps), history.merges(steps))

    def scores(self, run: str, *, metric: str | None, mode: str | None) -> documents.Scores:
        steps = self._steps(run)
        state, records = self._data.state(steps), history.records(steps)
        return scores_of(state, records, history.evaluations(steps), metric=metric, mode=mode)

    def verify(self, run: str) -> documents.VerifiedLedger:
        found = self._data.verify(run)
        self._newest = found.steps
        return verified_ledger(run, found)

    def _steps(self, run: str) -> list[Step]:
        """Its rows, replayed; not again as long as there are no more of them."""
        newest = self._newest[-1].row if self._newest else None
        if newest is None or (newest.run, (newest.seq, newest.hash)) != (
            run,
            self._data.newest(run),
        ):
            self._newest = self._data.steps(run)
        return self._newest

    def remove(self, run: str, *, stop: bool) -> documents.RemovedRun:
        return remove(self._data, run, SystemClock(), stop=stop)

    def copy_weights(self, run: str, folder: Path, *, round: int | None) -> Kept:
        return self._data.checkpoint(run) if round is None else self._data.checkpoint_of(run, round)


def show_runs(archive: Archive, *, even_removed: bool = False, as_json: bool) -> None:
    """A line for each run."""
    rows = archive.runs(even_removed=even_removed)
    if as_json:
        print_json(documents.RunList(runs=list(rows)))
        return
    table = Table("run", "status", "rounds", "turns", "skipped", "digest", box=None)
    table.add_column("reason", overflow="fold")  # however long its words are
    for row in rows:
        # The reason is free text of a site's, not markup.
        table.add_row(
            *map(str, (row.run, row.status, row.rounds, row.turns, row.skipped)),
            row.digest[:23],
            Text("removed" if row.removed else printable(headline(row.reason))),
        )
        for lane in row.lanes if row.status not in OVER else ():
            turn = f"turn {min(lane.hop + 1, lane.hops)}/{lane.hops}"
            does = lane.holder and (doing(lane.holder, lane.phase) or f"{lane.holder} has it")
            table.add_row(f"  lane {lane.lane}", lane.status, turn, "", "", "", Text(does or ""))
    Console().print(table)


def show_ledger(run: str, archive: Ledgers, *, as_json: bool) -> None:
    """A line for each row."""
    rows = archive.rows(run)
    if as_json:
        print_json(documents.Ledger(run=run, rows=list(rows)))
        return
    table = Table("row", Column("at (UTC)", no_wrap=True), "what", "led to", "hash", box=None)
    for row in rows:
        # What a site called its error is text of the site's, not markup.
        led_to = "; ".join(map(headline, row.led_to))
        said = (Text(printable(text)) for text in (row.what, led_to or row.outcome))
        table.add_row(str(row.seq), row.at.isoformat()[:19], *said, row.hash[7:15])
    console = Console()
    console.print(table)
    for text, numbers in _details(rows).items():
        console.print(f"\nrow {', '.join(numbers)}:", highlight=False)
        console.print(Text(printable(text)), soft_wrap=True)


def _details(rows: Sequence[documents.LedgerRow]) -> Mapping[str, list[str]]:
    """What sites said of their failures, each text once, with the rows in which they said it."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.detail:
            found.setdefault(row.detail, []).append(str(row.seq))
    return found


def remove_run(run: str, archive: Archive, *, yes: bool, stop: bool, as_json: bool) -> int:
    """Let a run's weights go, once that was confirmed; returns the exit code."""
    if not yes and not _is_sure(run, archive, stop=stop):
        Console(stderr=True).print("nothing was removed")
        return 1
    done = archive.remove(run, stop=stop)
    if as_json:
        print_json(done)
        return 0
    was = " already" if done.outcome else f", {done.freed / 2**20:.1f} MiB are free again"
    said = f"{run} was removed{was}; its ledger stays, and its name is taken"
    Console(soft_wrap=True, highlight=False).print(said)
    return 0


def _is_sure(run: str, archive: Archive, *, stop: bool) -> bool:
    """Ask, unless there is nothing to lose: whoever removes it says what is wrong with that."""
    row = next((row for row in archive.runs() if row.run == run), None)
    if row is None or not (stop or row.status in OVER):
        return True
    if not sys.stdin.isatty():
        raise SettingsError(f"nobody can be asked here whether {run} is to go: say --yes")
    sys.stderr.write(
        f"{run} ({row.status}, {row.turns} turns) and all of its weights go for good; its ledger "
        "stays.\nRemove it? [y/N] "
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def export(
    run: str, output: Path, archive: Archive, *, round: int | None = None, as_json: bool
) -> None:
    """Copy the best checkpoint, or that of a round."""
    from tasuki_site.model_files.export import export as write

    with tempfile.TemporaryDirectory(prefix="tasuki-") as folder:
        kept = archive.copy_weights(run, Path(folder), round=round)
        write(kept.path, output)
        digest = verify_digest(kept.path)
    if as_json:
        done = documents.ExportedWeights(run=run, path=str(output), digest=digest, round=kept.round)
        print_json(done)
    else:
        Console().print(f"{output}: {in_words(kept)} of {run}, {digest}", soft_wrap=True)


def in_words(kept: Kept) -> str:
    """Which of a run's weights these are."""
    where = f"the end of round {kept.round}" if kept.round else "what it began with, round 0"
    said = {BEST: "the best, ", LATEST: "the last, "}.get(kept.name, "")
    return f"{said}{where}"


def print_json(document: documents.Document, *, without: str = "") -> None:
    """One object on one line."""
    line = document.line(without=without)
    Console(soft_wrap=True, highlight=False).out(line, highlight=False)
