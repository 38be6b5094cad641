"""The site's journal: what it has taken, trained and handed over, on disk before it acts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tasuki.core.model import CONTROLLER, Lane, Turn, TurnRecord
from tasuki.core.trust import Submission
from tasuki.core.turn import Phase, Progress, SiteState
from tasuki.errors import DiskFull, StorageError
from tasuki.ledger import migrations
from tasuki.wire.messages import decode, encode


class Journal:
    """One row a lane: the newest turn and how far it has come. Simulated sites share a file."""

    def __init__(self, database: sqlite3.Connection, site: str) -> None:
        self._db = database
        self._site = site
        self._submissions: dict[str, Submission] = {}  # those that it has
        (last,) = database.execute("SELECT max(came) FROM turns").fetchone()
        self._came = last or 0

    def state(self, *, capacity: int = 1) -> SiteState:
        """The site as it was when it last wrote: a turn in training counts as taken."""
        rows = [progress for progress in self._rows() if progress.phase is not Phase.DONE]
        rows.sort(key=lambda progress: progress.phase is not Phase.TRAINED)
        return SiteState(
            site=self._site,
            capacity=capacity,
            active=tuple(rows[:capacity]),
            waiting=tuple(rows[capacity:]),
            seen={(p.turn.id.run, p.turn.id.lane): p.turn.id.fence for p in self._rows()},
            fenced=self._fences(),
        )

    @property
    def is_introduced(self) -> bool:
        """Whether the controller was told that this journal is new, or needs not be told."""
        query = "SELECT 1 FROM introduced WHERE site = ?"
        return self._db.execute(query, (self._site,)).fetchone() is not None

    def introduce(self) -> None:
        """The broker has the report that this site knows of no turn from before."""
        self._execute("INSERT OR IGNORE INTO introduced VALUES (?)", (self._site,))

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

    def write_fence(self, run: str, lane: int, term: int) -> None:
        """What is below this term stays void after a restart too."""
        self._execute("REPLACE INTO fences VALUES (?, ?, ?, ?)", (self._site, run, lane, term))

    def submission(self, run: str) -> Submission:
        """Which run of this name the site knows; nothing is known of one that nobody signed for."""
        if run not in self._submissions:
            query = "SELECT about, began FROM submissions WHERE site = ? AND run = ?"
            found = self._db.execute(query, (self._site, run)).fetchone()
            if found is None:
                return Submission()  # not remembered: anybody can name runs that there are not
            self._submissions[run] = Submission(about=found[0], began=found[1])
        return self._submissions[run]

    def write_submission(self, run: str, submission: Submission) -> None:
        """Turns of an earlier run of this name are refused from now on."""
        values = (self._site, run, submission.about, submission.began)
        self._execute("REPLACE INTO submissions VALUES (?, ?, ?, ?)", values)
        self._submissions[run] = submission

    def forget(self, run: str) -> None:
        """The run is over: only which turns it had is still of interest."""
        self._execute(
            "UPDATE turns SET record = NULL, phase = 'done' WHERE site = ? AND run = ?",
            (self._site, run),
        )

    def forget_lanes(self, run: str) -> None:
        """Its name is another run's now: not even which turns it had is of interest."""
        self._execute("DELETE FROM turns WHERE site = ? AND run = ?", (self._site, run))
        self._execute("DELETE FROM fences WHERE site = ? AND run = ?", (self._site, run))

    def next_offset(self) -> int | None:
        """Where to go on reading the weights stream; None: from its start."""
        query = "SELECT next_offset FROM positions WHERE site = ?"
        found = self._db.execute(query, (self._site,)).fetchone()
        return found[0] if found else None

    def write_offset(self, next_offset: int) -> None:
        """Outlives the process, but is not forced to the disk: a hand-over would wait for that.

        A position that a power cut takes back costs no more than reading some chunks twice.
        """
        self._execute("PRAGMA synchronous = NORMAL", ())
        try:
            self._execute("REPLACE INTO positions VALUES (?, ?)", (self._site, next_offset))
        finally:
            self._execute("PRAGMA synchronous = FULL", ())

    def _fences(self) -> dict[Lane, int]:
        query = "SELECT run, lane, term FROM fences WHERE site = ?"
        rows = self._db.execute(query, (self._site,))
        return {(run, lane): term for run, lane, term in rows}

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


def open_journal(path: Path) -> sqlite3.Connection:
    """The journal file, made if there is none: then this site knows of no turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return migrations.connect(path, migrations.JOURNAL)
