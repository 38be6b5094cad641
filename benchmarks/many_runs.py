"""Hand-overs of several runs that share their sites, beside those of one run alone.

    PYTHONPATH=tests python benchmarks/many_runs.py [--runs 1 2 3 5] [--seconds 10] [--json]

Real processes on a private broker: a controller, three sites with settings as they come, and for
each run a trainer's process at each site, with PyTorch and weights of 0.25 MB. Only what happens
while all runs are under way and warm is counted. One run alone is measured before and after.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from support.broker import Broker
from support.federation import SITES, Federation
from support.process_memory import children
from support.waiting import wait_until

LOOK_S = 0.05
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - what is measured must not wait for the disk to note it

TRAINER = """
import json, os, time
from pathlib import Path
import torch

torch.set_num_threads(1)
NOTES = Path(os.environ["MANY_RUNS_NOTES"])


def make():
    return {"w": torch.ones(62_500)}


def train(turn):
    began = time.monotonic()
    weights = turn.weights()
    weights["w"][0] += 1
    line = {"run": turn.run, "at": [turn.round, turn.hop], "began": began}
    with (NOTES / f"{os.getpid()}").open("a") as notes:
        notes.write(json.dumps({**line, "ended": time.monotonic()}) + "\\n")
    return turn.result(weights)
"""

RUN = """
name = "{name}"
rounds = 1000000
order = "random_without_same_in_a_row"
seed = {seed}
trainer = "walk"
[weights]
initial = "walk:make"
[failure]
lease_s = 600
[checkpoint]
keep = 1
"""

_numbers = itertools.count(1)


@dataclass(slots=True)
class Processes:
    """The trainers' processes that were seen, and how many there were at a time."""

    sites: list[int]
    started: set[int] = field(default_factory=set)
    most: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def look_often(self) -> None:
        while not self._over.wait(LOOK_S):
            now = self.now()
            self.started |= now
            self.most = max(self.most, len(now))

    def now(self) -> set[int]:
        return {child for site in self.sites for child in children(site)}

    def stop(self) -> None:
        self._over.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Seconds of each hand-over within a round; how many processes the trainers had."""

    runs: int
    seconds: float
    hand_overs: list[float]
    started: int
    most: int

    @property
    def median(self) -> float:
        return statistics.median(self.hand_overs)

    @property
    def p95(self) -> float:
        return sorted(self.hand_overs)[round(0.95 * (len(self.hand_overs) - 1))]


def measure(federation: Federation, notes: Path, runs: int, seconds: float) -> Found:
    """So many runs at once, for so long."""
    with watched(federation) as processes:
        names = [submitted(federation) for _ in range(runs)]
        for name in names:
            federation.await_turns(name, 2 * len(SITES))  # every process is there, and was used
        began = time.monotonic()
        time.sleep(seconds)
        ended = time.monotonic()
        for name in names:
            federation.ask("stop", name)
        # Those of this run end now; the next ones that are seen shall be the next run's.
        wait_until(lambda: not processes.now(), what="no trainer is left", within_s=60)
    found = [each for name in names for each in hand_overs(notes, name, began, ended)]
    for name in names:
        if (verified := federation.ask("ledger", name, "--verify")).code:
            raise RuntimeError(f"the weights did not arrive as they were sent: {verified.err}")
    return Found(
        runs=runs,
        seconds=ended - began,
        hand_overs=found,
        started=len(processes.started),
        most=processes.most,
    )


@contextmanager
def watched(federation: Federation) -> Iterator[Processes]:
    processes = Processes([federation[site].pid for site in SITES])
    thread = threading.Thread(target=processes.look_often, daemon=True)
    thread.start()
    try:
        yield processes
    finally:
        processes.stop()
        thread.join()


def submitted(federation: Federation) -> str:
    """A new run; its name."""
    number = next(_numbers)
    path = federation.folder / "run.toml"
    path.write_text(RUN.format(name=f"many-{number}", seed=number))
    begun = federation.ask("submit", path)
    if begun.code:
        raise RuntimeError(f"the run was not taken: {begun.err}")
    return f"many-{number}"


def hand_overs(notes: Path, run: str, began: float, ended: float) -> Iterator[float]:
    """Those of a run within this time: from a trainer's result to the next one's start."""
    turns = sorted((t for t in noted(notes) if t["run"] == run), key=lambda turn: turn["at"])
    for before, after in itertools.pairwise(turns):
        is_inside = before["at"][0] == after["at"][0]
        if is_inside and began <= before["ended"] and after["began"] <= ended:
            yield after["began"] - before["ended"]


def noted(notes: Path) -> Iterator[dict[str, Any]]:  # Any: JSON
    for path in notes.iterdir():
        yield from map(json.loads, path.read_text().splitlines())


def measure_all(broker: Broker, counts: list[int], seconds: float) -> list[Found]:
    vhost = broker.vhost()
    with (
        tempfile.TemporaryDirectory(dir=IN_MEMORY) as notes,
        tempfile.TemporaryDirectory() as folder,
    ):
        os.environ["MANY_RUNS_NOTES"] = notes
        (Path(folder) / "walk.py").write_text(TRAINER)
        with Federation(Path(folder), broker, vhost) as federation:
            alone = [measure(federation, Path(notes), 1, seconds / 2)]
            shared = [measure(federation, Path(notes), n, seconds) for n in counts if n > 1]
            alone.append(measure(federation, Path(notes), 1, seconds / 2))
    broker.drop_vhost(vhost)
    return [both(*alone), *shared]


def both(before: Found, after: Found) -> Found:
    """One run alone, before and after the others, since a machine has moods."""
    return Found(
        runs=1,
        seconds=before.seconds + after.seconds,
        hand_overs=before.hand_overs + after.hand_overs,
        started=max(before.started, after.started),
        most=max(before.most, after.most),
    )


def table(all_found: list[Found]) -> Table:
    shown = Table(
        "runs at once", "hand-over ms", "p95", "x one run", "hand-overs", "a second",
        "processes started", "at most runs x sites", "most at a time",
        box=None, title="From a trainer's result to the next trainer's start",
    )  # fmt: skip
    for found in all_found:
        limit = found.runs * len(SITES)
        count = len(found.hand_overs)
        shown.add_row(
            str(found.runs),
            f"{found.median * 1e3:.2f}",
            f"{found.p95 * 1e3:.2f}",
            f"{found.median / all_found[0].median:.2f}",
            str(count),
            f"{count / found.seconds:.0f}",
            str(found.started),
            f"{limit}: {'kept' if found.started <= limit else 'BROKEN'}",
            str(found.most),
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 2, 3, 5])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true", help="print one object a number of runs")
    options = parser.parse_args()
    with Broker() as broker:
        broker.start()
        all_found = measure_all(broker, options.runs, options.seconds)
    if options.json:
        sys.stdout.writelines(json.dumps(asdict(found)) + "\n" for found in all_found)
    else:
        Console(width=160).print(table(all_found))


if __name__ == "__main__":
    main()
