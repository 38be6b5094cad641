"""What a turn costs beyond its training: many simulated sites, a trainer that does nothing.

    python benchmarks/overhead.py [--sites 10 100 1000] [--rounds 3]

Each row is a process of its own, so that peak memory is its own too. "per turn" is the time from
one turn's result being accepted to the next one's: everything but training.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from tasuki.core.run import TurnFinished
from tasuki.settings.run import RunFile
from tasuki.trainer import Result, Turn
from tasuki_cli.simulate import simulate
from tasuki_cli.simulation import Simulation
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.news import Update


def make() -> dict[str, object]:
    import numpy as np

    return {"w": np.zeros((250, 250), "float32")}  # 0.25 MB


def train(turn: Turn) -> Result:
    return turn.result(turn.weights("numpy"))


def measure(sites: int, rounds: int) -> dict[str, float]:
    """Run one simulation and time its turns."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    stamps: list[float] = []

    def watch(update: Update) -> None:
        if isinstance(update.what, TurnFinished) and not update.outcome:
            stamps.append(time.perf_counter())

    run_file = RunFile.model_validate(
        {
            "name": "overhead",
            "rounds": rounds,
            "order": "random",
            "trainer": "overhead",
            "weights": {"initial": "overhead:make"},
            "simulate": {"trainer": "overhead:train"},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        simulate(
            Simulation(
                run_file=run_file,
                folder=Path(__file__).parent,
                data=DataFolder(Path(folder)),
                sites=run_file.simulated_sites(sites),
                one_process=True,
                watcher=watch,
            )
        )
    gaps = sorted(1000 * (b - a) for a, b in itertools.pairwise(stamps))
    return {
        "turns": len(stamps),
        "median_ms": statistics.median(gaps),
        "p95_ms": gaps[int(0.95 * len(gaps))],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = {}
    for sites in options.sites:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows[sites] = pool.apply(measure, (sites, options.rounds))
    if options.json:
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    table = Table("sites", "turns", "median ms", "p95 ms", "to first row", "peak MiB", box=None)
    first = rows[options.sites[0]]["median_ms"]
    for sites, row in rows.items():
        table.add_row(
            str(sites),
            str(row["turns"]),
            f"{row['median_ms']:.2f}",
            f"{row['p95_ms']:.2f}",
            f"{row['median_ms'] / first:.2f}x",
            f"{row['peak_mib']:.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
