"""The ledger: what happened in each run, one row an event, each chained to the one before.

State is its replay. With an event, in one transaction, come the effects that must not be
forgotten (the outbox); each is struck out once it is done. Doing one twice must be harmless.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import blake3
import msgpack

from tasuki.errors import DiskFull, LedgerBroken, StorageError
from tasuki.ledger import migrations

GENESIS = "blake3:" + "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One event of one run.

    Attributes:
        at: seconds since 1970, UTC.
        event: encoded, see `wire.messages`.
        outcome: why the event changed nothing, or "".
        hash: of this row's content and of the hash before it.
    """

    run: str
    seq: int
    at: float
    event: bytes
    outcome: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """An effect that has been decided and not yet done."""

    id: int
    run: str
    effect: bytes


def row_hash(previous: str, run: str, seq: int, at: float, event: bytes, outcome: str) -> str:
    """The digest that chains a row to its predecessor."""
    content = msgpack.packb([previous, run, seq, at, event, outcome])
    return f"blake3:{blake3.blake3(content).hexdigest()}"


class SqliteLedger:
    """A ledger in one SQLite file; `:memory:` for its twin in memory."""

    def __init__(self, path: Path | str) -> None:
        self._db = migrations.connect(path, migrations.LEDGER)
        self._path = path

    def close(self) -> None:
        self._db.close()

    def append(
        self, run: str, event: bytes, *, at: float, outcome: str = "", effects: Iterable[bytes] = ()
    ) -> tuple[Row, list[Pending]]:
        """Record an event and the effects that it calls for; on disk when this returns.

        Raises:
            DiskFull, StorageError: nothing was recorded.
        """
        at = float(at)  # as SQLite gives it back, or the hash would not verify
        seq, previous = self.head(run)
        hash = row_hash(previous, run, seq + 1, at, event, outcome)
        row = Row(run=run, seq=seq + 1, at=at, event=event, outcome=outcome, hash=hash)
        with self._disk_errors():
            return row, self._write(row, list(effects))

    def head(self, run: str) -> tuple[int, str]:
        """The number and the hash of a run's newest row."""
        found = self._db.execute(
            "SELECT seq, hash FROM rows WHERE run = ? ORDER BY seq DESC LIMIT 1", (run,)
        ).fetchone()
        return (found[0], found[1]) if found else (0, GENESIS)

    def runs(self) -> list[str]:
        """The names of all runs, in the order in which they were submitted."""
        query = "SELECT run FROM rows WHERE seq = 1 ORDER BY at, run"
        return [run for (run,) in self._db.execute(query)]

    def rows(self, run: str) -> Iterator[Row]:
        """A run's rows, oldest first.

        Raises:
            LedgerBroken: the file cannot be read beyond some row.
        """
        query = "SELECT run, seq, at, event, outcome, hash FROM rows WHERE run = ? ORDER BY seq"
        seq = 0
        try:
            for name, seq, at, event, outcome, hash in self._db.execute(query, (run,)):
                yield Row(run=name, seq=seq, at=at, event=event, outcome=outcome, hash=hash)
        except sqlite3.Error as exc:
            raise LedgerBroken(f"{self._path} cannot be read after row {seq}: {exc}") from exc

    def verify(self, run: str) -> list[Row]:
        """Every row of a run, its chain checked.

        Raises:
            LedgerBroken: naming the first row that is not what was recorded.
        """
        previous, verified = GENESIS, []
        for number, row in enumerate(self.rows(run), start=1):
            if row.seq != number:
                raise LedgerBroken(f"row {number} of {run} is missing")
            if row.hash != _hash_of(row, previous):
                raise LedgerBroken(f"row {number} of {run} is not what was recorded")
            previous = row.hash
            verified.append(row)
        self._check_file()
        return verified

    def pending(self) -> list[Pending]:
        """Effects that were decided and not done, in their order."""
        query = "SELECT id, run, effect FROM outbox ORDER BY id"
        return [
            Pending(id=id, run=run, effect=effect) for id, run, effect in self._db.execute(query)
        ]

    def strike(self, pending: Pending) -> None:
        """This effect is done.

        Raises:
            DiskFull, StorageError: it is not struck out, and will be done again.
        """
        with self._disk_errors():
            self._db.execute("DELETE FROM outbox WHERE id = ?", (pending.id,))

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if "full" in str(exc):
                raise DiskFull(f"the disk is full at {self._path}; free space and resume") from exc
            raise StorageError(f"{self._path}: {exc}") from exc

    def _write(self, row: Row, effects: list[bytes]) -> list[Pending]:
        self._db.execute("BEGIN IMMEDIATE")
        values = (row.run, row.seq, row.at, row.event, row.outcome, row.hash)
        self._db.execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", values)
        pending = []
        for effect in effects:
            insert = "INSERT INTO outbox (run, effect) VALUES (?, ?) RETURNING id"
            (id,) = self._db.execute(insert, (row.run, effect)).fetchone()
            pending.append(Pending(id=id, run=row.run, effect=effect))
        self._db.execute("COMMIT")
        return pending

    def _check_file(self) -> None:
        try:
            (found,) = self._db.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.Error as exc:
            found = str(exc)
        if found != "ok":
            raise LedgerBroken(f"{self._path} is damaged: {found}")


def _hash_of(row: Row, previous: str) -> str:
    """The hash that a row should have; a value of the wrong type has none."""
    try:
        return row_hash(previous, row.run, row.seq, row.at, row.event, row.outcome)
    except (TypeError, ValueError):
        return ""
