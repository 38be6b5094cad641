"""A hand-over as a trainer sees it: from its result at one site to the start of the next trainer.

    PYTHONPATH=tests:benchmarks python benchmarks/handoff.py [--mb 0.25 100] [--rounds 8]

Real processes (controller, three sites, their trainers) on a private broker, beside a bare exchange
of the same bytes measured in the same run: chunks into a stream and a turn into a quorum queue,
both confirmed and delivered. Memory is the largest that a service, without its trainer, ever had.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import tempfile
from pathlib import Path

import transport
from rich.console import Console
from rich.table import Table

from support.broker import Broker
from support.federation import Federation

TRAINER = """
import json, os, time
from pathlib import Path
import numpy as np

MB = float(os.environ["HANDOFF_MB"])
FOLDER = Path(__file__).parent / "times"


def make():
    each = min(MB, 4.0)
    return {f"w{i}": np.ones(int(each * 250_000), "float32") for i in range(round(MB / each))}


def train(turn):
    began = time.time()
    weights = turn.weights("numpy")
    weights["w0"][0] += 1
    line = {"round": turn.round, "hop": turn.hop, "began": began, "ended": time.time()}
    (FOLDER / f"{turn.round}-{turn.hop}.json").write_text(json.dumps(line))
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
lease_s = 600
[checkpoint]
keep = 1
"""


def hand_overs(folder: Path) -> tuple[list[float], list[float]]:
    """Seconds of each hand-over within a round, and across a round's end; round 0 warms up."""
    turns = sorted(
        (json.loads(path.read_text()) for path in (folder / "times").glob("*.json")),
        key=lambda turn: (turn["round"], turn["hop"]),
    )
    inside, across = [], []
    for before, after in itertools.pairwise(turns):
        if before["round"] > 0:
            kind = inside if after["hop"] else across
            kind.append(after["began"] - before["ended"])
    return sorted(inside), sorted(across)


def peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(broker: Broker, mb: float, rounds: int) -> dict[str, object]:
    os.environ["HANDOFF_MB"] = str(mb)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "times").mkdir()
        (folder / "walk.py").write_text(TRAINER)
        run = folder / "run.toml"
        run.write_text(RUN.format(rounds=rounds))
        vhost = broker.vhost()
        with Federation(folder, broker, vhost) as federation:
            idle = {name: peak_mib(p.pid) for name, p in federation.processes.items()}
            ended = federation.submit(run)
            assert ended.code == 0, ended.err + ended.out
            peaks = {n: peak_mib(p.pid) - idle[n] for n, p in federation.processes.items()}
        broker.drop_vhost(vhost)
        inside, across = hand_overs(folder)
    bare = asyncio.run(transport.measure(broker, int(mb * 1e6), max(5, min(rounds, 40))))
    return {
        "inside": inside,
        "across": across,
        "controller_mib": peaks["controller"],
        "site_mib": max(peak for name, peak in peaks.items() if name != "controller"),
        "two_leg": statistics.median(bare[transport.FLOOR]),
        "bare": statistics.median(bare["stock pika, one by one"]),
        "raw": statistics.median(bare[transport.RAW]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=float, nargs="+", default=[0.25, 100.0])
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    table = Table(
        "MB", "hand-over ms", "p95", "round end ms", "bare ms", "raw ms", "two-leg ms",
        "x bare", "x raw", "MB/s", "site +MiB", "controller +MiB", box=None,
    )  # fmt: skip
    with Broker() as broker:
        broker.start()
        for mb in options.mb:
            found = measure(broker, mb, options.rounds if mb > 1 else options.rounds * 8)
            inside, across = found["inside"], found["across"]
            assert isinstance(inside, list)
            assert isinstance(across, list)
            median = statistics.median(inside)
            figures = (
                median * 1e3,
                inside[int(0.95 * len(inside))] * 1e3,
                statistics.median(across) * 1e3,
                found["bare"] * 1e3,
                found["raw"] * 1e3,
                found["two_leg"] * 1e3,
                median / found["bare"],
                median / found["raw"],
                mb / median,
                found["site_mib"],
                found["controller_mib"],
            )
            table.add_row(f"{mb:g}", *(f"{figure:.2f}" for figure in figures))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
