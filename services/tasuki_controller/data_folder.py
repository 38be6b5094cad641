"""A data folder: where a controller or a simulation keeps ledger, checkpoints and spools.

<data>/ledger.sqlite          what happened in every run
<data>/runs/<run>/            checkpoints, `latest`, `best`
<data>/runs/<run>/spool/      weights on the way in a simulation
<data>/spool/, uploads/       weights on the way to and from a controller
"""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path

from tasuki.core.model import TurnRecord
from tasuki.core.run import RunState
from tasuki.disk.lock import locked
from tasuki.errors import UnknownRun
from tasuki.ledger.sqlite import Row, SqliteLedger
from tasuki_controller import history
from tasuki_controller.checkpoints import BEST, LATEST, Checkpoints, Kept


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

    def locked(self) -> AbstractContextManager[None]:
        """Hold the folder for one process; the lock dies with it.

        Raises:
            DataInUse: another process has it.
        """
        return locked(self.path)

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
        with closing(self.ledger()) as ledger:
            return history.runs(ledger)

    def rows(self, run: str) -> list[Row]:
        """Raises UnknownRun: the ledger has no such run."""
        with closing(self.ledger()) as ledger:
            rows = list(ledger.rows(run))
            known = ", ".join(ledger.runs()) or "none"
        if not rows:
            raise UnknownRun(f"there is no run {run!r} in {self.path}; it has {known}")
        return rows

    def run(self, run: str) -> tuple[RunState, list[TurnRecord]]:
        """A run as it stands, and every turn that was accepted and not undone.

        Raises:
            UnknownRun: the ledger has no such run, or only half its submission.
            LedgerBroken: a row is no event of this version.
        """
        rows = self.rows(run)
        state = history.replay(rows)
        if state is None:
            raise UnknownRun(f"run {run!r} in {self.path} never began: submit it again")
        return state, history.records(rows)

    def verify(self, run: str) -> tuple[int, int]:
        """Check a run's chain and checkpoints; returns how many rows and files hold.

        Raises:
            LedgerBroken: naming the first row or file that does not.
        """
        self.rows(run)
        with closing(self.ledger()) as ledger:
            rows = ledger.verify(run)
        return len(rows), self.checkpoints(run).verify(history.documents(rows))

    def checkpoint(self, run: str, names: tuple[str, ...] = (BEST, LATEST)) -> Kept:
        """The weights to use: the best checkpoint if the run has chosen one, else the latest.

        Raises:
            UnknownRun: it has no checkpoint.
            LedgerBroken: it had some, and they are gone.
        """
        folder = self.checkpoints(run)
        for name in names:
            if (kept := folder.named(name)) is not None:
                return kept
        folder.check_there(history.documents(self.rows(run)))
        raise UnknownRun(f"run {run!r} has no checkpoint yet")

    def checkpoint_of(self, run: str, number: int) -> Kept:
        """The weights of the end of a round, counted from 1; 0 is what the run started from.

        Raises:
            UnknownRun: it is not kept, or not yet.
            LedgerBroken: there were some, and they are gone.
        """
        folder = self.checkpoints(run)
        if (kept := folder.of_round(number)) is not None:
            return kept
        folder.check_there(history.documents(self.rows(run)))
        raise UnknownRun(
            f"run {run!r} keeps no weights of round {number}, only of {folder.kept_in_words()}: "
            "[checkpoint] keep and every_n_rounds say which stay"
        )
