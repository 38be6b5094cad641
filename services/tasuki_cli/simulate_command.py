"""`tasuki simulate`: read the run file, show the relay, say how it ended."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from shlex import quote
from typing import TextIO, cast

import structlog
from rich.console import Console

from tasuki.core.model import CONTROLLER, TurnRecord
from tasuki.core.run import Status
from tasuki.core.run.cause import DONE
from tasuki.errors import NoScores, RunFailed, RunPaused, RunStopped, SitesLeftOut, TasukiError
from tasuki.observe.outlet import Outlet
from tasuki.observe.printable import headline, printable
from tasuki.settings.run import RunFile
from tasuki.settings.toml import read
from tasuki.testing.faults import listening
from tasuki_cli.display import RunDisplay, also
from tasuki_cli.ending import show_turns
from tasuki_cli.records import in_words
from tasuki_cli.simulate import simulate
from tasuki_cli.simulation import Ended, Simulation
from tasuki_controller import history
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.documents import best_of, summary

ENDINGS: dict[Status, type[TasukiError]] = {
    Status.FAILED: RunFailed,
    Status.STOPPED: RunStopped,
    Status.PAUSED: RunPaused,
}


def run_simulation(
    run_toml: Path,
    *,
    data: Path,
    sites: int | None,
    resume: bool,
    rounds: int | None,
    one_process: bool | None,
    as_json: bool,
    faults: str | None = None,
) -> int:
    """Simulate and report; returns the exit code. `faults`: a script for the controller."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    run_file = read(run_toml, RunFile)
    out = cast("TextIO", Outlet(sys.stdout))  # who reads it may go; the run goes on
    console = Console(file=cast("TextIO", Outlet(sys.stderr)) if as_json else out)
    display = RunDisplay(console)
    simulation = Simulation(
        run_file=run_file,
        folder=run_toml.resolve().parent,
        data=DataFolder(data),
        sites=run_file.simulated_sites(sites),
        resume=resume,
        rounds=rounds,
        one_process=one_process,
        watcher=display.watch,
        output=display.print,
        run_toml=run_toml,
        moments=listening(faults, actor=CONTROLLER),
    )
    with display:
        ended = simulate(simulation)
    records = history.records(history.steps(simulation.data.rows(run_file.name)))
    if as_json:
        out.write(summary(ended.state, records, wall_s=ended.wall_s).line() + "\n")
    else:
        _show(console, simulation, ended, records)
    return _exit_code(ended)


def _show(
    console: Console, simulation: Simulation, ended: Ended, records: list[TurnRecord]
) -> None:
    state = ended.state
    show_turns(
        console,
        records,
        state.skipped,
        metric=state.plan.checkpoint.best,
        best=best_of(state),
        every=f"tasuki turns {state.plan.run} --data {quote(str(simulation.data.path))}",
    )
    line = f"{state.plan.run} {state.status}: {state.turns} turns in {ended.wall_s:.1f} s"
    unchanged = sum(record.is_unchanged for record in records)
    console.print(f"{line}{also(len(state.skipped), unchanged)}", highlight=False)
    if state.reason != DONE:
        reason = printable(headline(state.reason))
        console.print(f"reason: {reason}", style="red", markup=False, soft_wrap=True)
    kept = simulation.data.checkpoint(state.plan.run)
    console.print(f"these are {in_words(kept)}:", highlight=False)
    console.print(f"weights {kept.path}", highlight=False, soft_wrap=True)
    console.print(f"digest {kept.digest}", highlight=False, soft_wrap=True)


def _exit_code(ended: Ended) -> int:
    if ended.state.status is Status.FINISHED:
        left_out = SitesLeftOut.exit_code if ended.state.left_out else 0
        return NoScores.exit_code if ended.state.unjudged else left_out
    return (ended.error or ENDINGS.get(ended.state.status, RunPaused)).exit_code
