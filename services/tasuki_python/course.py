"""Where a run goes on and is on record: simulated here, at a controller, or in a folder."""

from __future__ import annotations

import threading
from asyncio import CancelledError
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tasuki.core import run as machine
from tasuki.core.run import Status
from tasuki.errors import DataInUse, RunError, SettingsError, TasukiError, UnknownRun
from tasuki.settings.initial import of_run
from tasuki_cli import operate
from tasuki_cli.client import ControllerClient
from tasuki_cli.records import Archive, LocalArchive
from tasuki_controller.checkpoints import BEST, LATEST, Kept
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.documents import Standing, Summary, summary
from tasuki_controller.history import failure
from tasuki_python.happening import Feed, Item
from tasuki_python.working import Work

_STEERING: dict[str, machine.Event] = {
    "pause": machine.PauseRequested(),
    "stop": machine.StopRequested(),
}


class Course(Protocol):
    """One run, seen from Python."""

    archive: Archive

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


class Recorded:
    """A run in a data folder on which nobody works that we know of."""

    def __init__(self, run: str, data: DataFolder) -> None:
        self.archive: Archive = LocalArchive(data.path)
        self._run = run
        self._data = data

    def summary(self) -> Summary:
        state, records = self._data.run(self._run)
        return summary(state, records, wall_s=0.0)

    def items(self, *, beat_s: float | None = None) -> Iterator[Item | None]:
        yield from ()

    def wait(self) -> str | None:
        return failure(self._data.rows(self._run))

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


class Simulated(Recorded):
    """A run that is simulated in this process."""

    def __init__(self, run: str, data: DataFolder, feed: Feed, work: Work) -> None:
        super().__init__(run, data)
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


class Watched:
    """A run at a controller."""

    def __init__(self, run: str, client: ControllerClient) -> None:
        self.archive: Archive = client
        self._run = run
        self._client = client
        self._feed: Feed | None = None
        self._broken: TasukiError | None = None

    def summary(self) -> Standing:
        return self._client.standing(self._run)

    def items(self, *, beat_s: float | None = None) -> Iterator[Item | None]:
        if self._feed is None:
            self._feed = Feed()
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

    def _follow(self, feed: Feed) -> None:
        try:
            operate.followed(self._run, self._client, feed.put)
        except TasukiError as exc:  # whoever reads on is told
            self._broken = exc
        finally:
            feed.end()


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
