"""The site's journal: what it has taken, trained and handed over, on disk before it acts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tasuki.core.model import CONTROLLER, Turn, TurnRecord
from tasuki.core.turn import Phase, Progress, SiteState
from tasuki.errors import DiskFull, StorageError
from tasuki.ledger import migrations
from tasuki.wire.messages import decode, encode


class Journal:
    """One row a lane: the newest turn and how far it has come. Simulated sites share a file."""

    def __init__(self, database: sqlite3.Connection, site: str) -> None:
        self._db = database
        self._site = site
        (last,) = database.execute("SELECT max(came) FROM turns").fetchone()
        self._came = last or 0

    def state(self) -> SiteState:
        """The site as it was when it last wrote: a turn in training counts as taken."""
        rows = [progress for progress in self._rows() if progress.phase is not Phase.DONE]
        rows.sort(key=lambda progress: progress.phase is not Phase.TRAINED)
        return SiteState(
            site=self._site,
            current=rows[0] if rows else None,
            waiting=tuple(rows[1:]),
            seen={(p.turn.id.run, p.turn.id.lane): p.turn.id.fence for p in self._rows()},
        )

    def done(self) -> tuple[Progress, ...]:
        """The newest turn of each lane that was handed over."""
        return tuple(progress for progress in self._rows() if progress.phase is Phase.DONE)

    def write(self, progress: Progress) -> None:
        """On disk when this returns.

        Raises:
            DiskFull, StorageError: nothing was written.
        """
        id, record = progress.turn.id, progress.record
        if progress.phase is Phase.TAKEN:
            self._came += 1
        values = (
            self._site,
            id.run,
            id.lane,
            progress.phase.value,
            self._came,
            encode(_kept(progress)),
            None if record is None else encode(record),
        )
        self._execute("REPLACE INTO turns VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def forget(self, run: str) -> None:
        """The run is over: only which turns it had is still of interest."""
        self._execute(
            "UPDATE turns SET record = NULL, phase = 'done' WHERE site = ? AND run = ?",
            (self._site, run),
        )

    def next_offset(self) -> int | None:
        """Where to go on reading the weights stream; None: from its start."""
        query = "SELECT next_offset FROM positions WHERE site = ?"
        found = self._db.execute(query, (self._site,)).fetchone()
        return found[0] if found else None

    def write_offset(self, next_offset: int) -> None:
        self._execute("REPLACE INTO positions VALUES (?, ?)", (self._site, next_offset))

    def _rows(self) -> Iterator[Progress]:
        query = "SELECT phase, turn, record FROM turns WHERE site = ? ORDER BY came"
        for phase, turn, record in self._db.execute(query, (self._site,)):
            yield Progress(
                turn=decode(turn, Turn),
                phase=Phase(phase),
                record=None if record is None else decode(record, TurnRecord),
            )

    def _execute(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as exc:
            if "full" in str(exc):
                raise DiskFull("the disk of the site's journal is full; free space") from exc
            raise StorageError(f"the site's journal cannot be written: {exc}") from exc


def _kept(progress: Progress) -> Turn:
    """The turn without its history once the next site has that; the last site reports it again."""
    turn = progress.turn
    if progress.phase is Phase.DONE and turn.successor != CONTROLLER:
        return replace(turn, history=())
    return turn


def open_journal(path: Path) -> tuple[sqlite3.Connection, bool]:
    """The journal file, and whether it is new: then this site knows of no turn."""
    is_fresh = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    return migrations.connect(path, migrations.JOURNAL), is_fresh
