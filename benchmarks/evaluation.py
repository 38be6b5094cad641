"""How long an evaluation takes whose sites take their time, and what memory one takes.

    PYTHONPATH=tests python benchmarks/evaluation.py [--sites 8] [--seconds 2] [--mb 100 1000]

All sites are asked at once: wherever each has a process to score in, an evaluation takes about as
long as one site does. Simulations first, then a controller, three sites and a private broker, and
there, for each of `--mb`, what memory every service takes beyond what it had when it was idle: in a
round of turns, and in an evaluation of what that ended with.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from support.broker import Broker
from support.federation import Federation
from support.process_memory import MemoryWatch
from support.simulation import Outcome, tasuki
from tasuki.core.model import EVALUATION

NAME = "judged"
ROUNDS = 3
LONGEST_S = 3600

TRAINER = """
import time

import numpy as np

MB = {mb}
VALUES = int(min(MB, 4) * 250_000)


def make():
    return {{f"w{{i}}": np.ones(VALUES, "float32") for i in range(max(1, round(MB / 4)))}}


def train(turn):
    weights = turn.weights("numpy")
    weights["w0"][0] += 1
    return turn.result(weights, samples=1)


def evaluate(turn):
    score = float(turn.weights("numpy")["w0"][0])
    time.sleep(turn.params["seconds"])
    return turn.scores({{"accuracy": score}}, samples=1)
"""

RUN = """
name = "{name}"
rounds = {rounds}
trainer = "walk"
[weights]
initial = "walk:make"
[params]
seconds = {seconds}
[evaluate]
{evaluate}
[failure]
lease_s = 3600
[checkpoint]
keep = 1
[simulate]
sites = {sites}
trainer = "walk:train"
{processes}
"""

Rows = Sequence[Mapping[str, Any]]  # Any: JSON


def write(folder: Path, *, mb: float = 1, **settings: object) -> Path:
    """A run file beside its trainer."""
    (folder / "walk.py").write_text(TRAINER.format(mb=mb))
    known = {"name": NAME, "rounds": ROUNDS, "sites": 3, "seconds": 0, "processes": ""}
    known["evaluate"] = "every_n_rounds = 1"
    path = folder / "run.toml"
    path.write_text(RUN.format(**{**known, **settings}))
    return path


def simulated(sites: int, seconds: float, *, processes: str, options: Sequence[str]) -> list[float]:
    """The evaluations of a simulation, in seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = write(folder, sites=sites, seconds=seconds, processes=processes)
        _well(tasuki("simulate", run, "--data", folder, "--json", *options, timeout_s=LONGEST_S))
        rows = _well(tasuki("ledger", NAME, "--data", folder, "--json")).last["rows"]
    return list(evaluations(rows))


def evaluations(rows: Rows) -> Iterator[float]:
    """From each round's end to the last score of what it ended with, in seconds."""
    began = ended = 0.0
    for row in rows:
        at = datetime.fromisoformat(row["at"]).timestamp()
        if row["turn"] and row["turn"]["lane"] >= EVALUATION:
            ended = at
        elif row["event"] == "WeightsArrived":
            if began:
                yield ended - began
            began = at
    yield ended - began


@contextmanager
def a_federation(broker: Broker, folder: Path) -> Iterator[Federation]:
    vhost = broker.vhost()
    with Federation(folder, broker, vhost) as federation:
        yield federation
    broker.drop_vhost(vhost)


def at_sites(broker: Broker, seconds: float) -> list[float]:
    """The evaluations of a run of three sites over a broker."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = write(folder, seconds=seconds)
        with a_federation(broker, folder) as federation:
            _well(federation.submit(run))
            return list(evaluations(federation.ledger(NAME)))


def memory(broker: Broker, mb: float) -> list[tuple[str, float, float]]:
    """Of each service, MiB beyond idle: in a round of turns, and in an evaluation.

    And of the largest trainer's process, whole.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = write(folder, mb=mb, rounds=1, evaluate="at_end = false")
        with a_federation(broker, folder) as federation:
            pids = {each: process.pid for each, process in federation.processes.items()}
            with MemoryWatch(pids) as turns:
                _well(federation.submit(run))
            with MemoryWatch(pids) as scores:
                _well(federation.ask("evaluate", NAME, "--weights", "latest"))
    found = [(each, turns.found[each].extra, scores.found[each].extra) for each in pids]
    trainers = [max(watch.trainers.values(), default=0.0) for watch in (turns, scores)]
    return [*found, ("largest trainer, whole", trainers[0], trainers[1])]


def _well(outcome: Outcome) -> Outcome:
    if outcome.code:
        raise RuntimeError(f"{outcome.err}{outcome.out}")
    return outcome


def show_times(console: Console, times: Mapping[str, list[float]], seconds: float) -> None:
    table = Table(title=f"evaluations of sites that score for {seconds:g} s each")
    table.add_column("how")
    for number in range(ROUNDS):
        table.add_column(f"round {number + 1}", justify="right")
    for how, took in times.items():
        table.add_row(how, *(f"{each:.1f} s  {each / seconds:.2f}x" for each in took))
    console.print(table)


def show_memory(console: Console, found: Sequence[tuple[str, float, float]], mb: float) -> None:
    table = Table(title=f"memory beyond idle with weights of {mb:g} MB, MiB")
    for head in ("process", "in a round of turns", "in an evaluation"):
        table.add_column(head, justify="left" if head == "process" else "right")
    for name, turn, score in found:
        table.add_row(name, f"{turn:.0f}", f"{score:.0f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="evaluations: how long, and how much memory")
    parser.add_argument("--sites", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--mb", type=float, nargs="*", default=[100.0])
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args()
    shared = f"processes = {asked.sites}"
    ways: dict[str, tuple[str, list[str]]] = {
        f"simulate, {asked.sites} sites, one process": ("", ["--one-process"]),
        f"simulate, {asked.sites} sites, {shared}": (shared, []),
        f"simulate, {asked.sites} sites, --processes": (shared, ["--processes"]),
    }
    times = {
        how: simulated(asked.sites, asked.seconds, processes=processes, options=options)
        for how, (processes, options) in ways.items()
    }
    found: dict[float, list[tuple[str, float, float]]] = {}
    with Broker() as broker:
        broker.start()
        times["RabbitMQ, 3 sites"] = at_sites(broker, asked.seconds)
        for mb in asked.mb:
            found[mb] = memory(broker, mb)
    if asked.as_json:
        told = {"seconds": asked.seconds, "times": times, "memory_mib": found}
        sys.stdout.write(json.dumps(told) + "\n")
        return
    console = Console(width=120)
    show_times(console, times, asked.seconds)
    for mb, of_mb in found.items():
        show_memory(console, of_mb, mb)


if __name__ == "__main__":
    main()
