"""How large a run's report is, and how long a browser takes until its charts are drawn.

    PYTHONPATH=tests python benchmarks/report.py [--sites 50] [--rounds 200] [--keep FOLDER]

A real simulated run, whose trainer needs NumPy alone and whose sites disagree; then the report is
made and opened in Chromium without a window, three times. Whatever the page logs is counted.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from support.browser import browser
from tasuki.settings.run import RunFile
from tasuki_cli.records import LocalArchive
from tasuki_cli.simulate import simulate
from tasuki_cli.simulation import Simulation
from tasuki_controller.data_folder import DataFolder
from tasuki_report import collect, write_report

TIMES = 3


def run(folder: Path, *, sites: int, rounds: int) -> float:
    """A simulation in a data folder; returns how long it took."""
    run_file = RunFile.model_validate(
        {
            "name": "many",
            "rounds": rounds,
            "order": "random_without_same_in_a_row",
            "trainer": "report",
            "weights": {"initial": "report_trainer:make"},
            "evaluate": {"every_n_rounds": max(1, rounds // 10)},
            "checkpoint": {"best": "accuracy", "keep": 2},
            "simulate": {"trainer": "report_trainer:train", "evaluate": "report_trainer:evaluate"},
        }
    )
    began = time.perf_counter()
    simulate(
        Simulation(
            run_file=run_file,
            folder=Path(__file__).parent,
            data=DataFolder(folder),
            sites=run_file.simulated_sites(sites),
            one_process=True,
        )
    )
    return time.perf_counter() - began


def measure(folder: Path, *, sites: int, rounds: int) -> dict[str, float]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    simulated_s = run(folder, sites=sites, rounds=rounds)
    page = folder / "report.html"
    began = time.perf_counter()
    size = write_report(collect(LocalArchive(folder), "many"), page)
    written_s = time.perf_counter() - began
    drawn_s, busy_s, complaints = opened(page)
    return {
        "turns": sites * rounds,
        "simulated_s": simulated_s,
        "written_s": written_s,
        "mib": size / 2**20,
        "drawn_s": drawn_s,
        "busy_s": busy_s,
        "complaints": complaints,
    }


def opened(page: Path) -> tuple[float, float, int]:
    """The longest of so many times until it was drawn, of that computed, and the complaints."""
    times, complaints = [], 0
    for _ in range(TIMES):
        with browser() as it:
            times.append((it.open(page), it.busy_s))
            complaints += len(it.complaints)
    drawn_s, busy_s = max(times)
    return drawn_s, busy_s, complaints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--keep", type=Path, help="leave the run and its report there")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    where = tempfile.TemporaryDirectory() if options.keep is None else nullcontext(options.keep)
    with where as folder:
        row = measure(Path(folder), sites=options.sites, rounds=options.rounds)
    if options.json:
        sys.stdout.write(json.dumps(row) + "\n")
        return
    table = Table(
        "turns", "report made s", "MiB", f"drawn s, longest of {TIMES}", "busy s", "complaints"
    )
    numbers = (f"{row[name]:.2f}" for name in ("written_s", "mib", "drawn_s", "busy_s"))
    table.add_row(str(row["turns"]), *numbers, str(row["complaints"]))
    Console().print(table)


if __name__ == "__main__":
    main()
