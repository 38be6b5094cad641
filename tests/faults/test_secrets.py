"""No private key, password or token gets out of its file, whatever goes wrong."""

from __future__ import annotations

import os
import resource
import signal
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from support.attacker import Attacker, Letter
from support.broker import Broker
from support.federation import NO_TORCH, SITES, Federation
from support.simulation import write_run
from tasuki.core.model import CONTROLLER

ALL = (CONTROLLER, *SITES)
OWN = (".key", ".password", "token")
"""How the names of files end that have secrets."""


@pytest.fixture
def federation(tmp_path: Path, broker: Broker, vhost: str) -> Iterator[Federation]:
    write_run(tmp_path)
    path = os.pathsep.join([str(NO_TORCH), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path.rstrip(os.pathsep))
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        try:
            with Federation(
                tmp_path, broker, vhost, trainer="raise_once", require=("signed", "sealed")
            ) as federation:
                yield federation
        finally:
            resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


@pytest.mark.timeout(180)
def test_no_secret_is_found_anywhere_but_in_its_own_file_after_a_run_with_faults(
    federation: Federation, broker: Broker, tmp_path: Path
) -> None:
    secrets = secrets_in(federation)
    assert len(secrets) > 4 * len(ALL)

    def spoil(letter: Letter) -> Iterator[Letter]:
        yield Letter(queue=letter.queue, sender=letter.sender, body=letter.body[:-1] + b"?")
        yield letter

    with Attacker(broker, federation.vhost, SITES) as he:
        he.tampering = spoil
        run = federation.begin(write_run(tmp_path, pause_s=0.3, attempts=3, min_sites=3))
        federation.await_turns(run.name, 2)
        for name in ("site-1", CONTROLLER):
            federation[name].end(signal.SIGKILL)
            federation[name].start()
            federation[name].await_ready()
        assert run.finished()["status"] == "finished"
        on_its_way = [letter.body for letter in he.taken] + he.dead_letters()
    assert len(on_its_way) > 50
    found = {name for name, secret in secrets.items() for body in on_its_way if secret in body}
    assert found == set()
    assert in_files(tmp_path, secrets) == set()
    assert in_files(broker.folder, secrets) == set()


def test_services_write_no_core_dumps(federation: Federation) -> None:
    for name in ALL:
        limits = Path(f"/proc/{federation[name].pid}/limits").read_text()
        (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core.split()[4] == "0", name


def secrets_in(federation: Federation) -> dict[str, bytes]:
    """Each secret in each form that it could get out in."""
    secrets: dict[str, bytes] = {}
    for path in federation.folder.glob("*.key"):
        pem = path.read_bytes()
        lines = pem.strip().splitlines()[1:-1]
        secrets |= {f"{path.name}, line {at}": line for at, line in enumerate(lines) if at}
        secret = scalar(pem)
        secrets[f"{path.name}, raw"] = secret
        secrets[f"{path.name}, hex"] = secret.hex().encode()
        secrets[f"{path.name}, base64"] = b64encode(secret).rstrip(b"=")
    for path in (*federation.folder.glob("*.password"), *federation.folder.glob("*/token")):
        secrets[path.name] = path.read_bytes().strip()
    return secrets


def scalar(pem: bytes) -> bytes:
    """A private key's own 32 bytes."""
    key = serialization.load_pem_private_key(pem, password=None)
    if isinstance(key, x25519.X25519PrivateKey):
        return key.private_bytes_raw()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value.to_bytes(32, "big")


def in_files(folder: Path, secrets: dict[str, bytes]) -> set[tuple[str, str]]:
    """Which secrets are in which files that are not their own."""
    found = set()
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.endswith(OWN):
            content = path.read_bytes()
            found |= {(str(path), name) for name, secret in secrets.items() if secret in content}
    return found
