"""A local data folder: where simulations keep their ledger, checkpoints and spools.

<data>/ledger.sqlite          what happened in every run
<data>/runs/<run>/            checkpoints, `latest`, `best`
<data>/runs/<run>/spool/      weights on the way
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasuki.core.run import RunState
from tasuki.errors import DataInUse, UnknownRun
from tasuki.ledger.sqlite import Row, SqliteLedger
from tasuki.wire.spool import disk_errors
from tasuki_controller import history
from tasuki_controller.checkpoints import BEST, LATEST, Checkpoints


@dataclass(frozen=True, slots=True)
class DataFolder:
    """One data folder; nothing is read or made until it is asked for."""

    path: Path

    @property
    def ledger_path(self) -> Path:
        return self.path / "ledger.sqlite"

    @property
    def runs_path(self) -> Path:
        return self.path / "runs"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one process; the lock dies with it.

        Raises:
            DataInUse: another process has it.
        """
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise DataInUse(
                    f"another process works in {self.path}; wait for it, or use --data"
                ) from None
            yield

    def ledger(self) -> SqliteLedger:
        """The ledger of a folder that has one.

        Raises:
            UnknownRun: there is none, so there is no run either.
        """
        if not self.ledger_path.exists():
            raise UnknownRun(f"there is no run in {self.path}; use --data, or start one")
        return SqliteLedger(self.ledger_path)

    def checkpoints(self, run: str) -> Checkpoints:
        return Checkpoints(self.runs_path / run)

    def runs(self) -> dict[str, RunState]:
        return history.runs(self.ledger())

    def rows(self, run: str) -> list[Row]:
        """Raises UnknownRun: the ledger has no such run."""
        ledger = self.ledger()
        rows = list(ledger.rows(run))
        if not rows:
            known = ", ".join(ledger.runs()) or "none"
            raise UnknownRun(f"there is no run {run!r} in {self.path}; it has {known}")
        return rows

    def verify(self, run: str) -> tuple[int, int]:
        """Check a run's chain and checkpoints; returns how many rows and files hold.

        Raises:
            LedgerBroken: naming the first row or file that does not.
        """
        self.rows(run)
        rows = self.ledger().verify(run)
        return len(rows), self.checkpoints(run).verify(history.documents(rows))

    def best(self, run: str) -> Path:
        """The weights to use: the best checkpoint if the run has chosen one, else the latest.

        Raises:
            UnknownRun: it has no checkpoint.
        """
        folder = self.runs_path / run
        for name in (BEST, LATEST):
            if (folder / name).exists():
                return folder / (folder / name).readlink()
        self.rows(run)
        raise UnknownRun(f"run {run!r} has no checkpoint yet")
