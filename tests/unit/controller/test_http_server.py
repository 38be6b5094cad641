"""The operators' door on a port."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from support.federation import free_port
from support.waiting import until
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.observe import logs
from tasuki.observe.controller import ControllerMetrics
from tasuki.observe.metrics import Subject
from tasuki.settings.controller import ControllerHttpTable
from tasuki.transport.amqp import Counters
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.http_server import MOST_CONNECTIONS, Door, opened
from tasuki_controller.operations import Operations
from tasuki_controller.uploads import Uploads

HERE = "127.0.0.1"


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    folder = DataFolder(tmp_path)
    subject = Subject(service="controller", counters=Counters(), is_up=lambda: True)
    operations = Operations(
        ledger=SqliteLedger(folder.ledger_path),
        uploads=Uploads(tmp_path / "uploads"),
        metrics=ControllerMetrics(subject),
        stream_bytes=1,
    )
    yield Door(operations=operations, folder=folder, token="t", is_ready=lambda: True)  # noqa: S106
    operations.ledger.close()


@pytest.fixture
def port() -> int:
    return free_port()


def test_strangers_cannot_take_every_file_that_the_controller_may_open(
    door: Door, port: int
) -> None:
    """Bug: half a request each, without a token, and no checkpoint could be written any more."""
    closed: list[asyncio.StreamReader] = []
    watching: list[asyncio.Task[None]] = []

    async def hold() -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection(HERE, port)
        writer.write(b"GET /healthz HTTP/1.1\r\n")
        watching.append(asyncio.create_task(note_the_end(reader)))
        return writer

    async def note_the_end(reader: asyncio.StreamReader) -> None:
        if await reader.read() == b"":
            closed.append(reader)

    async def run() -> None:
        async with opened(door, ControllerHttpTable(port=port)):
            held = [await hold() for _ in range(MOST_CONNECTIONS + 20)]
            await until(lambda: len(closed) == 20, what="those that are too many are closed")
            for writer in held:
                writer.close()
            await asyncio.gather(*watching)

    asyncio.run(run())


def test_a_token_that_everyone_can_read_is_said(
    door: Door, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    token = door.folder.path / "token"
    token.touch(mode=0o644)

    async def run() -> None:
        async with opened(door, ControllerHttpTable(port=port, token_file=token)):
            return

    logs.configure("json")
    asyncio.run(run())
    structlog.reset_defaults()
    assert f'"path": "{token}", "event": "everyone on this machine' in capsys.readouterr().err
