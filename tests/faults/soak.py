"""Random kills of a broker's nodes, and of everybody else, while runs go on.

    PYTHONPATH=tests .venv/bin/python -m faults.soak --kills 500

Never two nodes at once. Three runs are under way at any time; each has to end with the bits of the
undisturbed loop, and in the end no message may be left. The seed says who is killed when, as far as
that is ours to say; `test_cluster_soak.py` does a short one.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path

from support.cluster import Cluster
from support.federation import SITES
from support.rabbit import Rabbit
from support.scripted import Scripted, scripted, write_scripted
from support.standing import ORDERS
from support.waiting import wait_until
from tasuki.core.model import CONTROLLER
from tasuki.errors import UnknownRun

SETTINGS = "retry_s = 1\nanswer_s = 5"
FAILURE = 'lease_s = 20\non_silent = "retry"'
LINES = SITES  # each the first of the order of one run after the other
TRAINER = "trainer"
SERVICES = (CONTROLLER, *SITES, TRAINER)
MOST_PAUSE_S = 0.5
MOST_SERVICES = 2
"""How many of them die with a node, at most."""


@dataclass
class Soak:
    """Kills, and the runs that have to survive them.

    Attributes:
        killed: how often each of the others was.
    """

    cluster: Cluster
    scripted: Scripted
    folder: Path
    draw: random.Random
    killed: Counter[str] = field(default_factory=Counter)
    _last: dict[str, str] = field(default_factory=dict)
    _ended: list[str] = field(default_factory=list)
    _enough: threading.Event = field(default_factory=threading.Event)
    _submitting: threading.Lock = field(default_factory=threading.Lock)

    def run(self, kills: int, *, told: Callable[[str], object]) -> int:
        """Kill a node so many times; how many runs there were, all of which ended as they should.

        Args:
            told: what has happened, from time to time.
        """
        with ThreadPoolExecutor(len(LINES)) as pool:
            lines = [pool.submit(self._keep_running, line) for line in LINES]
            try:
                for number in range(1, kills + 1):
                    self._kill(self.draw.choice(self.cluster.nodes))
                    _raise_from(lines)
                    if number % 10 == 0:
                        told(f"{number} nodes killed, {len(self._ended)} runs: {self._others()}")
            finally:
                self._enough.set()
        _raise_from(lines)
        for line, run in self._last.items():
            self.scripted.check(run, ORDERS[line])
        return len(self._ended)

    def _kill(self, node: Rabbit) -> None:
        """One node, and perhaps some others while it is away; until it is back."""
        self._pause()
        self.cluster.kill(node)
        for name in self.draw.choices(SERVICES, k=self.draw.randint(0, MOST_SERVICES)):
            self._pause()
            self._kill_service(name)
        self.cluster.restart(node)

    def _kill_service(self, name: str) -> None:
        pids = self._trainers() if name == TRAINER else [self.scripted.federation[name].pid]
        if not pids:
            return  # it is about to be started by its site
        with suppress(ProcessLookupError):
            os.kill(self.draw.choice(pids), signal.SIGKILL)
            self.killed[name] += 1

    def _trainers(self) -> list[int]:
        """Trainers are what sites have for children."""
        listed: list[str] = []
        for site in SITES:
            for thread in Path(f"/proc/{self.scripted.federation[site].pid}/task").glob("*"):
                with suppress(OSError):
                    listed += (thread / "children").read_text().split()
        return sorted(map(int, listed))

    def _others(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in sorted(self.killed.items()))

    def _pause(self) -> None:
        until = time.monotonic() + self.draw.uniform(0, MOST_PAUSE_S)
        wait_until(lambda: time.monotonic() > until, what="a while has passed")

    def _keep_running(self, line: str) -> None:
        """One run after the other, as long as anybody is killed."""
        for number in itertools.count(1):
            if self._enough.is_set():
                return
            file = write_scripted(
                self.folder, f"{line}-{number}", order=ORDERS[line], attempts=99, failure=FAILURE
            )
            self._last[line] = self._submit(file)
            self.scripted.check_bits(self._last[line], ORDERS[line])
            self._ended.append(self._last[line])
            shutil.rmtree(file.parent)

    def _submit(self, file: Path) -> str:
        """Until a controller has it on record; its name."""
        while True:
            with self._submitting, redirect_stdout(io.StringIO()):
                run = self.scripted.submit(file)
            with suppress(UnknownRun), self.scripted.client() as client:
                client.outcome(run)
                return run


def _raise_from(lines: Sequence[Future[None]]) -> None:
    for line in lines:
        if line.done():
            line.result()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=500, help="of nodes")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    options = parser.parse_args()
    started = time.monotonic()

    def tell(what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - started:6.0f} s  {what}\n")

    tell(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="tasuki-soak-") as made, Cluster() as cluster:
        cluster.start()
        tell("the cluster is up")
        folder = Path(made)
        with scripted(folder, cluster, settings=SETTINGS) as federation:
            soak = Soak(cluster, federation, folder, random.Random(options.seed))
            runs = soak.run(options.kills, told=tell)
    tell(f"{runs} runs ended with the bits of the undisturbed loop, and no message is left")


if __name__ == "__main__":
    main()
