"""A hand-over as a trainer sees it: from its result at one site to the start of the next trainer.

    PYTHONPATH=tests python benchmarks/handoff.py [--mb 0.25 100] [--rounds 8] [--json]

Real processes (controller, three sites, their trainers) on a private broker, beside the same bytes
in the same run through a relay of loopback TCP ("two-leg") and through a bare exchange: chunks into
a stream and a turn into a quorum queue, both confirmed and delivered, by pika as it comes and by
AMQP frames without a client library. Also where the time goes, and what memory each service takes
beyond what it had when it was idle. `docs/benchmarks.md` says how to read it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import handoff_parts
import transport
from rich.console import Console
from rich.table import Table

from support.broker import Broker
from support.cluster import Cluster
from support.federation import Federation
from support.process_memory import Memory, MemoryWatch
from tasuki.testing import faults

LARGE_MB = 10  # from here on tracing costs nothing that could be seen
HUGE_MB = 500
REFERENCES = (transport.FLOOR, transport.RAW, transport.STOCK)
LONGEST_S = 3600
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - what is measured must not wait for the disk to note it

TRAINER = """
import json, os, time
from pathlib import Path
import numpy as np

MB = float(os.environ["HANDOFF_MB"])
FOLDER = Path(os.environ["HANDOFF_NOTES"])


def make():
    each = min(MB, 4.0)
    return {f"w{i}": np.ones(int(each * 250_000), "float32") for i in range(round(MB / each))}


def train(turn):
    began = time.monotonic()
    weights = turn.weights("numpy")
    weights["w0"][0] += 1
    with (FOLDER / f"{turn.round}-{turn.hop}.json").open("w") as file:
        line = {"round": turn.round, "hop": turn.hop, "began": began, "ended": time.monotonic()}
        file.write(json.dumps(line))
    return turn.result(weights)
"""

RUN = """
name = "handoff"
rounds = {rounds}
order = "fixed"
trainer = "walk"
sites = ["site-1", "site-2", "site-3"]
[weights]
initial = "walk:make"
[failure]
lease_s = 3600
[checkpoint]
keep = 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that was measured of one size. Times are seconds.

    Attributes:
        inside: hand-overs within a round, not traced, in order of length.
        across: those over a round's end, where the controller keeps a checkpoint.
        parts: the median of each part of a hand-over, of those that were traced.
        bare: the median of each reference.
        trainer_mib: the largest that a trainer's process ever was, its weights included.
    """

    mb: float
    inside: list[float]
    across: list[float]
    parts: dict[str, float]
    traced: int
    bare: dict[str, float]
    memory: dict[str, Memory]
    trainer_mib: float
    digest_alone: float
    write_alone: float
    sync_alone: float

    @property
    def median(self) -> float:
        return statistics.median(self.inside)


def measure(broker: Broker, mb: float, rounds: int) -> Found:
    """One run with weights of this size, between the two halves of its references."""
    size = int(mb * 1e6)
    references = _references(broker, size, rounds)
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as name:
        notes = Path(name)
        watch = run_once(broker, mb, rounds, notes, traces=True)
        traced = handoff_parts.parts(faults.read_log(notes / "script"))
        inside, across = hand_overs(notes, every=1 if mb >= LARGE_MB else 2)
    for subject, times in _references(broker, size, rounds).items():
        references[subject] += times
    return Found(
        mb=mb,
        inside=inside,
        across=across,
        parts=handoff_parts.medians(traced),
        traced=len(traced),
        bare={subject: statistics.median(times) for subject, times in references.items()},
        memory=watch.found,
        trainer_mib=max(watch.trainers.values()),
        digest_alone=handoff_parts.digest_alone(size),
        write_alone=handoff_parts.write_alone(size),
        sync_alone=handoff_parts.sync_alone(),
    )


def run_once(
    broker: Broker | Cluster,
    mb: float,
    rounds: int,
    notes: Path,
    *,
    traces: bool = False,
    require: Sequence[str] = (),
) -> MemoryWatch:
    """One run of so many rounds; what its trainers noted is in `notes`.

    Args:
        require: what every service takes nothing without: `signed`, `sealed`, or nothing.
    """
    script = notes / "script"
    # Round 0 warms up. Of small weights every other round is traced, and the rest is timed: what
    # is traced takes some longer.
    traced = range(1, rounds, 1 if mb >= LARGE_MB else 2) if traces else ()
    script.write_text("".join(f"* * trace round={number}\n" for number in traced))
    changes = {"HANDOFF_MB": str(mb), "HANDOFF_NOTES": str(notes), faults.VARIABLE: str(script)}
    os.environ.update(changes)
    vhost = broker.vhost()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "walk.py").write_text(TRAINER)
        federation = stack.enter_context(Federation(folder, broker, vhost, require=require))
        pids = {name: process.pid for name, process in federation.processes.items()}
        with MemoryWatch(pids) as watch:
            _hand_around(federation, rounds)
        # Each turn received by digest what its predecessor sent, and the file that the controller
        # kept in the end has the digest that the last turn had.
        verified = federation.ask("ledger", "handoff", "--verify")
        if verified.code:
            raise RuntimeError(f"the weights did not arrive as they were sent: {verified.err}")
    broker.drop_vhost(vhost)
    return watch


def _hand_around(federation: Federation, rounds: int) -> None:
    run = federation.folder / "run.toml"
    run.write_text(RUN.format(rounds=rounds))
    operator = federation.begin(run).process
    out, err = operator.communicate(timeout=LONGEST_S)
    if operator.returncode:
        raise RuntimeError(f"the run failed: {err}{out}")


def hand_overs(notes: Path, *, every: int) -> tuple[list[float], list[float]]:
    """Seconds of each hand-over within a round, and across a round's end; round 0 warms up."""
    turns = sorted(
        (json.loads(path.read_text()) for path in notes.glob("*.json")),
        key=lambda turn: (turn["round"], turn["hop"]),
    )
    inside, across = [], []
    for before, after in itertools.pairwise(turns):
        if after["round"] > 0 and after["round"] % every == 0:
            kind = inside if after["hop"] else across
            kind.append(after["began"] - before["ended"])
    return sorted(inside), sorted(across)


def _references(broker: Broker, size: int, rounds: int) -> dict[str, list[float]]:
    """Half of the references: before and after the run, since a machine has moods."""
    is_huge = size > HUGE_MB * 1e6
    count = 1 if is_huge else max(5, min(rounds, 40)) // 2
    warm_up = 1 if is_huge else transport.WARM_UP
    measured = transport.measure(broker, size, count, wanted=REFERENCES, warm_up=warm_up)
    return asyncio.run(measured)


def rounds_of(mb: float, rounds: int) -> int:
    """Of small weights more, of huge ones fewer; the first one warms up."""
    if mb < LARGE_MB:
        return rounds * 8
    return min(rounds, 3 if mb <= 2 * HUGE_MB else 2) if mb > HUGE_MB else rounds


# --- what is shown


def times_table(all_found: list[Found]) -> Table:
    table = Table(
        "MB", "hand-over ms", "p95", "MB/s", "two-leg ms", "bare ms", "raw AMQP ms",
        "x two-leg", "x bare", "x raw", "round end ms", "hand-overs", "digests",
        box=None, title="From a trainer's result to the next trainer's start",
    )  # fmt: skip
    for found in all_found:
        two_leg, raw, stock = (found.bare[reference] for reference in REFERENCES)
        p95 = found.inside[round(0.95 * (len(found.inside) - 1))]
        times = (found.median, p95)
        table.add_row(
            f"{found.mb:g}",
            *(f"{time * 1e3:.2f}" for time in times),
            f"{found.mb / found.median:.0f}",
            *(f"{time * 1e3:.2f}" for time in (two_leg, stock, raw)),
            *(f"{found.median / time:.2f}" for time in (two_leg, stock, raw)),
            f"{statistics.median(found.across) * 1e3:.2f}",
            str(len(found.inside)),
            "intact",  # else `_run` has raised
        )
    return table


def parts_table(all_found: list[Found]) -> Table:
    heads = [f"{found.mb:g} MB" for found in all_found]
    table = Table("part (median ms)", *heads, box=None, title="Where the time goes, traced")

    def row(what: str, times: list[float]) -> None:
        table.add_row(what, *(f"{time * 1e3:.2f}" for time in times))

    for part in handoff_parts.PARTS:
        row(part.what, [found.parts[part.what] for found in all_found])
    row(handoff_parts.WHOLE, [found.parts[handoff_parts.WHOLE] for found in all_found])
    table.add_row("hand-overs traced", *(str(found.traced) for found in all_found))
    table.add_section()
    row("for comparison: digest alone", [found.digest_alone for found in all_found])
    row("for comparison: write to a file alone", [found.write_alone for found in all_found])
    row("for comparison: one small write forced to the disk", [f.sync_alone for f in all_found])
    table.caption = handoff_parts.NOTE
    return table


def memory_table(all_found: list[Found]) -> Table:
    table = Table(
        "MB", "process", "idle MiB", "peak MiB", "beyond idle", "of that anonymous, seen",
        "mapped files, seen", box=None, title="Memory (P7: at most 64 MiB beyond idle)",
    )  # fmt: skip
    for found in all_found:
        for name, memory in found.memory.items():
            sizes = (memory.idle, memory.peak, memory.extra, memory.extra_anon, memory.file)
            table.add_row(f"{found.mb:g}", name, *(f"{size:.1f}" for size in sizes))
        table.add_row(f"{found.mb:g}", "a trainer, its own", "", f"{found.trainer_mib:.1f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--mb", type=float, nargs="+", default=[0.25, 100.0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", action="store_true", help="print one object a size")
    options = parser.parse_args()
    all_found = []
    with Broker() as broker:
        broker.start()
        for mb in options.mb:
            all_found.append(measure(broker, mb, rounds_of(mb, options.rounds)))
            if options.json:
                sys.stdout.write(json.dumps(asdict(all_found[-1])) + "\n")
    if not options.json:
        console = Console(width=160)
        for table in (times_table, parts_table, memory_table):
            console.print(table(all_found), "")


if __name__ == "__main__":
    main()
