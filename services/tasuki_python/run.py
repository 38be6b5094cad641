"""A run as a notebook has it: where it stands, its turns and scores, its weights."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasuki import errors
from tasuki.core.run import Status
from tasuki.errors import (
    LedgerBroken,
    NoScores,
    RunFailed,
    RunPaused,
    TasukiError,
    UnknownRun,
)
from tasuki.observe.printable import printable
from tasuki.trainer import Framework
from tasuki_cli.evaluate import chosen
from tasuki_cli.scores import left_out
from tasuki_controller.documents import BestRound, Evaluation, Scores, Summary, TurnTable
from tasuki_python.course import Course, check_which
from tasuki_python.happening import Happening, happenings
from tasuki_python.live import BEAT_S, show_live
from tasuki_python.plotting import plot
from tasuki_python.tables import SCORE_COLUMNS, as_table, score_rows, turn_rows
from tasuki_report import collect, write_report
from tasuki_site.model_files.export import export
from tasuki_site.tensors import load_state

STARTING = "starting"
_DIED = {Status.FAILED, Status.PAUSED}


class Run:
    """One run, simulated here or at a controller. Iterate over it for what happens, as it does."""

    def __init__(self, name: str, course: Course) -> None:
        self.name = name
        self._course = course

    # Where it stands.

    @property
    def status(self) -> str:
        """starting, relaying, closing, evaluating, paused, finished, stopped or failed."""
        summary = self._summary()
        return STARTING if summary is None else summary.status.value

    @property
    def reason(self) -> str:
        """Why it stands as it does; empty while all is well."""
        summary = self._summary()
        return "" if summary is None else summary.reason

    @property
    def digest(self) -> str:
        """Of the newest accepted weights; empty before there are any."""
        summary = self._summary()
        return "" if summary is None else summary.digest

    @property
    def best_round(self) -> BestRound | None:
        """The best of the rounds that are over, by what the run chooses it by."""
        summary = self._summary()
        return None if summary is None else summary.best_round

    @property
    def turns(self) -> Any:  # Any: pandas need not be installed
        """Every turn with all its metrics: a DataFrame, or a list of dicts without pandas."""
        return as_table(*turn_rows(self._turns()))

    @property
    def scores(self) -> Any:  # Any: as above
        """Each score of each site, of evaluations and rolling: a DataFrame, or a list of dicts."""
        return as_table(score_rows(self._scores()), SCORE_COLUMNS)

    def evaluate(
        self, weights: str | int | Path = "", *, split: str | None = None
    ) -> Any:  # Any: as above
        """Let all sites score the same weights, be it that the run is over; waits for them.

        Args:
            weights: best, latest, round-7 or 7, or a .safetensors file; else the best, the latest
                if none was chosen.
            split: the data to score on; else as the run says.

        Returns:
            What they said, as `scores` has it. Who said nothing is told on the error stream.

        Raises:
            CannotEvaluate, RunUnderWay: it cannot be; the message says what to do.
            NoScores: no site has scored.
        """
        named = f"round-{weights}" if isinstance(weights, int) else str(weights)
        wanted = chosen(self.name, named or None)
        number = self._course.evaluate(wanted, split=split)
        found = self._scores()
        self._say_left_out([each for each in found.evaluations if each.number == number])
        rows = [row for row in score_rows(found) if row["number"] == number]
        return as_table(rows, SCORE_COLUMNS)

    def __iter__(self) -> Iterator[Happening]:
        """From the oldest that is kept until the run is over; it may be asked again."""
        return happenings(self._course.items())

    # Its weights.

    def weights(
        self, which: str | int = "", *, framework: Framework | None = None
    ) -> dict[str, Any]:  # Any: tensors or arrays
        """A state dict, on the CPU.

        Args:
            which: best, latest, round-7 or 7; else the best if the run has chosen one, or the
                latest.
            framework: torch, or numpy; else torch if it is installed.

        Raises:
            UnknownRun: it has none of these.
        """
        wanted = check_which(which)
        with tempfile.TemporaryDirectory(prefix="tasuki-") as folder:
            kept = self._course.copy_weights(wanted, Path(folder))
            return load_state(kept.path, framework=framework or _framework())

    def export(self, path: str | Path, which: str | int = "") -> Path:
        """Copy weights to a .safetensors or .pt file; `which`: as in `weights`."""
        wanted, target = check_which(which), Path(path)
        with tempfile.TemporaryDirectory(prefix="tasuki-") as folder:
            export(self._course.copy_weights(wanted, Path(folder)).path, target)
        return target

    # Shown.

    def plot(self, metric: str | None = None, *, ax: Any = None) -> Any:  # Any: matplotlib's axes
        """What each site received and trained over the rounds, and evaluations, with matplotlib.

        Raises:
            SettingsError: matplotlib is missing, or no site reports this metric.
        """
        return plot(self._turns(), self._scores(), metric=metric, axes=ax)

    def report(self, path: str | Path = "report.html") -> Path:
        """Write a report that needs no server, as `tasuki report` does.

        Raises:
            SettingsError: what draws it is not installed.
            LedgerBroken: it was written, and says that the ledger does not hold.
        """
        material = collect(self._course.archive, self.name)
        write_report(material, Path(path))
        if material.broken:
            raise LedgerBroken(material.broken)
        return Path(path)

    # Steered.

    def wait(self, *, show: bool = True) -> Run:
        """Returns when it is over. `show`: what happens, meanwhile.

        An interrupt (Ctrl-C, or a notebook's stop button) ends a simulation, which can be resumed;
        a run at a controller goes on.

        Raises:
            RunPaused: it waits for an operator.
            TasukiError: what it failed with.
        """
        try:
            if show:
                show_live(self._course.items(beat_s=BEAT_S))
            error = self._course.wait()
        except KeyboardInterrupt:
            sys.stderr.write(f"{self._course.interrupt()}\n")
            raise
        self._raise_unless_fine(error)
        return self

    def stop(self) -> None:
        """End it now; its checkpoints stay. Returns at once."""
        self._course.steer("stop")

    def pause(self) -> None:
        """Pause it when its round ends. Returns at once."""
        self._course.steer("pause")

    def resume(self) -> None:
        """Go on with a paused run at a controller."""
        self._course.steer("resume")

    def interrupt(self) -> None:
        """End a simulation where it is; `simulate(..., resume=True)` goes on."""
        self._course.interrupt()

    def __repr__(self) -> str:
        summary = self._summary()
        if summary is None:
            return f"<run {self.name}: {STARTING}>"
        said = f"{summary.status}, {summary.turns} turns in {summary.rounds} rounds"
        if summary.reason and summary.status is not Status.FINISHED:
            said += f"; {printable(summary.reason.splitlines()[0])}"
        if (best := summary.best_round) is not None:
            said += f"; best is round {best.round} with {best.metric} {best.value:.4g}"
        return f"<run {self.name}: {said}>"

    def _raise_unless_fine(self, error: str | None) -> None:
        summary = self._course.summary()
        if summary.status not in _DIED:
            return
        kind = RunPaused if summary.status is Status.PAUSED else _kind(error)
        raise kind(f"{self.name} {summary.status}: {printable(summary.reason)}")

    def _say_left_out(self, evaluations: Sequence[Evaluation]) -> None:
        """Raises NoScores: that was everybody."""
        said = list(left_out(evaluations))
        if not any(each.scored for each in evaluations):
            raise NoScores(f"no site of {self.name} has scored:\n" + "\n".join(said))
        sys.stderr.writelines(f"{line}\n" for line in said)

    def _summary(self) -> Summary | None:
        """None: it is not on record yet."""
        with suppress(UnknownRun):
            return self._course.summary()
        return None

    def _turns(self) -> TurnTable:
        return self._course.archive.turns(self.name)

    def _scores(self) -> Scores:
        return self._course.archive.scores(self.name, metric=None, mode=None)


def _kind(error: str | None) -> type[TasukiError]:
    kind = getattr(errors, error or "", None)
    return kind if isinstance(kind, type) and issubclass(kind, TasukiError) else RunFailed


def _framework() -> Framework:
    return "torch" if importlib.util.find_spec("torch") is not None else "numpy"
