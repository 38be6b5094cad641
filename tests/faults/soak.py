"""Random kills of the broker's nodes, never two down at once, among kills of everybody else.

    PYTHONPATH=tests python -m faults.soak --kills 500 [--seed 1]

Runs follow each other all the while, and each has to end as the undisturbed loop does.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import Self

from support.cluster import Cluster
from support.federation import SITES
from support.scripted import Scripted, scripted, write_scripted
from tasuki.core.model import CONTROLLER

SETTINGS = "retry_s = 1\nanswer_s = 5"
FAILURE = "lease_s = 30"
ATTEMPTS = 50  # a kill costs one, and may hit the same turn again and again
LONGEST_PAUSE_S = 2.0
ORDERS = (("site-2", "site-1", "site-3"), ("site-1", "site-2"))

_numbers = itertools.count(1)


class Laps:
    """Run after run of one order, from now on until `end`; what went wrong is raised there."""

    def __init__(self, federation: Scripted, folder: Path, order: Sequence[str]) -> None:
        self._federation = federation
        self._folder = folder
        self._order = order
        self._failed: BaseException | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.count = 0
        self.longest_s = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.check()

    def check(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._one()
        except BaseException as exc:  # noqa: BLE001 - raised again where it is waited for
            self._failed = exc

    def _one(self) -> None:
        name, began = f"lap-{next(_numbers)}", time.monotonic()
        file = write_scripted(
            self._folder, name, order=self._order, attempts=ATTEMPTS, failure=FAILURE, pause_s=0.1
        )
        self._federation.submit(file)
        self._federation.check(name, self._order)
        self.count += 1
        self.longest_s = max(self.longest_s, time.monotonic() - began)


class Soak:
    """Kills, as the seed says.

    Attributes:
        killed: how often whom.
    """

    def __init__(self, cluster: Cluster, federation: Scripted, *, seed: int) -> None:
        self._cluster = cluster
        self._federation = federation
        self._draw = random.Random(seed)
        self.killed: Counter[str] = Counter()

    def run(self, kills: int, folder: Path) -> list[Laps]:
        """So many kills of nodes, each with one of another; the laps that were run."""
        with (
            Laps(self._federation, folder, ORDERS[0]) as one,
            Laps(self._federation, folder, ORDERS[1]) as other,
        ):
            for _ in range(kills):
                self._kill_a_node()
                one.check()
                other.check()
        self._federation.check_spools()
        return [one, other]

    def _kill_a_node(self) -> None:
        self._pause()
        node = self._draw.choice(self._cluster.nodes)
        self._cluster.kill(node)
        self.killed["node"] += 1
        self._pause()
        self._kill_another()
        self._cluster.restart(node)

    def _kill_another(self) -> None:
        kind = self._draw.choice(("site", "trainer", "controller", "nobody"))
        process = self._federation.federation[
            CONTROLLER if kind == "controller" else self._draw.choice(SITES)
        ]
        victims = {"trainer": _children(process.pid), "nobody": []}.get(kind, [process.pid])
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)
            self.killed[kind] += 1

    def _pause(self) -> None:
        """A moment that nobody has chosen."""
        threading.Event().wait(self._draw.uniform(0, LONGEST_PAUSE_S))


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except FileNotFoundError:  # it has ended, and is started again
        return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}\n")
    began = time.monotonic()
    with Cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        cluster.start()
        with scripted(Path(folder), cluster, settings=SETTINGS) as federation:
            soak = Soak(cluster, federation, seed=options.seed)
            laps = soak.run(options.kills, Path(folder))
    runs, longest_s = sum(each.count for each in laps), max(each.longest_s for each in laps)
    sys.stdout.write(
        f"{dict(soak.killed)}: {runs} runs, all as undisturbed, the longest {longest_s:.0f} s; "
        f"{time.monotonic() - began:.0f} s in all\n"
    )


if __name__ == "__main__":
    main()
