"""The ledger: what happened in each run, one row an event, each chained to the one before.

State is its replay. With an event, in one transaction, come the effects that must not be
forgotten (the outbox); each is struck out once it is done. Doing one twice must be harmless.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import blake3
import msgpack

from tasuki.errors import DiskFull, LedgerBroken, StorageError
from tasuki.ledger import migrations

GENESIS = "blake3:" + "0" * 64
_ROWS = (
    "SELECT run, seq, CAST(at AS REAL), CAST(event AS BLOB), outcome, hash, "
    "CAST(signature AS BLOB), position FROM rows"
)
"""Who alters the file may put anything anywhere: what is read is of the type that it has to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One event of one run.

    Attributes:
        at: seconds since 1970, UTC.
        event: encoded, see `wire.messages`.
        outcome: why the event changed nothing, or "".
        hash: of this row's content and of the hash before it.
        signature: the controller's, over the hash; empty where nobody signs.
        position: its place among the rows of all runs, from 1; 0 if it is in no ledger.
    """

    run: str
    seq: int
    at: float
    event: bytes
    outcome: str
    hash: str
    signature: bytes = b""
    position: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """An effect that has been decided and not yet done.

    Attributes:
        seq: the number of the row that decided it; None: a version before this one wrote it.
    """

    id: int
    run: str
    seq: int | None
    effect: bytes


def row_hash(previous: str, run: str, seq: int, at: float, event: bytes, outcome: str) -> str:
    """The digest that chains a row to its predecessor."""
    content = msgpack.packb([previous, run, seq, at, event, outcome])
    return f"blake3:{blake3.blake3(content).hexdigest()}"


class SqliteLedger:
    """A ledger in one SQLite file; `:memory:` for its twin in memory.

    Args:
        sign: signs the hash of each row; None: nobody does.
    """

    def __init__(self, path: Path | str, *, sign: Callable[[str], bytes] | None = None) -> None:
        self._db = migrations.connect(path, migrations.LEDGER)
        self._path = path
        self._sign = sign

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
        row = Row(
            run=run,
            seq=seq + 1,
            at=at,
            event=event,
            outcome=outcome,
            hash=hash,
            signature=b"" if self._sign is None else self._sign(hash),
        )
        with self._disk_errors():
            return self._write(row, list(effects))

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

    def rows(self, run: str | None = None, *, after: int = 0) -> Iterator[Row]:
        """A run's rows after one of them, oldest first; or those of all runs, as they came.

        Args:
            after: the number of a row, or a position among those of all runs.

        Raises:
            LedgerBroken: the file cannot be read beyond some row.
        """
        of_run = "run = ? AND seq > ? ORDER BY seq"
        chosen = "position > ? ORDER BY position" if run is None else of_run
        values_of = (after,) if run is None else (run, after)
        seq = 0
        try:
            for values in self._db.execute(f"{_ROWS} WHERE {chosen}", values_of):
                row = _row(values)
                seq = row.seq
                yield row
        except sqlite3.Error as exc:
            raise LedgerBroken(f"{self._path} cannot be read after row {seq}: {exc}") from exc

    def row(self, run: str, seq: int) -> Row:
        """One row, which is there."""
        found = self._db.execute(f"{_ROWS} WHERE run = ? AND seq = ?", (run, seq))
        return _row(found.fetchone())

    def newest(self) -> int:
        """The position of the newest row of all runs; 0 if there is none."""
        (position,) = self._db.execute("SELECT max(position) FROM rows").fetchone()
        return position or 0

    def verify(self, run: str) -> list[Row]:
        """Every row of a run, its chain checked.

        Raises:
            LedgerBroken: naming the first row that is not what was recorded.
        """
        verified = list(chained(self.rows(run), run))
        self._check_file()
        return verified

    def pending(self) -> list[Pending]:
        """Effects that were decided and not done, in their order."""
        found = self._db.execute("SELECT id, run, seq, effect FROM outbox ORDER BY id")
        return [Pending(id=id, run=run, seq=seq, effect=it) for id, run, seq, it in found]

    def strike(self, pending: Pending) -> None:
        """This effect is done.

        Raises:
            DiskFull, StorageError: it is not struck out, and will be done again.
        """
        with self._disk_errors():
            self._db.execute("DELETE FROM outbox WHERE id = ?", (pending.id,))

    def position(self, follower: str) -> int:
        """Up to which row someone has followed the ledger; 0 if not at all."""
        query = "SELECT position FROM followers WHERE name = ?"
        found = self._db.execute(query, (follower,)).fetchone()
        return found[0] if found else 0

    def save_position(self, follower: str, position: int) -> None:
        """Outlives the process, but is not forced to the disk: no run waits for a follower.

        A position that a power cut takes back costs no more than telling some rows twice.

        Raises:
            DiskFull, StorageError: it is as it was.
        """
        with self._disk_errors(), self._unforced():
            self._db.execute("REPLACE INTO followers VALUES (?, ?)", (follower, position))

    @contextmanager
    def _unforced(self) -> Iterator[None]:
        self._db.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self._db.execute("PRAGMA synchronous = FULL")

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

    def _write(self, row: Row, effects: list[bytes]) -> tuple[Row, list[Pending]]:
        self._db.execute("BEGIN IMMEDIATE")
        values = (row.run, row.seq, row.at, row.event, row.outcome, row.hash, row.signature or None)
        insert = "INSERT INTO rows VALUES (NULL, ?, ?, ?, ?, ?, ?, ?) RETURNING position"
        (position,) = self._db.execute(insert, values).fetchone()
        pending = []
        for effect in effects:
            insert = "INSERT INTO outbox (run, seq, effect) VALUES (?, ?, ?) RETURNING id"
            (id,) = self._db.execute(insert, (row.run, row.seq, effect)).fetchone()
            pending.append(Pending(id=id, run=row.run, seq=row.seq, effect=effect))
        self._db.execute("COMMIT")
        return replace(row, position=position), pending

    def _check_file(self) -> None:
        try:
            (found,) = self._db.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.Error as exc:
            found = str(exc)
        if found != "ok":
            raise LedgerBroken(f"{self._path} is damaged: {found}")


def chained(rows: Iterable[Row], run: str) -> Iterator[Row]:
    """Rows of a run as they come, each once its place in the chain is checked.

    Raises:
        LedgerBroken: naming the first row that is not what was recorded.
    """
    previous = GENESIS
    for number, row in enumerate(rows, start=1):
        if row.seq != number:
            raise LedgerBroken(f"row {number} of {run} is missing")
        if row.hash != _hash_of(row, previous):
            raise LedgerBroken(f"row {number} of {run} is not what was recorded")
        previous = row.hash
        yield row


def _row(values: tuple[str, int, float, bytes, str, str, bytes | None, int]) -> Row:
    run, seq, at, event, outcome, hash, signature, position = values
    return Row(
        run=run,
        seq=seq,
        at=at,
        event=event,
        outcome=outcome,
        hash=hash,
        signature=signature or b"",
        position=position,
    )


def _hash_of(row: Row, previous: str) -> str:
    """The hash that a row should have; a value of the wrong type has none."""
    try:
        return row_hash(previous, row.run, row.seq, row.at, row.event, row.outcome)
    except (TypeError, ValueError):
        return ""
