"""Operators reach a controller over TLS, and only one that proves itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from support.broker import Broker
from support.federation import free_port
from support.simulation import Outcome, command, environment, tasuki
from support.waiting import wait_until
from tasuki import errors
from tasuki.broker.topology import topology
from tasuki.core.model import CONTROLLER

SETTINGS = """
folder = "data"
[broker]
url = "amqp://controller@{host}:{port}/{vhost}"
password_file = "password"
[http]
port = {door}
cert = "door.pem"
key = "door.key"
"""


@dataclass(frozen=True)
class Door:
    """A controller's settings and where it lets operators in."""

    config: Path
    url: str

    @property
    def folder(self) -> Path:
        return self.config.parent

    def ask(self, *words: str | Path) -> Outcome:
        token = self.folder / "data/token"
        return tasuki("runs", "--controller", self.url, "--token-file", token, "--json", *words)


@pytest.fixture
def door(tmp_path: Path, broker: Broker) -> Iterator[Door]:
    """With a certificate of its own authority."""
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    words += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    words += ["-keyout", str(tmp_path / "door.key"), "-out", str(tmp_path / "door.pem")]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    vhost, port = broker.vhost(), free_port()
    broker.provision(vhost, topology(["site-1"]))
    (tmp_path / "password").write_text(broker.password(CONTROLLER))
    config = tmp_path / "controller.toml"
    where = {"host": broker.host, "port": broker.port, "vhost": quote(vhost, safe="")}
    config.write_text(SETTINGS.format(**where, door=port))
    yield Door(config, f"https://127.0.0.1:{port}")
    broker.drop_vhost(vhost)


@contextmanager
def serving(config: Path) -> Iterator[None]:
    log = config.with_name("log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command("controller", "--config", config),
            env=environment(),
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: "door open" in log.read_text(), what="the door is open", within_s=60)
        yield
    finally:
        process.kill()
        process.wait()


def test_an_operator_who_trusts_the_authority_is_let_in(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(door.config):
        asked = door.ask("--ca", door.folder / "door.pem")
        monkeypatch.setenv("TASUKI_CA", str(door.folder / "door.pem"))
        again = door.ask()
    for each in (asked, again):
        assert (0, []) == (each.code, each.last["runs"]), each.err


def test_an_authority_that_cannot_be_read_is_said_at_once(door: Door) -> None:
    (door.folder / "data").mkdir()
    (door.folder / "data/token").write_text("t")
    asked = door.ask("--ca", door.folder / "none.pem")
    assert errors.SettingsError.exit_code == asked.code
    assert "none.pem cannot be used" in asked.err


def test_a_controller_that_proves_nothing_gets_no_token(door: Door) -> None:
    with serving(door.config):
        asked = door.ask()
    assert errors.TransportError.exit_code == asked.code
    assert "certificate verify failed" in asked.err


def test_a_key_that_cannot_be_used_is_said_at_once(door: Door) -> None:
    (door.folder / "door.key").write_text("no key")
    refused = tasuki("controller", "--config", door.config)
    assert errors.SettingsError.exit_code == refused.code
    assert "[http] cert and key cannot be used" in refused.err
