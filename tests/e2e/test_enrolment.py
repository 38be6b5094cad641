"""Members that make their keys themselves, from the first request to new keys during a run."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from signal import SIGTERM

import pytest

from support.broker import Broker
from support.federation import Process, free_port
from support.simulation import TRAINERS, Outcome, command, tasuki, write_run
from support.waiting import wait_until
from tasuki.core.model import CONTROLLER

MEMBERS = (CONTROLLER, "site-1", "site-2")
SECRET = re.compile(r"^(password|client\.key|seal\.key)(\.next|\.old)?$")


class Field:
    """A federation whose members enrol; each has a folder, and the authority another."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self._broker = broker
        self.folder = folder
        self.processes: dict[str, Process] = {}
        (folder / "admin").write_text(broker.password())
        (folder / "federation.toml").write_text(
            f'name = "clinics"\nsites = {json.dumps(MEMBERS[1:])}\n'
            f'[broker]\nhost = "{broker.host}"\nport = {broker.port}\n'
            f'management = "http://127.0.0.1:{broker.http_port}"\n'
            "[security]\nkits = false\n"
        )

    def at(self, name: str) -> Path:
        return self.folder / f"at-{name}"

    def enrol(self) -> None:
        """Everyone, at once."""
        for name in MEMBERS:
            said("enroll", name, "--federation", "clinics", "--out", self.at(name))
        self.sign(*MEMBERS)
        for name in MEMBERS:
            self._configure(name)

    def renew(self, name: str) -> None:
        said("enroll", name, "--renew", "--out", self.at(name))
        self.sign(name)

    def sign(self, *names: str) -> None:
        """What these ask for, on the broker too, and have them install the answers."""
        words: list[str | Path] = ["--admin-password-file", self.folder / "admin", "--apply"]
        for name in names:
            words += ["--sign", self.at(name) / f"{name}-request.pem"]
        words += ["--out", self.folder / "authority", "--yes", "--json"]
        report = said("provision", self.folder / "federation.toml", *words).last
        for one in report["signed"]:
            said("enroll", "--install", one["answer"], "--out", self.at(one["name"]))

    def start(self, name: str) -> None:
        self.processes[name].start()
        self.processes[name].await_ready()

    def operate(self, *words: str | Path) -> Outcome:
        token = self.at(CONTROLLER) / "token"
        url = self.processes[CONTROLLER].url
        return tasuki(*words, "--controller", url, "--token-file", token, "--json")

    def secrets(self) -> set[bytes]:
        """Every one there is or was."""
        found = set()
        for name in MEMBERS:
            for path in self.at(name).iterdir():
                if SECRET.match(path.name):
                    key = re.search(rb"KEY-----\s+(.+?)\s+-----END", path.read_bytes(), re.DOTALL)
                    found.add(key[1] if key else path.read_bytes().strip())
        return found

    def _configure(self, name: str) -> None:
        port, kind = free_port(), CONTROLLER if name == CONTROLLER else "site"
        path = self.at(name) / f"{kind}.toml"
        text = path.read_text()
        if kind == "site":
            text += f'[trainers.walk]\nrun = "walk:train"\nfolder = "{TRAINERS}"\n[http]\n'
        path.write_text(text.replace("[http]\n", f"[http]\nport = {port}\n"))
        self.processes[name] = Process(
            words=command(kind, "--config", path),
            log=self.folder / f"{name}.log",
            url=f"http://127.0.0.1:{port}",
        )


def said(*words: str | Path) -> Outcome:
    outcome = tasuki(*words)
    assert 0 == outcome.code, outcome.err
    return outcome


@pytest.fixture
def field(own_broker: Callable[..., Broker], tmp_path: Path) -> Iterator[Field]:
    field = Field(own_broker(), tmp_path)
    with ExitStack() as stack:
        field.enrol()
        for name in MEMBERS:
            stack.callback(field.processes[name].kill)
            field.start(name)
        yield field


def test_a_run_goes_on_while_a_site_and_the_controller_change_their_keys(
    field: Field, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    path = write_run(
        run, rounds=4, order='["site-1", "site-2"]', flag=run, params='hold = { site-2 = "go" }'
    )
    assert 0 == field.operate("submit", path).code
    name = tomllib.loads(path.read_text())["name"]
    wait_until(lambda: _turns(field, name) >= 1, what="a turn", within_s=60)

    for member in ("site-1", CONTROLLER):
        field.renew(member)
        assert 0 == field.processes[member].end(SIGTERM)
        field.start(member)
    (run / "go").touch()
    wait_until(lambda: _status(field, name) == "finished", what="the run's end", within_s=120)

    assert 8 == _turns(field, name)
    secrets = field.secrets()
    assert 15 == len(secrets)
    papers = [field.folder / "authority", *field.folder.glob("*.log"), run]
    papers += [path for each in MEMBERS for path in field.at(each).glob(".tasuki*")]
    for text in _texts(papers):
        assert not any(secret in text for secret in secrets)


def _turns(field: Field, run: str) -> int:
    turns: int = field.operate("runs").last["runs"][0]["turns"]
    return turns


def _status(field: Field, run: str) -> str:
    status: str = field.operate("runs").last["runs"][0]["status"]
    return status


def _texts(places: list[Path]) -> Iterator[bytes]:
    for place in places:
        for path in [place, *place.rglob("*")]:
            if path.is_file():
                yield path.read_bytes()
