"""The controller as a process: `tasuki controller`."""

from __future__ import annotations

import asyncio
import os
import secrets

import structlog

from tasuki.clock import SystemClock
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.lifetime import live
from tasuki.observe import logs
from tasuki.observe.metrics import ControllerMetrics
from tasuki.settings.broker import read_secret
from tasuki.settings.controller import ControllerSettings
from tasuki.transport.broker import BrokerConnection
from tasuki.wire.spool import Spool, disk_errors
from tasuki_controller.api import Door, opened
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.desk import Desk
from tasuki_controller.service import Controller, ControllerService
from tasuki_controller.uploads import Uploads

log = structlog.get_logger()


def run_controller(settings: ControllerSettings) -> int:
    """Serve until a signal; returns the exit code.

    Raises:
        TasukiError: why it could not start or go on.
    """
    logs.configure(settings.log)
    folder = DataFolder(settings.folder)
    with folder.locked():
        return asyncio.run(_run(settings, folder, _token(settings)))


def _token(settings: ControllerSettings) -> str:
    """What operators must know: of the file that the settings name, or of one made here."""
    if settings.http.token_file is not None:
        return read_secret(settings.http.token_file, what="[http] token_file")
    path = settings.folder / "token"
    if not path.exists():
        with disk_errors(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - made private
                file.write(secrets.token_urlsafe(32) + "\n")
    return read_secret(path, what="the operators' token")


async def _run(settings: ControllerSettings, folder: DataFolder, token: str) -> int:
    connection = BrokerConnection(settings.broker)
    ledger = SqliteLedger(folder.ledger_path)
    started = asyncio.Event()
    desk = Desk(
        ledger=ledger,
        uploads=Uploads(folder.path / "uploads"),
        metrics=ControllerMetrics(connection.transport.counters, lambda: connection.is_up),
        stream_bytes=settings.stream_bytes,
        sites=None if settings.sites is None else tuple(settings.sites),
    )
    service = ControllerService(
        Controller(
            transport=connection.transport,
            ledger=ledger,
            runs=folder.runs_path,
            spool=Spool(folder.path / "spool"),
            clock=SystemClock(),
            patience_s=settings.patience_s,
        ),
        watcher=desk.watch,
    )
    desk.serve(service)
    door = Door(desk, folder, token=token, is_ready=started.is_set)

    def drain() -> bool:
        desk.close()
        service.stop()
        return started.is_set()

    log.info("controller starts", broker=settings.broker.url, folder=str(folder.path))
    try:
        async with opened(door, settings.http.host, settings.http.port):
            return await live(service.run(started=started), drain=drain)
    finally:
        ledger.close()
