"""A federation as it is in the field: controller and sites as processes, a broker between them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
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

    @property
    def pid(self) -> int:
        assert self.running is not None
        return self.running.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
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
                print(process.log.read_text()[-6000:])

    def __getitem__(self, name: str) -> Process:
        return self.processes[name]

    def ask(self, *words: str | Path) -> Outcome:
        """An operator's command."""
        return tasuki(*words, *self._options(), "--json")

    def submit(self, run_toml: Path) -> Outcome:
        """Submit and wait until the run is over."""
        return self.ask("submit", run_toml, "--wait")

    def begin(self, run_toml: Path) -> subprocess.Popen[str]:
        """Submit, and leave the waiting to a process."""
        words = command("submit", run_toml, "--wait", *self._options(), "--json")
        return subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, text=True)

    def get(self, path: str) -> httpx.Response:
        """Ask the controller as an operator; not while it is away."""
        token = (self.folder / "data-controller/token").read_text().strip()
        url = f"{self[CONTROLLER].url}{path}"
        return httpx.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10)

    def await_turns(self, count: int, run: str = "walk") -> None:
        """Returns once so many turns were accepted."""

        def has_come() -> bool:
            answer = self.get(f"/runs/{run}")
            return answer.is_success and answer.json()["turns"] >= count

        wait_until(has_come, what=f"{count} turns of {run}", within_s=60)

    def await_status(self, status: str, run: str = "walk") -> None:
        def has_come() -> bool:
            answer = self.get(f"/runs/{run}")
            return answer.is_success and answer.json()["status"] == status

        wait_until(has_come, what=f"{run} is {status}", within_s=60)

    def await_log(self, name: str, line: str) -> None:
        """Returns once a service has logged this."""
        log = self[name].log
        wait_until(lambda: line in log.read_text(), what=f"{name}: {line}", within_s=60)

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


def finished(waiting: subprocess.Popen[str]) -> dict[str, Any]:  # Any: JSON
    """What `begin` ended with."""
    out, _ = waiting.communicate(timeout=90)
    last: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    assert waiting.returncode == 0, last
    return last
