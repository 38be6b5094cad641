"""A second controller: by mistake, or in place of one whose machine is gone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from signal import Signals

import pytest

from support.broker import Broker
from support.federation import Process, free_port
from support.scripted import ORDER, Scripted, scripted, write_scripted
from support.simulation import command
from support.waiting import wait_until
from tasuki.core.model import CONTROLLER
from tasuki.errors import AnotherController

HEARTBEAT = "heartbeat_s = 3"  # next to the least there is: the tests wait for several


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Scripted]:
    with scripted(tmp_path_factory.mktemp("scripted"), broker, settings=HEARTBEAT) as it:
        yield it


@pytest.fixture
def second(federation: Scripted, tmp_path: Path) -> Iterator[Process]:
    """Another controller of the same federation and keys, with its own folder; not started."""
    first, port = federation.federation.folder, free_port()
    text = (first / "controller.toml").read_text()
    (tmp_path / "controller.toml").write_text(re.sub(r"(?m)^port = .*", f"port = {port}", text))
    for path in (*first.glob("*.pem"), *first.glob(f"{CONTROLLER}.*.key")):
        shutil.copy(path, tmp_path)
    shutil.copy(first / "controller.password", tmp_path)
    words = command("controller", "--config", tmp_path / "controller.toml")
    process = Process(words, tmp_path / "log", url=f"http://127.0.0.1:{port}")
    yield process
    process.kill()


def test_a_second_controller_ends_by_itself_and_the_first_goes_on(
    federation: Scripted, second: Process, tmp_path: Path
) -> None:
    second.start()

    assert second.running is not None
    assert AnotherController.exit_code == second.running.wait(60), second.log.read_text()
    federation.check(federation.submit(write_scripted(tmp_path, "first")), ORDER)


def test_who_follows_a_controller_that_stands_still_waits_until_the_broker_gives_that_up(
    federation: Scripted, second: Process
) -> None:
    first = federation.federation[CONTROLLER]
    second.start()
    # The first still lives: on a busy machine, a broker gives up before another has started.
    wait_until(
        lambda: "another controller reads the reports" in second.log.read_text(),
        what="the second waits",
        within_s=60,
    )
    first.signal(Signals.SIGSTOP)
    try:
        second.await_ready()
    finally:
        second.kill()
        first.signal(Signals.SIGCONT)
