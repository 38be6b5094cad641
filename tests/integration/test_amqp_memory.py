"""A hand-over of any size costs a process at most 64 MiB (P7)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from support.broker import Broker
from tasuki.broker.topology import topology

COUNT, SIZE = 300, 2**20
MOST_KB = 64 * 1024


@pytest.fixture
def url(broker: Broker, vhost: str) -> str:
    broker.provision(vhost, topology(["site-1"]))
    return broker.url("site-1", vhost)


def probe(url: str, role: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "support.memory_probe", url, role, str(COUNT), str(SIZE)]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}  # as pytest has made it
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | path)


def cost_kb(process: subprocess.Popen[str]) -> int:
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    return int(out)


def test_sending_and_then_receiving_300_mb_stays_within_64_mib(url: str) -> None:
    assert cost_kb(probe(url, "send")) < MOST_KB
    assert cost_kb(probe(url, "receive")) < MOST_KB


def test_receiving_300_mb_while_they_are_sent_stays_within_64_mib(url: str) -> None:
    receiver = probe(url, "receive")
    sender = probe(url, "send")

    assert cost_kb(sender) < MOST_KB
    assert cost_kb(receiver) < MOST_KB
