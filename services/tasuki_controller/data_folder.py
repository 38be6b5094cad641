"""A data folder: where a controller or a simulation keeps ledger, checkpoints and spools.

<data>/ledger.sqlite          what happened in every run
<data>/runs/<run>/            checkpoints, `latest`, `best`
<data>/runs/<run>/spool/      weights on the way in a simulation
<data>/spool/, uploads/       weights on the way to and from a controller
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path

from tasuki.core.model import TurnRecord
from tasuki.core.run import RunState
from tasuki.disk.lock import locked
from tasuki.errors import LedgerBroken, UnknownRun, WeightsRemoved
from tasuki.ledger.migrations import LEDGER, is_behind
from tasuki.ledger.sqlite import Row, SqliteLedger
from tasuki.settings.initial import RunWeights
from tasuki_controller import history
from tasuki_controller.checkpoints import BEST, LATEST, Checkpoints, Kept
from tasuki_controller.continuing import removed
from tasuki_controller.documents import VerifiedLedger
from tasuki_controller.history import Step
from tasuki_controller.proven_merges import check_merges, merged_again


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What of a run holds.

    Attributes:
        steps: all of its rows.
        files: how many checkpoints.
        merges: how often several lanes were made one as the rows before it say.
        merged_again: how many of these were made once more, from files.
    """

    steps: list[Step]
    files: int = 0
    merges: int = 0
    merged_again: int = 0


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

    @property
    def spool_path(self) -> Path:
        return self.path / "spool"

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
            DataInUse: it has to be brought up to date, and another process works in the folder.
        """
        if not self.ledger_path.exists():
            raise UnknownRun(f"there is no run in {self.path}; use --data, or start one")
        if is_behind(self.ledger_path, LEDGER):
            # An older controller may be at work on it, which would find it changed.
            with self.locked():
                return SqliteLedger(self.ledger_path)
        return SqliteLedger(self.ledger_path)

    def checkpoints(self, run: str) -> Checkpoints:
        return Checkpoints(self.runs_path / run)

    def runs(self) -> dict[str, RunState]:
        with closing(self.ledger()) as ledger:
            return history.runs(ledger)

    def rows(self, run: str) -> list[Row]:
        """Raises UnknownRun: the ledger has no such run."""
        return list(self.kept_rows(run))

    def kept_rows(self, run: str) -> Iterator[Row]:
        """A run's rows as they come. Raises UnknownRun, once it is asked for one."""
        row = None
        with closing(self.ledger()) as ledger:
            for row in ledger.rows(run):
                yield row
            known = ", ".join(ledger.runs()) or "none"
        if row is None:
            raise UnknownRun(f"there is no run {run!r} in {self.path}; it has {known}")

    def newest(self, run: str) -> tuple[int, str]:
        """The number and the hash of a run's newest row; 0 and any: there is none."""
        with closing(self.ledger()) as ledger:
            return ledger.head(run)

    def steps(self, run: str) -> list[Step]:
        """A run's rows, replayed.

        Raises:
            UnknownRun: the ledger has no such run.
            LedgerBroken: a row is no event of this version.
        """
        return list(history.steps(self.rows(run)))

    def state(self, steps: Sequence[Step]) -> RunState:
        """A run as it stands after all its rows.

        Raises:
            UnknownRun: they are only half its submission.
        """
        state = history.state_after(steps)
        if state is None:
            run = steps[0].row.run
            raise UnknownRun(f"run {run!r} in {self.path} never began: submit it again")
        return state

    def run(self, run: str) -> tuple[RunState, list[TurnRecord]]:
        """A run as it stands, and every turn that was accepted and not undone.

        Raises:
            UnknownRun: the ledger has no such run, or only half its submission.
            LedgerBroken: a row is no event of this version.
        """
        steps = self.steps(run)
        return self.state(steps), history.records(steps)

    def verify(self, run: str) -> Verified:
        """Check a run's chain, origin, merges and checkpoints.

        One that was removed has no files, or none that still count. A controller may keep, prune
        and remove files meanwhile: only what is found twice is wrong.

        Raises:
            LedgerBroken: naming the first row or file that does not.
        """
        self.rows(run)
        found = ""
        while True:
            with closing(self.ledger()) as ledger:
                steps = list(history.steps(ledger.verify(run)))
                history.check_origin(steps, ledger)
            merges = check_merges(steps)
            if is_removed(steps):
                return Verified(steps=steps, merges=merges)
            try:
                return Verified(
                    steps=steps,
                    files=self._files_that_hold(run, steps),
                    merges=merges,
                    merged_again=merged_again(steps, self.checkpoints(run)),
                )
            except LedgerBroken as exc:
                if str(exc) == found:
                    raise
                found = str(exc)

    def _files_that_hold(self, run: str, steps: Sequence[Step]) -> int:
        expected, before = history.documents(steps), history.documents(steps, of_before=True)
        return self.checkpoints(run).verify(expected, before=before)

    def checkpoint(self, run: str, names: tuple[str, ...] = (BEST, LATEST)) -> Kept:
        """The weights to use: the best checkpoint if the run has chosen one, else the latest.

        Raises:
            UnknownRun: it has no checkpoint, or none of that name.
            LedgerBroken: it had some, and they are gone.
            WeightsRemoved: the run was removed.
        """
        folder = self.checkpoints(run)
        for name in names:
            if (kept := folder.named(name)) is not None:
                return kept
        self._check_there(run)
        if folder.named(LATEST) is not None:
            raise UnknownRun(
                f"run {run!r} has chosen no best weights, as [checkpoint] best would; it keeps "
                f"those of round {folder.kept_in_words()}, of which the newest is latest"
            )
        raise UnknownRun(f"run {run!r} has no checkpoint yet")

    def weights_of(self, wanted: RunWeights) -> Kept:
        """The weights that another run begins from.

        Raises:
            UnknownRun, WeightsRemoved, LedgerBroken: there are none; the message says which are.
        """
        self.rows(wanted.run)
        if wanted.round is not None:
            return self.checkpoint_of(wanted.run, wanted.round)
        return self.checkpoint(wanted.run, (BEST if wanted.is_best else LATEST,))

    def checkpoint_of(self, run: str, number: int) -> Kept:
        """The weights of the end of a round, counted from 1; 0 is what the run started from.

        Raises:
            UnknownRun: it is not kept, or not yet.
            LedgerBroken: there were some, and they are gone.
            WeightsRemoved: the run was removed.
        """
        folder = self.checkpoints(run)
        if (kept := folder.of_round(number)) is not None:
            return kept
        steps = self._check_there(run)
        raise UnknownRun(
            f"run {run!r} keeps no weights of round {number}, only of {folder.kept_in_words()}: "
            f"{_why_not_kept(steps, number)}"
        )

    def _check_there(self, run: str) -> Sequence[Step]:
        """The run's rows. Raises WeightsRemoved, LedgerBroken: its weights are gone from here."""
        steps = self.steps(run)
        if is_removed(steps):
            raise WeightsRemoved(removed(run))
        self.checkpoints(run).check_there(history.documents(steps))
        return steps


def _why_not_kept(steps: Sequence[Step], number: int) -> str:
    """Why there is no checkpoint of a round's end."""
    state = history.state_after(steps)
    if number in history.documents(steps) or state is None:
        return "[checkpoint] keep and every_n_rounds say which stay"
    if number <= state.round:
        return (
            "the lanes were not made one after it, as [lanes] every_n_rounds = "
            f"{state.plan.lanes.every_n_rounds} says; take a round after which they were"
        )
    return "that round is not over" if number <= state.plan.task.rounds else "it has no such round"


def verified_ledger(run: str, found: Verified) -> VerifiedLedger:
    """It as operators are told."""
    return VerifiedLedger(
        run=run,
        rows=len(found.steps),
        checkpoints=found.files,
        merges=found.merges,
        merged_again=found.merged_again,
        removed=is_removed(found.steps),
        verified=True,
    )


def is_removed(steps: Sequence[Step]) -> bool:
    """Whether a run's weights were given up, so that only its rows are left."""
    state = history.state_after(steps)
    return state is not None and state.removed
