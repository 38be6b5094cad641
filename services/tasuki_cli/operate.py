"""`tasuki submit`, `watch`, `pause`, `resume` and `stop`: an operator and a running controller."""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
from pathlib import Path
from typing import TextIO, cast

from rich.console import Console

from tasuki import errors
from tasuki.core.run import OVER, Status
from tasuki.core.run.cause import DONE
from tasuki.errors import (
    NoScores,
    RunError,
    RunFailed,
    RunStopped,
    SitesLeftOut,
    TasukiError,
)
from tasuki.observe.outlet import Outlet
from tasuki.observe.printable import headline, printable
from tasuki.settings.run import RunFile
from tasuki.settings.toml import read, read_text
from tasuki_cli.client import ControllerClient
from tasuki_cli.display import RunDisplay, also
from tasuki_cli.ending import show_turns
from tasuki_cli.records import print_json
from tasuki_controller.documents import RunRow, Standing
from tasuki_controller.news import Watcher

_NOT_ADDED = {
    "takes_part_already": "it takes part already",
    "order_is_a_list": "its order is a list of sites, and this one is not in it",
}


def submit(run_toml: Path, client: ControllerClient, *, wait: bool, as_json: bool) -> int:
    """Make the first weights here and start the run there; returns the exit code."""
    run_file = read(run_toml, RunFile)
    submitted = submit_file(run_toml, run_file, client)
    if wait:
        return watch(run_file.name, client, as_json=as_json)
    show(submitted, as_json=as_json)
    return 0


def submit_file(run_toml: Path, run_file: RunFile, client: ControllerClient) -> RunRow:
    """Start the run; weights of another one are at the controller already."""
    from tasuki_site.model_files.first_weights import first_weights

    if run_file.weights.of_run is not None:
        return client.submit_from(read_text(run_toml))
    with tempfile.TemporaryDirectory(prefix="tasuki-") as folder:
        path = Path(folder) / "initial.safetensors"
        weights = asyncio.run(
            first_weights(
                run_file.weights.initial,
                path,
                folder=run_toml.resolve().parent,
                seed=run_file.seed,
                non_finite=run_file.gate.non_finite,
                warn=lambda text: _warn(run_file.name, text),
                show=lambda line: _note(f"initial {line}"),
            )
        )
        return client.submit(read_text(run_toml), weights, path)


def _note(line: str) -> None:
    """What is not the command's answer goes beside it."""
    sys.stderr.write(f"{line}\n")


def _warn(run: str, text: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        f"{run}: {printable(text)}", style="yellow", markup=False
    )


def watch(run: str, client: ControllerClient, *, as_json: bool) -> int:
    """Show a run until it is over; returns the exit code that fits how it ended."""
    # Who reads it may go; the run goes on.
    console = Console(file=cast("TextIO", Outlet(sys.stderr if as_json else sys.stdout)))
    display = RunDisplay(console)
    with display:
        standing = followed(run, client, display.watch)
    _show_end(standing, client.url, as_json=as_json)
    return exit_code(standing)


def followed(run: str, client: ControllerClient, watch: Watcher) -> Standing:
    """How it ended. A run that was over may have been given more rounds before we asked."""
    while True:
        for update in client.follow(run):
            watch(update)
        standing = client.outcome(run)
        if standing.status in OVER:
            return standing


def steer(run: str, what: str, client: ControllerClient, *, as_json: bool) -> int:
    """Pause, resume or stop a run; an error if that has no meaning any more."""
    steered = client.steer(run, what)
    if steered.outcome:
        raise RunError(f"{run} is {steered.status}: nothing to {what}")
    show(steered, as_json=as_json)
    return 0


def extend(run: str, rounds: int, client: ControllerClient, *, as_json: bool) -> int:
    """Let a run have so many rounds in all; one that has them already is as it was."""
    extended = client.extend(run, rounds)
    if extended.outcome:
        _note(f"{run} has {rounds} rounds already")
    show(extended, as_json=as_json)
    return 0


def add_site(run: str, site: str, client: ControllerClient, *, as_json: bool) -> int:
    """Let a site take part in a run from its next round on; an error if it cannot."""
    steered = client.add_site(run, site)
    if steered.outcome:
        reason = _NOT_ADDED.get(steered.outcome, f"the run is {steered.status}")
        raise RunError(f"{site} cannot be added to {run}: {reason}")
    show(steered, as_json=as_json)
    return 0


def exit_code(standing: Standing) -> int:
    """0 for a run that all its sites trained; the error's own code for one that failed by it."""
    if standing.status is Status.FINISHED:
        left_out = SitesLeftOut.exit_code if standing.left_out else 0
        return NoScores.exit_code if standing.unjudged else left_out
    if standing.status is Status.STOPPED:
        return RunStopped.exit_code
    kind = getattr(errors, standing.error or "", None)
    if isinstance(kind, type) and issubclass(kind, TasukiError):
        return kind.exit_code
    return RunFailed.exit_code


def _show_end(standing: Standing, url: str, *, as_json: bool) -> None:
    if as_json:
        print_json(standing, without="history")
        return
    records = [turn.record(instead=math.nan) for turn in standing.history]
    show_turns(
        Console(highlight=False),
        records,
        standing.skips,
        metric=standing.best,
        best=standing.best_round,
        every=f"tasuki turns {standing.run} --controller {url}",
    )
    show(standing, as_json=False)


def show(run: RunRow | Standing, *, as_json: bool) -> None:
    """Where a run stands, in a few lines; what an answer does not say is left out."""
    if as_json:
        print_json(run)
        return
    # A run in one line, as an answer to a wish, does not say it.
    unchanged = run.unchanged if isinstance(run, Standing) else 0
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{run.run} {run.status}: {run.turns} turns{also(run.skipped, unchanged)}")
    if run.reason and (run.status is not Status.FINISHED or run.reason != DONE):
        reason = printable(headline(run.reason))
        console.print(f"reason: {reason}", style="red", markup=False)
    console.print(f"digest {run.digest}")
