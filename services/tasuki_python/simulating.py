"""`tasuki.simulate`: functions of a notebook, or a run file, trained at sites of this machine."""

from __future__ import annotations

import re
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasuki.errors import RunExists, SettingsError, UnknownRun
from tasuki.settings.run import RunFile
from tasuki.settings.toml import checked, read
from tasuki.trainer import Result, Scores, State, Turn
from tasuki_cli.simulate import simulated
from tasuki_cli.simulation import Simulation
from tasuki_controller.data_folder import DataFolder
from tasuki_python.course import Simulated
from tasuki_python.handing import handed
from tasuki_python.happening import Feed, Printed
from tasuki_python.run import Run
from tasuki_python.working import Work
from tasuki_site.tensors import save_state
from tasuki_site.trainer import cell

Train = Callable[[Turn], Result]
Evaluate = Callable[[Turn], Scores]
Initial = Callable[[], Any] | State | str | Path  # Any: a module, a model, or a state dict

DATA = Path(".tasuki")
_NAMED = re.compile(r"run-(\d{1,9})")


def simulate(
    train: Train | str | Path,
    *,
    initial: Initial | None = None,
    evaluate: Evaluate | None = None,
    sites: int | Sequence[str] | None = None,
    rounds: int | None = None,
    order: str | Sequence[str | Sequence[str]] | None = None,
    params: Mapping[str, object] | None = None,
    seed: int | None = None,
    name: str | None = None,
    data: str | Path = DATA,
    site_data: str | Path | None = None,
    resume: bool = False,
    wait: bool = True,
    **tables: Mapping[str, object],
) -> Run:
    """Train at simulated sites, one after the other; returns the run, once it is over.

    Functions and what they use go to a process of their own on this machine.

    Args:
        train: takes a turn and returns `turn.result(...)`; or the path of a run file.
        initial: makes the first weights (a class or a function without arguments), or is a state
            dict, a .safetensors or .pt file, or another run's, as "run:OTHER/best".
        evaluate: takes a turn and returns `turn.scores(...)`; after each round, or each merge of
            `lanes`, unless the table `evaluation` says otherwise.
        sites: how many, or their names.
        order: fixed, random, random_without_same_in_a_row, a list of sites, or one for each lane.
        params: what a trainer finds as `turn.params`.
        name: of the run; else run-1, run-2 and so on.
        data: the folder of ledger and checkpoints, as the command line's --data.
        site_data: what a trainer finds as `turn.data`.
        resume: go on with the run of this name, or with the newest; more `rounds` are more of them.
        wait: show the run until it is over; else return at once.
        tables: those of a run file: params_at, budget, lanes, failure, checkpoint, stop, gate,
            simulate, and [evaluate] as `evaluation`.

    Raises:
        SettingsError: something does not fit together, or cannot be in another process.
        TasukiError: what the run failed with.
    """
    folder = DataFolder(Path(data))
    given = {
        "initial": initial,
        "evaluate": evaluate,
        "order": order,
        "params": params,
        "seed": seed,
        "name": name,
        "site_data": site_data,
        **tables,
    }
    feed = Feed()
    with ExitStack() as stack, ExitStack() as kept:
        if isinstance(train, str | Path):
            simulation = _of_file(Path(train), folder, sites=sites, rounds=rounds, given=given)
        else:
            told = {**given, "sites": sites, "rounds": rounds}
            told["name"] = name or _name(folder, resume=resume)
            simulation = _of_functions(train, folder, told, stack=stack, kept=kept, feed=feed)
        return _begun(simulation, feed, stack, kept, resume=resume, wait=wait)


def _begun(
    simulation: Simulation,
    feed: Feed,
    stack: ExitStack,
    kept: ExitStack,
    *,
    resume: bool,
    wait: bool,
) -> Run:
    """`stack`: closed when the run is over; `kept`: when nobody has it any more."""
    name = simulation.run_file.name
    if not resume and name in _names(simulation.data):
        raise RunExists(
            f"there is a run {name!r} in {simulation.data.path} already: go on with resume=True, "
            "give this one another name=, or another folder with data="
        )
    simulation.plan()  # what is wrong with it is said here, not by a thread
    simulation = replace(simulation, resume=resume)
    work = Work(simulation, feed, simulated, clear=stack.pop_all().close)
    weakref.finalize(work, kept.pop_all().close)  # its thread has it too, until it is over
    work.start()
    run = Run(name, Simulated(simulation, feed, work))
    return run.wait() if wait else run


# Of a file.


def _of_file(
    run_toml: Path,
    data: DataFolder,
    *,
    sites: int | Sequence[str] | None,
    rounds: int | None,
    given: Mapping[str, object],
) -> Simulation:
    if said := [key for key, value in given.items() if value is not None]:
        raise SettingsError(f"{said[0]} is for functions: {run_toml} says it for itself")
    run_file = read(run_toml, RunFile)
    named = tuple(sites) if sites is not None and not isinstance(sites, int) else None
    return Simulation(
        run_file=run_file,
        folder=run_toml.resolve().parent,
        data=data,
        sites=named or run_file.simulated_sites(sites if isinstance(sites, int) else None),
        rounds=rounds,
        run_toml=run_toml,
    )


# Of functions.


def _of_functions(
    train: Train,
    data: DataFolder,
    given: Mapping[str, Any],  # Any: as `simulate` has it
    *,
    stack: ExitStack,
    kept: ExitStack,
    feed: Feed,
) -> Simulation:
    functions = {"train": _function(train, "train")}
    if given["evaluate"] is not None:
        functions["evaluate"] = _function(given["evaluate"], "evaluate")
    initial, factory = _initial(given["initial"], stack)
    if factory is not None:
        functions["initial"] = factory
    run_file = _run_file({**given, "initial": initial})
    file = handed(functions, warn=lambda text: feed.put(Printed(run_file.name, text)))
    return Simulation(
        run_file=run_file,
        folder=Path.cwd(),
        data=data,
        sites=run_file.simulated_sites(),
        handed=kept.enter_context(file).fileno(),  # sites may be asked to score, once it is over
    )


def _run_file(given: Mapping[str, Any]) -> RunFile:  # Any: as above
    """The file that says the same."""
    own = {"initial", "evaluate", "evaluation", "sites", "site_data", "simulate"}
    content = {key: each for key, each in given.items() if each is not None and key not in own}
    simulated = dict(given.get("simulate") or {})
    simulated |= {"trainer": f"{cell.MODULE}:train"}
    if given["sites"] is not None:
        sites = given["sites"]
        simulated["sites"] = sites if isinstance(sites, int) else list(sites)
    if given["site_data"] is not None:
        simulated["data"] = Path(given["site_data"])
    evaluation = given.get("evaluation")
    if callable(evaluation):
        raise SettingsError(
            "evaluation is a function: a function that scores is evaluate=, and evaluation= is a"
            ' table that says when, as in {"every_n_rounds": 1}'
        )
    if given["evaluate"] is not None:
        simulated["evaluate"] = f"{cell.MODULE}:evaluate"
        lanes = content.get("lanes")
        every = lanes.get("every_n_rounds", 1) if isinstance(lanes, Mapping) else 1
        each = {"every_n_rounds": every}  # once all lanes are one
        evaluation = each if evaluation is None else evaluation
    elif evaluation is not None:
        raise SettingsError("evaluation says when to evaluate: give evaluate=, a function, too")
    if evaluation is not None:
        content["evaluate"] = evaluation
    if isinstance(content.get("order"), tuple | list):
        content["order"] = [list(e) if isinstance(e, tuple) else e for e in content["order"]]
    content |= {
        "trainer": "python",
        "weights": {"initial": given["initial"]},
        "simulate": simulated,
    }
    return checked(content, RunFile, name="tasuki.simulate", folder=Path.cwd())


def _function(value: object, name: str) -> Callable[..., Any]:  # Any: the user's own
    if not callable(value) or isinstance(value, type):
        raise SettingsError(
            f"{name} is {value!r:.60}: give a function that takes a turn"
            + (", or the path of a run file" if name == "train" else "")
        )
    return value


def _initial(
    value: Initial | None, stack: ExitStack
) -> tuple[str, Callable[[], Any] | None]:  # Any: as in Initial
    """What the run file calls the first weights, and what makes them if a function does."""
    if value is None:
        raise SettingsError(
            "initial is missing: a class or function that makes the network, a state dict, a file,"
            ' or "run:OTHER"'
        )
    if isinstance(value, str | Path):
        return str(value), None
    state = value if isinstance(value, Mapping) else _state_of(value)
    if state is None:
        return f"{cell.MODULE}:initial", _factory(value)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tasuki-"))
    save_state(Path(folder) / "initial.safetensors", state)
    return str(Path(folder) / "initial.safetensors"), None


def _state_of(value: object) -> State | None:
    """Of a network that was made already."""
    if isinstance(value, type) or not hasattr(value, "state_dict"):
        return None
    state: State = value.state_dict()
    return state


def _factory(value: object) -> Callable[[], Any]:  # Any: as above
    if not callable(value):
        raise SettingsError(
            f"initial is {value!r:.60}: give a class or function that makes the network, a state"
            ' dict, a file, or "run:OTHER"'
        )
    return value


# Names.


def _names(data: DataFolder) -> list[str]:
    try:
        with closing(data.ledger()) as ledger:
            return list(ledger.runs())
    except UnknownRun:
        return []


def _name(data: DataFolder, *, resume: bool) -> str:
    """The next run-N, or the newest if that is to go on."""
    numbers = [int(found[1]) for found in map(_NAMED.fullmatch, _names(data)) if found]
    if resume and not numbers:
        raise UnknownRun(f"there is no run-1 or later in {data.path} to resume: give its name=")
    return f"run-{max(numbers, default=0) + (0 if resume else 1)}"
