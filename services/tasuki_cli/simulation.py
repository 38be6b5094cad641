"""What a simulation is asked for, and how it ended: values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tasuki.core.model import Plan
from tasuki.core.run import RunState
from tasuki.errors import TasukiError
from tasuki.moments import UNWATCHED, Moments
from tasuki.settings.initial import RunWeights
from tasuki.settings.run import RunFile
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.news import Update
from tasuki_controller.service import ControllerService
from tasuki_site.trainer.source import Source

RUN_FILE = "run-file"
"""In a simulated run's folder: where its run file was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What is to be simulated.

    Attributes:
        folder: where the run file is; its trainer and factory are found from here.
        rounds: so many, whatever the run file says; more than before if it is resumed.
        one_process: one trainer's process for all sites, one after the other; None: unless it is
            a script, which goes on from turn to turn at its own site.
        output: gets (who, line) for every line that a site's own code prints.
        run_toml: the file, if there is one: noted in the run's folder.
        handed: a descriptor of functions for trainer and factory: see `tasuki_site.trainer.cell`.
        on_start: gets the controller once it serves.
        moments: told when the controller gets to one.
    """

    run_file: RunFile
    folder: Path
    data: DataFolder
    sites: tuple[str, ...]
    resume: bool = False
    rounds: int | None = None
    one_process: bool | None = None
    watcher: Callable[[Update], None] = lambda _: None
    output: Callable[[str, str], None] = lambda *_: None
    run_toml: Path | None = None
    handed: int | None = None
    on_start: Callable[[ControllerService], None] = lambda _: None
    moments: Moments = UNWATCHED

    def plan(self) -> Plan:
        """The run, with as many rounds as it is to have.

        Raises:
            SettingsError: its settings do not fit together.
        """
        run_file = self.run_file
        if self.rounds is not None:
            run_file = run_file.model_copy(update={"rounds": self.rounds})
        return run_file.plan(self.sites)

    @property
    def source(self) -> Source:
        table = self.run_file.simulate
        run, evaluate = table.trainer or self.run_file.trainer, table.evaluate or ""
        return Source(run=run, folder=self.folder, evaluate=evaluate, handed=self.handed)

    @property
    def shares_a_process(self) -> bool:
        """Whatever the number of sites: what a trainer sees must not depend on it."""
        is_function = not (self.source.is_script or self.source.is_command)
        return is_function and self.one_process is not False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToScore:
    """What all sites of a simulation are to score, though it is over.

    Attributes:
        weights: a checkpoint's, or a file's; None: the best, the latest if none was chosen.
        split: the data to score on; None: as the run says.
    """

    run: str
    weights: RunWeights | Path | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a simulation ended. `error`: the class of error that it failed with, if it did."""

    state: RunState
    wall_s: float
    error: type[TasukiError] | None
