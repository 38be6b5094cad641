"""What the drill's steps share: the stack, its runs, and the voice that tells of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from compose.engine import JSON, Runs, Stack, free_ports
from support.waiting import wait_until

PROJECT = "tasuki-drill"
DOORS = ("BROKER", "MANAGEMENT", "CONTROLLER", "PROMETHEUS", "GRAFANA")
RUN = """\
name = "{name}"
rounds = {rounds}
order = "random_without_same_in_a_row"
seed = 11
trainer = "digits"
[weights]
initial = "net:Net"
[params]
epochs = {epochs}
lr = 0.0005
shards = 4
[failure]
lease_s = {lease_s}
on_silent = "{on_silent}"
min_sites = 2
"""


class Field:
    """One drill, in a folder of its own.

    Attributes:
        rounds: of the runs whose weights have to be the same in the end, and
        epochs: in each of their turns.
    """

    def __init__(self, folder: Path, *, files: Sequence[str] = ("compose.yaml",)) -> None:
        self.folder = folder
        self.stack = Stack(PROJECT, dict(zip(DOORS, free_ports(), strict=False)), files=files)
        self.runs = Runs(self.stack, folder)
        self.rounds, self.epochs = 3, 60
        self._began = time.monotonic()

    def say(self, line: str) -> None:
        print(f"[{time.monotonic() - self._began:6.1f} s] {line}", flush=True)  # noqa: T201

    def submit(
        self, run: str, *, rounds: int, epochs: int, on_silent: str = "skip", lease_s: float = 20
    ) -> None:
        text = RUN.format(
            name=run, rounds=rounds, epochs=epochs, on_silent=on_silent, lease_s=lease_s
        )
        self.runs.submit(run, text)

    def submit_the_usual(self, run: str, *, lease_s: float = 20) -> None:
        """One that has to end with the weights of all its like."""
        self.submit(run, rounds=self.rounds, epochs=self.epochs, on_silent="retry", lease_s=lease_s)

    def await_holder(self, run: str) -> str:
        """Who has the weights, once the run is on its way."""
        wait_until(
            lambda: self.runs.standing(run)["turns"], what=f"{run} moves", within_s=240, poll_s=0.2
        )
        holder = wait_until(
            lambda: self.runs.holder(run), what="somebody has the weights", within_s=60, poll_s=0.2
        )
        assert holder is not None
        self.say(f"{holder} has the weights")
        return holder

    def ended_as_undisturbed(self, run: str) -> None:
        digest = self.runs.standing(run)["digest"]
        assert digest == self.runs.standing("undisturbed")["digest"]
        self.say(f"its weights are those of the undisturbed run, bit for bit: {digest}")

    def is_over(self, run: str) -> JSON:
        """How it ended, or None."""
        standing = self.runs.standing(run)
        return standing if standing["status"] in {"finished", "failed", "stopped"} else None

    def await_finish(self, run: str, *, within_s: float = 600) -> None:
        """A run finishes, and its ledger proves who trained what."""
        standing = wait_until(
            lambda: self.is_over(run), what=f"run {run} is over", within_s=within_s, poll_s=1
        )
        assert standing["status"] == "finished", standing
        proved = self.runs.prove(run)
        assert proved["verified"], proved
        assert proved["records"] >= standing["turns"], proved
        metrics = standing["metrics"]
        self.say(
            f"run {run} finished: {standing['rounds']} rounds, {standing['turns']} turns, "
            f"{standing['skipped']} skipped, ledger of {proved['rows']} rows proved by roster "
            f"{proved['roster']}; accuracy in the last round "
            f"{metrics['received_accuracy']:.1%} received, "
            f"{metrics['accuracy']:.1%} trained"
        )

    def await_healthy(self, service: str, *, within_s: float = 180) -> None:
        wait_until(
            lambda: self.stack.standing(service) == "healthy",
            what=f"{service} is healthy",
            within_s=within_s,
            poll_s=1,
        )

    def kill(self, service: str) -> None:
        """Kill it from the host, and wait until the engine has started it again."""
        before = self.stack.restarts(service)
        self.stack.kill(service)
        self.say(f"{service} was killed from the host")
        wait_until(
            lambda: self.stack.restarts(service) > before,
            what=f"{service} is started again",
            within_s=60,
            poll_s=0.5,
        )
        self.await_healthy(service)
