"""A hand-over on a broker of three nodes beside the same on one node.

    PYTHONPATH=tests python benchmarks/cluster.py [--mb 0.25 100] [--rounds 8] [--json]

Real processes on private brokers that run at the same time, and take turns: half of the hand-overs
on one node, all on the cluster, the other half on one node, since a machine has moods. On the
cluster everything is stored three times before it is confirmed, on this one machine: what three
machines need beyond that is their network.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import handoff
from rich.console import Console
from rich.table import Table

from support.broker import Broker
from support.cluster import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Seconds of each hand-over within a round, in order of length."""

    mb: float
    one: list[float]
    three: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.three) / statistics.median(self.one)


def hand_overs(broker: Broker | Cluster, mb: float, rounds: int) -> list[float]:
    with tempfile.TemporaryDirectory(dir=handoff.IN_MEMORY) as name:
        notes = Path(name)
        handoff.run_once(broker, mb, rounds, notes)
        inside, _ = handoff.hand_overs(notes, every=1)
    return inside


def compare(one: Broker, three: Cluster, mb: float, rounds: int) -> Compared:
    half = max(3, rounds // 2)
    before = hand_overs(one, mb, half)
    cluster = hand_overs(three, mb, rounds)
    after = hand_overs(one, mb, half)
    return Compared(mb=mb, one=sorted(before + after), three=cluster)


def table(all_found: list[Compared]) -> Table:
    shown = Table(
        "MB", "one node ms", "p95", "hand-overs", "three nodes ms", "p95", "hand-overs", "ratio",
        box=None, title="From a trainer's result to the next trainer's start",
    )  # fmt: skip
    for found in all_found:
        cells = [f"{found.mb:g}"]
        for times in (found.one, found.three):
            p95 = times[round(0.95 * (len(times) - 1))]
            cells += [f"{statistics.median(times) * 1e3:.2f}", f"{p95 * 1e3:.2f}", str(len(times))]
        shown.add_row(*cells, f"{found.ratio:.2f}")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--mb", type=float, nargs="+", default=[0.25, 100.0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", action="store_true", help="print one object a size")
    options = parser.parse_args()
    all_found = []
    with Broker() as one, Cluster() as three:
        one.start()
        three.start()
        for mb in options.mb:
            all_found.append(compare(one, three, mb, handoff.rounds_of(mb, options.rounds)))
            if options.json:
                sys.stdout.write(json.dumps(asdict(all_found[-1])) + "\n")
    if not options.json:
        Console(width=160).print(table(all_found))


if __name__ == "__main__":
    main()
