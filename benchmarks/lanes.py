"""How long rounds take whose lanes are trained at once, and what lanes cost a hand-over.

    PYTHONPATH=tests python benchmarks/lanes.py [--sites 8] [--seconds 2] [--mb 0.25] [--json]

First rounds of sites that take their time, with one lane, half as many as sites, and as many: with
each site in one lane a round is as long as the lane with the most sites, wherever each site has a
process to train in. In a simulation, and as real processes on a private broker. Then hand-overs on
that broker, from a trainer's result to the start of the next trainer as in `handoff.py`: of one
lane alone, and of four that meet at the broker, the controller and this machine's processors.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from support.broker import Broker
from support.federation import Federation
from support.simulation import Outcome, tasuki

NAME = "lanes"
LONGEST_S = 3600
WARM_UP = 1  # rounds in which processes start
LANES_AT_ONCE = 4
ROUND_LIMIT, HAND_OVER_LIMIT = 1.3, 1.5

TRAINER = """
import json, os, random, time
from pathlib import Path

import numpy as np

MB = float(os.environ["LANES_MB"])
FOLDER = Path(os.environ["LANES_NOTES"])


def make():
    return {"w": np.ones(int(MB * 250_000), "float32")}


def train(turn):
    began = time.monotonic()
    weights = turn.weights("numpy")
    weights["w"][0] += 1
    # As uneven as training is: else all lanes would hand over in one instant.
    time.sleep(turn.params["seconds"] + turn.params["spread"] * random.random())
    where = {"lane": turn.lane, "round": turn.round, "hop": turn.hop}
    with (FOLDER / f"{turn.lane}-{turn.round}-{turn.hop}.json").open("w") as file:
        file.write(json.dumps({**where, "began": began, "ended": time.monotonic()}))
    return turn.result(weights, samples=1)
"""

RUN = """
name = "{name}"
rounds = {rounds}
order = "fixed"
trainer = "walk"
sites = {sites}
[weights]
initial = "walk:make"
[params]
seconds = {seconds}
spread = {spread}
[lanes]
count = {lanes}
[failure]
lease_s = 3600
[checkpoint]
keep = 1
[simulate]
sites = {sites}
trainer = "walk:train"
processes = {processes}
"""

Turns = Sequence[dict[str, Any]]  # Any: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is measured: so many rounds, sites and lanes, and how long a turn takes."""

    sites: int
    lanes: int
    rounds: int
    seconds: float
    spread: float = 0.0
    mb: float = 0.25

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"site-{number}" for number in range(1, self.sites + 1))

    @property
    def longest_lane_s(self) -> float:
        """What the training alone takes in a round."""
        return -(-self.sites // self.lanes) * self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Rounds of so many lanes, in seconds; `ideal`: of the training alone."""

    where: str
    lanes: int
    ideal: float
    rounds: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.rounds) / self.ideal


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOvers:
    """Those within rounds of so many lanes, in seconds."""

    lanes: int
    times: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.times)


def simulated(asked: Asked) -> Turns:
    """The turns of a simulation in which each site has a process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = _written(folder, asked)
        _well(tasuki("simulate", run, "--data", folder / "data", "--json", timeout_s=LONGEST_S))
        return _noted(folder)


def at_sites(federation: Federation, asked: Asked, *, name: str) -> Turns:
    """The turns of a run over a broker, whose processes an earlier one may have started."""
    for note in federation.folder.glob("*.json"):
        note.unlink()
    run = _written(federation.folder, asked, name=name)
    operator = federation.begin(run).process
    out, err = operator.communicate(timeout=LONGEST_S)
    _well(Outcome(operator.returncode, out, err))
    return _noted(federation.folder)


def round_times(turns: Turns) -> list[float]:
    """From the first turn of each round to that of the next; to the end of all for the last."""
    by_round: dict[int, list[dict[str, Any]]] = {}  # Any: JSON
    for turn in turns:
        by_round.setdefault(turn["round"], []).append(turn)
    begins = [min(turn["began"] for turn in by_round[number]) for number in sorted(by_round)]
    ends = [*begins[1:], max(turn["ended"] for turn in turns)]
    return [end - begin for begin, end in zip(begins, ends, strict=True)][WARM_UP:]


def hand_overs(turns: Turns) -> list[float]:
    """From each result to the start of the next turn of its lane, within rounds."""
    way = sorted(turns, key=lambda turn: (turn["lane"], turn["round"], turn["hop"]))
    return sorted(
        after["began"] - before["ended"]
        for before, after in itertools.pairwise(way)
        if after["hop"] and after["round"] >= WARM_UP
    )


def _written(folder: Path, asked: Asked, *, name: str = NAME) -> Path:
    os.environ.update({"LANES_MB": str(asked.mb), "LANES_NOTES": str(folder)})
    (folder / "walk.py").write_text(TRAINER)
    path = folder / "run.toml"
    settings = {**asdict(asked), "sites": json.dumps(list(asked.names)), "processes": asked.sites}
    path.write_text(RUN.format(name=name, **settings))
    return path


def _noted(folder: Path) -> Turns:
    return [json.loads(path.read_text()) for path in folder.glob("[0-9]*.json")]


def _well(ended: Outcome) -> None:
    if ended.code:
        raise RuntimeError(f"the run failed: {ended.err}{ended.out}")


def measured(options: argparse.Namespace, broker: Broker) -> Iterator[Rounds | HandOvers]:
    """All of it, one after the other."""
    sites, rounds = options.sites, options.rounds + WARM_UP
    counts = sorted({1, max(1, sites // 2), sites})
    waiting = [
        Asked(sites=sites, lanes=lanes, rounds=rounds, seconds=options.seconds) for lanes in counts
    ]
    for asked in waiting:
        yield _rounds("simulated", asked, simulated(asked))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _written(folder, waiting[0])  # sites and their trainers inherit what that sets
        with Federation(folder, broker, broker.vhost(), sites=waiting[0].names) as federation:
            for asked in waiting:
                turns = at_sites(federation, asked, name=f"{NAME}-{asked.lanes}")
                yield _rounds("broker", asked, turns)
            for half in range(2):  # a machine has moods: both before and after each other
                for lanes in (1, LANES_AT_ONCE):
                    yield _hand_overs(federation, lanes, half, options)


def _rounds(where: str, asked: Asked, turns: Turns) -> Rounds:
    return Rounds(
        where=where, lanes=asked.lanes, ideal=asked.longest_lane_s, rounds=round_times(turns)
    )


def _hand_overs(
    federation: Federation, lanes: int, half: int, options: argparse.Namespace
) -> HandOvers:
    within = max(1, lanes * (-(-options.sites // lanes) - 1))
    asked = Asked(
        sites=options.sites,
        lanes=lanes,
        rounds=options.hand_overs // within + WARM_UP,
        seconds=0.05,
        spread=0.1,
        mb=options.mb,
    )
    turns = at_sites(federation, asked, name=f"{NAME}-handover-{lanes}-{half}")
    return HandOvers(lanes=lanes, times=hand_overs(turns))


# --- what is shown


def rounds_table(found: Sequence[Rounds], *, seconds: float, sites: int) -> Table:
    title = f"Rounds of {sites} sites whose turns take {seconds:g} s, each site in one lane"
    table = Table(
        "", "lanes", "training alone s", "round s", "longest", "ratio",
        f"limit {ROUND_LIMIT}", box=None, title=title,
    )  # fmt: skip
    for each in found:
        times = (each.ideal, statistics.median(each.rounds), max(each.rounds), each.ratio)
        kept = "kept" if each.ratio < ROUND_LIMIT else "EXCEEDED"
        table.add_row(each.where, str(each.lanes), *(f"{time:.2f}" for time in times), kept)
    return table


def hand_over_table(found: Sequence[HandOvers], *, mb: float) -> Table:
    table = Table(
        "lanes", "hand-over ms", "p95", "hand-overs", "ratio", f"limit {HAND_OVER_LIMIT}",
        box=None, title=f"From a trainer's result to the next trainer's start, {mb:g} MB",
    )  # fmt: skip
    alone = statistics.median(_times(found, 1))
    for lanes in (1, LANES_AT_ONCE):
        times = sorted(_times(found, lanes))
        median, p95 = statistics.median(times), times[round(0.95 * (len(times) - 1))]
        kept = "kept" if median < HAND_OVER_LIMIT * alone else "EXCEEDED"
        shown = (f"{median * 1e3:.2f}", f"{p95 * 1e3:.2f}", str(len(times)))
        table.add_row(str(lanes), *shown, f"{median / alone:.2f}", kept)
    return table


def _times(found: Sequence[HandOvers], lanes: int) -> list[float]:
    return [time for each in found if each.lanes == lanes for time in each.times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--sites", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0, help="what a turn takes")
    parser.add_argument("--rounds", type=int, default=2, help="those that are timed")
    parser.add_argument("--mb", type=float, default=0.25, help="what is handed over")
    parser.add_argument("--hand-overs", type=int, default=100, help="in each of two runs")
    parser.add_argument("--json", action="store_true", help="print one object a measurement")
    options = parser.parse_args()
    found: list[Rounds | HandOvers] = []
    with Broker() as broker:
        broker.start()
        for each in measured(options, broker):
            found.append(each)
            if options.json:
                sys.stdout.write(json.dumps(asdict(each)) + "\n")
                sys.stdout.flush()
    if not options.json:
        console = Console(width=140)
        rounds = [each for each in found if isinstance(each, Rounds)]
        console.print(rounds_table(rounds, seconds=options.seconds, sites=options.sites), "")
        hand = [each for each in found if isinstance(each, HandOvers)]
        console.print(hand_over_table(hand, mb=options.mb))


if __name__ == "__main__":
    main()
