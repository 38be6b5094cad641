"""A federation as it is in the field: controller and sites as processes, a broker between them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any, Self
from urllib.parse import quote

import httpx

from support.members import REQUIRED, Signatory, security
from support.proofs import prove_all
from support.simulation import Outcome, command, environment, tasuki
from support.vhosts import Vhosts
from support.waiting import wait_until
from tasuki.broker.topology import topology
from tasuki.core.model import CONTROLLER
from tasuki.core.run import OVER

NO_TORCH = Path(__file__).parent / "no_torch"
SITES = ("site-1", "site-2", "site-3")

SITE = """
name = "{name}"
folder = "data-{name}"
[broker]
url = "{url}"
password_file = "{name}.password"
{broker}
[trainers.walk]
run = "walk:{trainer}"
{trainers}
[http]
port = {port}
"""

CONTROLLER_TOML = """
folder = "data-controller"
sites = {sites}
[broker]
url = "{url}"
password_file = "controller.password"
{broker}
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

    def is_up(self) -> bool:
        return self.running is not None and self.running.poll() is None

    def metrics(self) -> str:
        """Its page as Prometheus gets it."""
        return httpx.get(f"{self.url}/metrics", timeout=10).raise_for_status().text

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
    """A `tasuki submit --wait` or `tasuki watch` under way."""

    name: str
    process: subprocess.Popen[str]

    def ended(self) -> Outcome:
        """How it ended, once it has."""
        out, err = self.process.communicate(timeout=90)
        return Outcome(self.process.returncode, out, err)

    def finished(self, *, code: int = 0) -> dict[str, Any]:  # Any: JSON
        """What it ended with, once it has, and that is success unless another code is given."""
        ended = self.ended()
        assert ended.code == code, ended.out + ended.err
        return ended.last


@dataclass
class Federation:
    """Sites and a controller in a folder that also has the run file and the trainers.

    Attributes:
        ports: where a service finds the broker, if it is to go through a proxy.
        hosts: the same of a broker of several nodes.
        broker_settings: further lines of a service's [broker].
        trainers: further tables of a site's trainers.
        sites: who they are.
        require: what they take nothing without; if it is anything, all of them have keys.
    """

    folder: Path
    broker: Vhosts
    vhost: str
    trainer: str = "train"
    ports: Mapping[str, int] = field(default_factory=dict)
    hosts: Sequence[str] = ()
    broker_settings: Mapping[str, str] = field(default_factory=dict)
    trainers: Mapping[str, str] = field(default_factory=dict)
    sites: Sequence[str] = SITES
    require: Sequence[str] = REQUIRED
    signatory: Signatory = field(default_factory=lambda: Signatory(now=time.time()))
    processes: dict[str, Process] = field(default_factory=dict)
    _operators: list[subprocess.Popen[str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.broker.provision(self.vhost, topology(self.sites))
        self.broker.sync()
        if self.require:
            self.signatory.write(self.folder, (CONTROLLER, *self.sites))
        try:
            for name in (CONTROLLER, *self.sites):
                self.processes[name] = self._process(name)
                self.processes[name].start()
            for process in self.processes.values():
                process.await_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.kill()
        if kind is None and self.require:
            prove_all(self.folder / "data-controller", roster=self.folder / "roster.pem")
        if kind is not None:
            for name, said in self.last_words().items():
                sys.stdout.write(f"--- {name}\n{said}")

    def __getitem__(self, name: str) -> Process:
        return self.processes[name]

    def last_words(self) -> dict[str, str]:
        """The end of each service's log, for whoever wonders why a test has failed."""
        return {name: it.log.read_text()[-6000:] for name, it in self.processes.items()}

    def kill(self) -> None:
        """Everybody, and whoever waits for them."""
        for process in self.processes.values():
            process.kill()
        for operator in self._operators:
            with operator:
                operator.kill()

    def tidy(self) -> None:
        """What a test has left behind: runs that nobody waits for, services that are down."""
        for process in self.processes.values():
            if not process.is_up():
                process.start()
                process.await_ready()
        for run in self.ask("runs").last["runs"]:
            if run["status"] not in OVER:
                self.ask("stop", run["run"])

    def ask(self, *words: str | Path) -> Outcome:
        """An operator's command."""
        return self.tell(*words, "--json")

    def tell(self, *words: str | Path) -> Outcome:
        """The same for people."""
        return tasuki(*words, *self._options())

    def ledger(self, run: str) -> list[dict[str, Any]]:  # Any: JSON
        rows: list[dict[str, Any]] = self.ask("ledger", run).last["rows"]
        return rows

    def submit(self, run_toml: Path) -> Outcome:
        """Submit and wait until the run is over."""
        return self.ask("submit", run_toml, "--wait")

    def begin(self, run_toml: Path) -> Waiting:
        """Submit, and leave the waiting to a process."""
        name = tomllib.loads(run_toml.read_text())["name"]
        return self._await(name, "submit", run_toml, "--wait", "--json")

    def watch(self, run: str, *options: str) -> Waiting:
        """Watch a run that was submitted."""
        return self._await(run, "watch", run, *options)

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

    def await_reason(self, run: str, pattern: str) -> None:
        """Returns once the run says that it does not move, and why."""

        def has_come() -> bool:
            answer = self.get(f"/runs/{run}")
            return answer.is_success and re.search(pattern, answer.json()["reason"]) is not None

        wait_until(has_come, what=f"{run}: {pattern}", within_s=60)

    def await_row(self, run: str, pattern: str) -> None:
        """Returns once something in the run's ledger led to this."""

        def has_come() -> bool:
            rows = self.get(f"/runs/{run}/ledger").json()["rows"]
            return any(re.search(pattern, told) for row in rows for told in row["led_to"])

        wait_until(has_come, what=f"{run}: {pattern}", within_s=60)

    def await_log(self, name: str, pattern: str, *, after: int = 0) -> None:
        """Returns once a service has logged this."""
        what = f"{name}: {pattern}"
        wait_until(lambda: self.has_logged(name, pattern, after=after), what=what, within_s=60)

    def has_logged(self, name: str, pattern: str, *, after: int = 0) -> bool:
        return re.search(pattern, self[name].log.read_bytes()[after:].decode()) is not None

    def _await(self, run: str, *words: str | Path) -> Waiting:
        operator = subprocess.Popen(
            command(*words, *self._options()),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._operators.append(operator)
        return Waiting(run, operator)

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
        broker_port = self.ports.get(name, self.broker.port)
        url = f"amqp://{name}@{self.broker.host}:{broker_port}/{quote(self.vhost, safe='')}"
        hosts = json.dumps(list(self.hosts or self.broker.hosts))
        lines = f"hosts = {hosts}\n{self.broker_settings.get(name, '')}"
        trainers = self.trainers.get(name, "")
        settings = {"trainer": self.trainer, "trainers": trainers, "broker": lines}
        settings["sites"] = json.dumps(list(self.sites))
        text = text.format(name=name, url=url, port=port, **settings)
        config.write_text(text + (security(name, self.require) if self.require else ""))
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
