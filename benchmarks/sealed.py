"""A hand-over that is signed and sealed beside one that is not.

    PYTHONPATH=tests python benchmarks/sealed.py [--mb 0.25 100 1000] [--rounds 8] [--json]

Real processes on one private broker, in one run: plain, sealed, sealed, plain, each with half of
the hand-overs, since a machine has moods. Ends with 1 if a sealed one takes longer than it may.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import handoff
import handoff_parts
from rich.console import Console
from rich.table import Table

from support.broker import Broker
from support.process_memory import Memory
from tasuki.testing import faults

LIMIT = 1.15
ALL = ("signed", "sealed")


@dataclass(slots=True, kw_only=True)
class Side:
    """Plain or sealed. Times are seconds.

    Attributes:
        inside: hand-overs within a round, not traced.
        traced: the parts of those that were.
        memory: the largest of each service, of all its runs.
    """

    inside: list[float] = field(default_factory=list)
    traced: list[dict[str, float]] = field(default_factory=list)
    memory: dict[str, Memory] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.inside)

    @property
    def p95(self) -> float:
        return sorted(self.inside)[round(0.95 * (len(self.inside) - 1))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    mb: float
    plain: Side = field(default_factory=Side)
    sealed: Side = field(default_factory=Side)

    @property
    def ratio(self) -> float:
        return self.sealed.median / self.plain.median


def compare(broker: Broker, mb: float, rounds: int) -> Compared:
    found = Compared(mb=mb)
    half = max(3, rounds // 2)
    for side in (found.plain, found.sealed, found.sealed, found.plain):
        add(side, broker, mb, half, ALL if side is found.sealed else ())
    return found


def add(side: Side, broker: Broker, mb: float, rounds: int, require: Sequence[str]) -> None:
    """One more run of this side."""
    with tempfile.TemporaryDirectory(dir=handoff.IN_MEMORY) as name:
        notes = Path(name)
        watch = handoff.run_once(broker, mb, rounds, notes, traces=True, require=require)
        side.traced += handoff_parts.parts(faults.read_log(notes / "script"))
        inside, _ = handoff.hand_overs(notes, every=1 if mb >= handoff.LARGE_MB else 2)
    side.inside += inside
    for service, memory in watch.found.items():
        before = side.memory.get(service)
        if before is None or memory.extra > before.extra:
            side.memory[service] = memory


def times_table(all_found: list[Compared]) -> Table:
    table = Table(
        "MB", "plain ms", "p95", "hand-overs", "sealed ms", "p95", "hand-overs",
        f"ratio (at most {LIMIT})", box=None,
        title="From a trainer's result to the next trainer's start",
    )  # fmt: skip
    for found in all_found:
        cells = [f"{found.mb:g}"]
        for side in (found.plain, found.sealed):
            cells += [f"{side.median * 1e3:.2f}", f"{side.p95 * 1e3:.2f}", str(len(side.inside))]
        table.add_row(*cells, f"{found.ratio:.3f}")
    return table


def parts_table(all_found: list[Compared]) -> Table:
    heads = [f"{found.mb:g} MB {side}" for found in all_found for side in ("plain", "sealed")]
    table = Table("part (median ms)", *heads, box=None, title="Where the time goes, traced")
    medians = [
        handoff_parts.medians(side.traced)
        for found in all_found
        for side in (found.plain, found.sealed)
    ]
    for what in (*(part.what for part in handoff_parts.PARTS), handoff_parts.WHOLE):
        table.add_row(what, *(f"{found[what] * 1e3:.2f}" for found in medians))
    table.caption = handoff_parts.NOTE
    return table


def memory_table(all_found: list[Compared]) -> Table:
    table = Table(
        "MB", "process", "plain: beyond idle MiB", "sealed: beyond idle MiB", "idle, plain",
        "idle, sealed", box=None, title="Memory (P7: at most 64 MiB beyond idle)",
    )  # fmt: skip
    for found in all_found:
        for name, plain in found.plain.memory.items():
            sealed = found.sealed.memory[name]
            sizes = (plain.extra, sealed.extra, plain.idle, sealed.idle)
            table.add_row(f"{found.mb:g}", name, *(f"{size:.1f}" for size in sizes))
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--mb", type=float, nargs="+", default=[0.25, 100.0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", action="store_true", help="print one object a size")
    options = parser.parse_args()
    all_found = []
    with Broker() as broker:
        broker.start()
        for mb in options.mb:
            all_found.append(compare(broker, mb, handoff.rounds_of(mb, options.rounds)))
            if options.json:
                sys.stdout.write(json.dumps(asdict(all_found[-1])) + "\n")
    if not options.json:
        console = Console(width=160)
        for table in (times_table, parts_table, memory_table):
            console.print(table(all_found), "")
    return int(any(found.ratio > LIMIT for found in all_found))


if __name__ == "__main__":
    sys.exit(main())
