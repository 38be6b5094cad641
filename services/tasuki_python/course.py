"""Where a run goes on and is on record: simulated here, at a controller, or in a folder."""

from __future__ import annotations

import threading
from asyncio import CancelledError
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

from tasuki.core import run as machine
from tasuki.core.run import Status
from tasuki.errors import (
    CannotEvaluate,
    DataInUse,
    RunError,
    RunUnderWay,
    SettingsError,
    UnknownRun,
)
from tasuki.settings.initial import RunWeights, of_run
from tasuki_cli import evaluate as evaluating
from tasuki_cli import operate
from tasuki_cli.client import ControllerClient
from tasuki_cli.records import LocalArchive
from tasuki_cli.simulate import evaluated
from tasuki_cli.simulation import Ended, Simulation, ToScore
from tasuki_controller.checkpoints import BEST, LATEST, Kept
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.documents import Standing, Summary
from tasuki_python.happening import Feed, Item
from tasuki_python.live import BEAT_S, show_live
from tasuki_python.working import Work

_STEERING: dict[str, machine.Event] = {
    "pause": machine.PauseRequested(),
    "stop": machine.StopRequested(),
}


class Course(Protocol):
    """One run, seen from Python."""

    archive: LocalArchive | ControllerClient

    def summary(self) -> Summary:
        """How it stands. Raises UnknownRun."""

    def items(self, *, beat_s: float | None = None) -> Iterator[Item | None]:
        """See `Feed.items`. Raises TasukiError: what ended them before the run was over."""

    def wait(self) -> str | None:
        """Returns when the run is over, or paused; the class of the error that it failed with.

        Raises:
            TasukiError: something broke on the way.
        """

    def steer(self, what: str) -> None:
        """pause, resume or stop."""

    def interrupt(self) -> str:
        """Look no longer; what to say about that."""

    def copy_weights(self, which: str, folder: Path) -> Kept:
        """best, latest or round-7; empty: the best if it has chosen one, else the latest."""

    def evaluate(self, wanted: RunWeights | Path | None, *, split: str | None) -> int:
        """Let all sites score weights, as `tasuki evaluate`; the number of that, once it is over.

        Raises:
            CannotEvaluate, RunUnderWay, SettingsError, UnknownRun: it cannot be.
        """


class Recorded:
    """A run in a data folder on which nobody works that we know of."""

    def __init__(self, run: str, data: DataFolder) -> None:
        self.archive: LocalArchive | ControllerClient = LocalArchive(data.path)
        self._run = run
        self._data = data

    def summary(self) -> Summary:
        return self.archive.standing(self._run)

    def items(self, *, beat_s: float | None = None) -> Iterator[Item | None]:
        yield from ()

    def wait(self) -> str | None:
        return self.archive.standing(self._run).error

    def steer(self, what: str) -> None:
        raise RunError(f"nobody works on {self._run}: there is nothing to {what}")

    def interrupt(self) -> str:
        return ""

    def copy_weights(self, which: str, folder: Path) -> Kept:
        if not which:
            return self._data.checkpoint(self._run)
        wanted = of_run(f"run:{self._run}/{which}")
        assert wanted is not None  # noqa: S101 - it begins with `run:`
        return self._data.weights_of(wanted)

    def evaluate(self, wanted: RunWeights | Path | None, *, split: str | None) -> int:
        simulation = evaluating.simulation_of(self._run, self._data)
        return _scored(simulation, ToScore(run=self._run, weights=wanted, split=split))


class Simulated(Recorded):
    """A run that is simulated in this process."""

    def __init__(self, simulation: Simulation, feed: Feed, work: Work[Ended]) -> None:
        super().__init__(simulation.run_file.name, simulation.data)
        self._simulation = simulation
        self._feed = feed
        self._work = work

    def items(self, *, beat_s: float | None = None) -> Iterator[Item | None]:
        yield from self._feed.items(beat_s=beat_s)
        self.wait()

    def summary(self) -> Summary:
        try:
            return super().summary()
        except DataInUse as exc:  # by our own thread, which makes the ledger
            raise UnknownRun(f"run {self._run!r} has not begun yet") from exc
        except UnknownRun:
            if self._work.is_over:
                self.wait()  # which says why it never began
            raise

    def wait(self) -> str | None:
        try:
            ended = self._work.ended()
        except CancelledError as exc:
            raise RunError(f"{self._run} was interrupted; go on with resume=True") from exc
        return None if ended.error is None else ended.error.__name__

    def steer(self, what: str) -> None:
        if self._work.is_over:
            super().steer(what)
        if (event := _STEERING.get(what)) is None:
            raise RunError(f"a simulation goes on when simulate is called with resume=True: {what}")
        self._work.steer(event)

    def interrupt(self) -> str:
        self._work.interrupt()
        return f"{self._run} was interrupted; go on with resume=True"

    def evaluate(self, wanted: RunWeights | Path | None, *, split: str | None) -> int:
        if not self._work.is_over:
            raise RunUnderWay(f"{self._run} is not over: wait for it, or stop it first")
        simulation = self._simulation
        if simulation.handed is not None and simulation.run_file.simulate.evaluate is None:
            raise CannotEvaluate(
                f"{self._run} has no function that scores: give `simulate` one, as in "
                "evaluate=judge; with evaluation={'at_end': False} it is asked here alone"
            )
        return _scored(simulation, ToScore(run=self._run, weights=wanted, split=split))


class Watched:
    """A run at a controller."""

    def __init__(self, run: str, client: ControllerClient) -> None:
        self.archive: LocalArchive | ControllerClient = client
        self._run = run
        self._client = client
        self._feed: Feed | None = None
        self._broken: BaseException | None = None

    def summary(self) -> Standing:
        return self._client.standing(self._run)

    def items(self, *, beat_s: float | None = None) -> Iterator[Item | None]:
        if self._feed is None or self._broken is not None:
            self._feed, self._broken = Feed(), None
            threading.Thread(target=self._follow, args=(self._feed,), daemon=True).start()
        yield from self._feed.items(beat_s=beat_s)
        if self._broken is not None:
            raise self._broken

    def wait(self) -> str | None:
        for _ in self.items():
            pass
        return self._client.outcome(self._run).error

    def steer(self, what: str) -> None:
        steered = self._client.steer(self._run, what)
        if steered.outcome:
            raise RunError(f"{self._run} is {steered.status}: nothing to {what}")

    def interrupt(self) -> str:
        return f"{self._run} goes on at {self._client.url}"

    def copy_weights(self, which: str, folder: Path) -> Kept:
        wanted = of_run(f"run:{self._run}/{which}" if which else f"run:{self._run}")
        if wanted is None or not which or which in {BEST, LATEST}:
            kept = self._client.copy_weights(self._run, folder, round=None, which=which or None)
            if which == BEST != kept.name:
                raise UnknownRun(f"run {self._run!r} has chosen no best weights yet")
            return kept
        return self._client.copy_weights(self._run, folder, round=wanted.round)

    def evaluate(self, wanted: RunWeights | Path | None, *, split: str | None) -> int:
        asked = evaluating.ask(self._run, wanted, self._client, split=split)
        evaluating.followed(self._run, asked.number, self._client)
        return asked.number

    def _follow(self, feed: Feed) -> None:
        try:
            operate.followed(self._run, self._client, feed.put)
        except BaseException as exc:  # noqa: BLE001 - whoever reads on is told
            self._broken = exc
        finally:
            feed.end()


def _scored(simulation: Simulation, to_score: ToScore) -> int:
    """Shown, as a run is, and in a thread of its own, as that is."""
    feed = Feed()
    work = Work(simulation, feed, partial(evaluated, to_score=to_score))
    work.start()
    try:
        show_live(feed.items(beat_s=BEAT_S))
        return work.ended()
    except KeyboardInterrupt:
        work.interrupt()
        raise


def is_fine(status: Status) -> bool:
    """Whether a run that stands like this has done what it was asked for."""
    return status in {Status.FINISHED, Status.STOPPED}


def check_which(which: str | int) -> str:
    """Raises SettingsError: no such weights can be."""
    text = f"round-{which}" if isinstance(which, int) else which
    try:
        of_run(f"run:r/{text}" if text else "run:r")
    except ValueError as exc:
        raise SettingsError(f"weights({which!r}): say 'best', 'latest', 'round-7' or 7") from exc
    return text
