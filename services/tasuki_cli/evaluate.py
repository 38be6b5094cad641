"""`tasuki evaluate`: let all sites score the same weights of a run, and show what they say."""

from __future__ import annotations

import logging
import re
import sys
from dataclasses import replace
from pathlib import Path

import structlog
from rich.console import Console

from tasuki.errors import NoScores, SettingsError
from tasuki.settings.initial import RunWeights
from tasuki.settings.run import RunFile
from tasuki.settings.toml import read
from tasuki_cli import simulate
from tasuki_cli.client import ControllerClient
from tasuki_cli.display import RunDisplay
from tasuki_cli.records import LocalArchive, print_json
from tasuki_cli.scores import show_evaluation
from tasuki_cli.simulation import RUN_FILE, Simulation, ToScore
from tasuki_controller.continuing import check_evaluated
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.documents import AskedEvaluation, Evaluation, Scores

_ROUND = re.compile(r"round-(\d{1,9})")


def chosen(run: str, weights: str | None) -> RunWeights | Path | None:
    """What these words name: a checkpoint, or a file; None: the best, or the latest without one.

    Raises:
        SettingsError: neither.
    """
    if weights is None:
        return None
    if weights in {"best", "latest"}:
        return RunWeights(run=run, is_best=weights == "best")
    if (found := _ROUND.fullmatch(weights)) is not None:
        return RunWeights(run=run, round=int(found[1]))
    path = Path(weights)
    if path.suffix != ".safetensors":
        raise SettingsError(
            f"weights {weights!r}: name best, latest, round-7 or the like, or a .safetensors file"
        )
    if not path.is_file():
        raise SettingsError(f"weights {weights!r}: there is no such file")
    return path


def evaluate(
    run: str,
    client: ControllerClient,
    *,
    weights: str | None,
    split: str | None,
    wait: bool,
    as_json: bool,
) -> int:
    """Ask a controller's sites; returns the exit code."""
    asked = ask(run, chosen(run, weights), client, split=split)
    if not wait:
        if as_json:
            print_json(asked)
        else:
            sys.stdout.write(
                f"evaluation {asked.number} of {run}: `tasuki scores {run}` shows what sites say\n"
            )
        return 0
    return show(followed(run, asked.number, client), asked.number, as_json=as_json)


def evaluate_locally(
    run: str,
    data: DataFolder,
    *,
    weights: str | None,
    split: str | None,
    run_toml: Path | None,
    as_json: bool,
) -> int:
    """Ask the sites of a simulation that is over; returns the exit code."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    wanted = chosen(run, weights)
    display = RunDisplay(Console(stderr=True))
    simulation = replace(
        simulation_of(run, data, run_toml=run_toml), watcher=display.watch, output=display.print
    )
    with display:
        number = simulate.evaluate(simulation, ToScore(run=run, weights=wanted, split=split))
    scores = LocalArchive(data.path).scores(run, metric=None, mode=None)
    return show(scores, number, as_json=as_json)


def simulation_of(run: str, data: DataFolder, *, run_toml: Path | None = None) -> Simulation:
    """What a run was simulated by; `run_toml`: its file, if it was moved.

    Raises:
        UnknownRun, WeightsRemoved: there is no such run, or no more than its ledger.
        SettingsError: its file is not known, or cannot be used.
    """
    state, _ = data.run(run)
    check_evaluated(state)
    file = run_toml or _noted(run, data)
    run_file = read(file, RunFile)
    if run_toml is None and run_file.name != run:
        raise SettingsError(
            f"{file}, by which {run} was simulated, is now of {run_file.name!r}: name the run file "
            "with the same trainer, --run-file run.toml"
        )
    return Simulation(
        run_file=run_file,
        folder=file.resolve().parent,
        data=data,
        sites=state.plan.sites,
    )


def _noted(run: str, data: DataFolder) -> Path:
    """Raises SettingsError: nobody noted where its run file was, or it is there no more."""
    note = data.runs_path / run / RUN_FILE
    path = Path(note.read_text()) if note.is_file() else None
    if path is None or not path.is_file():
        where = "" if path is None else f" (it was {path})"
        raise SettingsError(
            f"the run file of {run} is not known here{where}: name it, as in `tasuki evaluate "
            f"{run} --run-file run.toml`; a run of functions is evaluated in Python, by "
            f'tasuki.simulate(train, ..., name="{run}", resume=True).evaluate(...) with the '
            "settings that it was begun with"
        )
    return path


def ask(
    run: str, wanted: RunWeights | Path | None, client: ControllerClient, *, split: str | None
) -> AskedEvaluation:
    """Have a controller's sites score what `chosen` gave; returns at once."""
    if isinstance(wanted, Path):
        client.standing(run)  # before a file goes there for nothing
    uploaded = client.upload(wanted) if isinstance(wanted, Path) else wanted
    return client.evaluate(run, uploaded, split=split)


def followed(run: str, number: int, client: ControllerClient) -> Scores:
    """What sites say, once this evaluation is over.

    Raises:
        NoScores: an operator has stopped it.
    """
    for update in client.follow(run):
        state = update.run
        if state is None or (state.evaluation and state.evaluation.asked.number <= number):
            continue
        scores = client.scores(run, metric=None, mode=None)
        if of_number(scores, number) is not None:
            return scores
    scores = client.scores(run, metric=None, mode=None)
    if of_number(scores, number) is None:
        raise NoScores(f"evaluation {number} of {run} was called off before it began")
    return scores


def of_number(scores: Scores, number: int) -> Evaluation | None:
    """The evaluation of this number, if it is over."""
    found = (each for each in scores.evaluations if each.number == number and each.is_over)
    return next(found, None)


def show(scores: Scores, number: int, *, as_json: bool) -> int:
    """What the sites have said in one evaluation; returns the exit code."""
    evaluation = of_number(scores, number)
    assert evaluation is not None  # noqa: S101 - it was waited for
    of_it = {
        "evaluations": [evaluation],
        "evaluated": [
            table.model_copy(update={"rows": [row for row in table.rows if row.number == number]})
            for table in scores.evaluated
            if any(row.number == number for row in table.rows)
        ],
        "rolling": [],
    }
    if as_json:
        print_json(scores.model_copy(update=of_it))
    else:
        show_evaluation(Console(highlight=False), scores.model_copy(update=of_it))
    return 0 if evaluation.scored else NoScores.exit_code
