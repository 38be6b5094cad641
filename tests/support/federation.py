"""A federation as it is in the field: controller and sites as processes, a broker between them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from support.broker import Broker
from support.simulation import Outcome, command, environment, tasuki
from support.waiting import wait_until
from tasuki.core.model import CONTROLLER
from tasuki.transport.topology import topology

NO_TORCH = Path(__file__).parent / "no_torch"
SITES = ("site-1", "site-2", "site-3")

SITE = """
name = "{name}"
folder = "data-{name}"
[broker]
url = "{url}"
password_file = "{name}.password"
[trainers.walk]
run = "walk:{trainer}"
[http]
port = {port}
"""

CONTROLLER_TOML = """
folder = "data-controller"
sites = ["site-1", "site-2", "site-3"]
[broker]
url = "{url}"
password_file = "controller.password"
[http]
port = {port}
"""


@dataclass
class Process:
    """One service; its output is in a file."""

    words: list[str]
    log: Path
    url: str
    running: subprocess.Popen[bytes] | None = None
    started_at: int = 0  # where its log begins this time

    @property
    def pid(self) -> int:
        assert self.running is not None
        return self.running.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.started_at = log.tell()
            self.running = subprocess.Popen(
                self.words, env=environment(), stdout=log, stderr=log, start_new_session=True
            )

    def await_ready(self) -> None:
        wait_until(self._is_ready, what=f"{self.words} is ready", within_s=60)

    def signal(self, number: Signals) -> None:
        os.kill(self.pid, number)

    def end(self, number: Signals) -> int:
        """Send it a signal and wait; the exit code."""
        self.signal(number)
        assert self.running is not None
        return self.running.wait(60)

    def kill(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait()

    def _is_ready(self) -> bool:
        assert self.running is not None
        if self.running.poll() is not None:
            raise AssertionError(self.log.read_text())
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).is_success
        except httpx.TransportError:
            return False


@dataclass
class Waiting:
    """A `tasuki submit --wait` under way."""

    name: str
    process: subprocess.Popen[str]

    def finished(self) -> dict[str, Any]:  # Any: JSON
        """What it ended with, once it has, and that is success."""
        out, _ = self.process.communicate(timeout=90)
        last: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        assert self.process.returncode == 0, last
        return last


@dataclass
class Federation:
    """Three sites and a controller in a folder that also has the run file and the trainers."""

    folder: Path
    broker: Broker
    vhost: str
    trainer: str = "train"
    processes: dict[str, Process] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.broker.provision(self.vhost, topology(SITES))
        self.broker.sync()
        for name in (CONTROLLER, *SITES):
            self.processes[name] = self._process(name)
            self.processes[name].start()
        for process in self.processes.values():
            process.await_ready()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.processes.values():
            process.kill()
            if kind is not None:
                sys.stdout.write(process.log.read_text()[-6000:])

    def __getitem__(self, name: str) -> Process:
        return self.processes[name]

    def ask(self, *words: str | Path) -> Outcome:
        """An operator's command."""
        return tasuki(*words, *self._options(), "--json")

    def submit(self, run_toml: Path) -> Outcome:
        """Submit and wait until the run is over."""
        return self.ask("submit", run_toml, "--wait")

    def begin(self, run_toml: Path) -> Waiting:
        """Submit, and leave the waiting to a process."""
        words = command("submit", run_toml, "--wait", *self._options(), "--json")
        waiting = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, text=True)
        return Waiting(tomllib.loads(run_toml.read_text())["name"], waiting)

    def get(self, path: str) -> httpx.Response:
        """Ask the controller as an operator; not while it is away."""
        return httpx.get(f"{self[CONTROLLER].url}{path}", headers=self._token(), timeout=10)

    def post(self, path: str, content: bytes) -> httpx.Response:
        return httpx.post(f"{self[CONTROLLER].url}{path}", headers=self._token(), content=content)

    def await_turns(self, run: str, count: int) -> None:
        """Returns once so many turns were accepted."""

        def has_come() -> bool:
            answer = self.get(f"/runs/{run}")
            return answer.is_success and answer.json()["turns"] >= count

        wait_until(has_come, what=f"{count} turns of {run}", within_s=60)

    def await_status(self, run: str, status: str) -> None:
        def has_come() -> bool:
            answer = self.get(f"/runs/{run}")
            return answer.is_success and answer.json()["status"] == status

        wait_until(has_come, what=f"{run} is {status}", within_s=60)

    def await_log(self, name: str, pattern: str, *, after: int = 0) -> None:
        """Returns once a service has logged this."""
        what = f"{name}: {pattern}"
        wait_until(lambda: self.has_logged(name, pattern, after=after), what=what, within_s=60)

    def has_logged(self, name: str, pattern: str, *, after: int = 0) -> bool:
        return re.search(pattern, self[name].log.read_bytes()[after:].decode()) is not None

    def _token(self) -> dict[str, str]:
        token = (self.folder / "data-controller/token").read_text().strip()
        return {"Authorization": f"Bearer {token}"}

    def _options(self) -> list[str]:
        token = self.folder / "data-controller/token"
        return ["--controller", self[CONTROLLER].url, "--token-file", str(token)]

    def _process(self, name: str) -> Process:
        port = free_port()
        text = CONTROLLER_TOML if name == CONTROLLER else SITE
        config = self.folder / f"{name}.toml"
        url = f"amqp://{name}@{self.broker.host}:{self.broker.port}/{quote(self.vhost, safe='')}"
        config.write_text(text.format(name=name, url=url, port=port, trainer=self.trainer))
        (self.folder / f"{name}.password").write_text(self.broker.password(name) + "\n")
        kind = "controller" if name == CONTROLLER else "site"
        return Process(
            words=command(kind, "--config", config),
            log=self.folder / f"{name}.log",
            url=f"http://127.0.0.1:{port}",
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
