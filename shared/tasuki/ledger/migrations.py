"""The shape of our SQLite files, as numbered steps. Append; never change a step that shipped."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from tasuki.errors import DiskFull, LedgerBroken, NewerData, StorageError

LEDGER = (
    """
    CREATE TABLE rows (
        run TEXT NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL, event BLOB NOT NULL,
        outcome TEXT NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (run, seq)
    ) WITHOUT ROWID;
    CREATE TABLE outbox (id INTEGER PRIMARY KEY, run TEXT NOT NULL, effect BLOB NOT NULL);
    """,
    # Rows get a place among those of all runs, for followers; those that are there, by their time.
    # No row may come before its predecessor, be it that the clock was set back between them.
    """
    CREATE TABLE placed (
        position INTEGER PRIMARY KEY, run TEXT NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL,
        event BLOB NOT NULL, outcome TEXT NOT NULL, hash TEXT NOT NULL, UNIQUE (run, seq)
    );
    INSERT INTO placed (run, seq, at, event, outcome, hash)
        SELECT run, seq, at, event, outcome, hash FROM rows
        ORDER BY max(at) OVER (PARTITION BY run ORDER BY seq), run, seq;
    DROP TABLE rows;
    ALTER TABLE placed RENAME TO rows;
    ALTER TABLE outbox ADD COLUMN seq INTEGER;
    CREATE TABLE followers (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
    """,
    # The controller's signature over a row's hash; no hash covers it. None of rows from before.
    """
    ALTER TABLE rows ADD COLUMN signature BLOB;
    """,
)

JOURNAL = (
    """
    CREATE TABLE turns (
        site TEXT NOT NULL, run TEXT NOT NULL, lane INTEGER NOT NULL, phase TEXT NOT NULL,
        came INTEGER NOT NULL, turn BLOB NOT NULL, record BLOB, PRIMARY KEY (site, run, lane)
    ) WITHOUT ROWID;
    CREATE TABLE positions (site TEXT PRIMARY KEY, next_offset INTEGER NOT NULL) WITHOUT ROWID;
    """,
    """
    CREATE TABLE fences (
        site TEXT NOT NULL, run TEXT NOT NULL, lane INTEGER NOT NULL, term INTEGER NOT NULL,
        PRIMARY KEY (site, run, lane)
    ) WITHOUT ROWID;
    CREATE TABLE introduced (site TEXT PRIMARY KEY) WITHOUT ROWID;
    INSERT INTO introduced SELECT DISTINCT site FROM turns;
    """,
    # Which run of a name the turns are of: runs of the same name before it do not count any more.
    """
    CREATE TABLE submissions (
        site TEXT NOT NULL, run TEXT NOT NULL, about TEXT NOT NULL, began REAL NOT NULL,
        PRIMARY KEY (site, run)
    ) WITHOUT ROWID;
    """,
)


def connect(path: Path | str, steps: Sequence[str]) -> sqlite3.Connection:
    """Open a file, made or brought up to date first. Each commit is on disk when it returns.

    Raises:
        NewerData: a newer Tasuki wrote it.
        LedgerBroken: it is no SQLite file any more.
        StorageError: it cannot be opened.
    """
    with ExitStack() as on_failure:
        try:
            connection = sqlite3.connect(path, isolation_level=None)
            on_failure.callback(connection.close)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _migrate(connection, steps, path)
        except sqlite3.OperationalError as exc:
            if "full" in str(exc):
                raise DiskFull(f"the disk is full at {path}; free space and start again") from exc
            raise StorageError(f"{path} cannot be opened: {exc}") from exc
        except sqlite3.DatabaseError as exc:
            raise LedgerBroken(f"{path} is damaged: {exc}; restore it from a backup") from exc
        on_failure.pop_all()
    return connection


def is_behind(path: Path, steps: Sequence[str]) -> bool:
    """Whether `connect` would change the shape of a file that is there."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError:
            return False  # `connect` says what is wrong with it
    return bool(version < len(steps))


def _migrate(connection: sqlite3.Connection, steps: Sequence[str], path: Path | str) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(steps):
        raise NewerData(
            f"{path} has format {version}, this Tasuki knows up to {len(steps)}: "
            "upgrade it, or use another folder with --data"
        )
    for number, step in enumerate(steps[version:], start=version + 1):
        # The step and its record are one transaction: a crash leaves neither.
        connection.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
