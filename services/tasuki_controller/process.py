"""The controller as a process: `tasuki controller`."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from pathlib import Path

import structlog

from tasuki.clock import SystemClock
from tasuki.core.model import CONTROLLER
from tasuki.disk.writing import PRIVATE, write_whole
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.lifetime import beside, live, write_no_core_dumps
from tasuki.moments import Moments
from tasuki.observe import logs
from tasuki.observe.certificate import watch
from tasuki.observe.controller import ControllerMetrics
from tasuki.observe.http import lacking
from tasuki.observe.metrics import Subject
from tasuki.observe.outlet import Outlet
from tasuki.settings.broker import read_secret
from tasuki.settings.controller import ControllerSettings
from tasuki.testing.faults import listening
from tasuki.transport.broker import BrokerConnection
from tasuki.weights.sender import noting_turns
from tasuki.weights.spool import Spool
from tasuki.weights.unclaimed import Limits
from tasuki_controller import dead_letters, roster_file
from tasuki_controller.controller import Controller
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.followers import followers
from tasuki_controller.followers.following import Following
from tasuki_controller.http_server import Door, opened
from tasuki_controller.operations import Operations
from tasuki_controller.service import ControllerService
from tasuki_controller.stream_replicas import tried
from tasuki_controller.uploads import Uploads

log = structlog.get_logger()


def run_controller(settings: ControllerSettings, *, faults: str | None = None) -> int:
    """Serve until a signal; returns the exit code. `faults`: a script, see `tasuki.testing`.

    Raises:
        TasukiError: why it could not start or go on.
    """
    write_no_core_dumps()
    outlet = logs.configure(settings.log)
    folder = DataFolder(settings.folder)
    with folder.locked():
        moments = listening(faults, actor=CONTROLLER)
        return asyncio.run(_run(settings, folder, _token(settings), moments, outlet))


def _token(settings: ControllerSettings) -> str:
    """What operators must know: of the file that the settings name, or of one made here."""
    if settings.http.token_file is not None:
        return read_secret(settings.http.token_file, what="[http] token_file")
    path = settings.folder / "token"
    if not path.exists():
        write_whole(path, f"{secrets.token_urlsafe(32)}\n".encode(), mode=PRIVATE)
    return read_secret(path, what="the operators' token")


async def _run(
    settings: ControllerSettings,
    folder: DataFolder,
    token: str,
    moments: Moments,
    outlet: Outlet,
) -> int:
    connection = BrokerConnection(settings.broker, on_sent=noting_turns(moments))
    member = settings.security.member(CONTROLLER, folder=folder.path)
    ledger = SqliteLedger(folder.ledger_path, sign=None if member.keys is None else member.sign_row)
    started = asyncio.Event()
    metrics = ControllerMetrics(
        Subject(
            service=CONTROLLER,
            counters=connection.transport.counters,
            is_up=lambda: connection.is_up,
            folder=folder.path,
            certificate=settings.broker.cert,
            lines_lost=lambda: outlet.lost,
            member=member,
        )
    )
    operations = Operations(
        ledger=ledger,
        uploads=Uploads(folder.path / "uploads"),
        metrics=metrics,
        stream_bytes=settings.stream_bytes,
        sites=None if settings.sites is None else tuple(settings.sites),
    )
    following = Following(
        ledger,
        followers(metrics=metrics, tell=operations.onlookers.tell),
        failed=metrics.follower_failed,
    )
    service = ControllerService(
        Controller(
            transport=connection.transport,
            ledger=ledger,
            runs=folder.runs_path,
            spool=_spool(folder.spool_path, settings, metrics),
            clock=SystemClock(),
            member=member,
            patience_s=settings.patience_s,
            # The broker gives up a connection that is silent for two or three heartbeats.
            alone_s=4 * settings.broker.heartbeat_s,
            hears_since=lambda: connection.hears_since,
            held_up=lambda: connection.held_up,
            refused=connection.refused,
            moments=moments,
        ),
        watcher=operations.watch,
        on_step=following.take,
    )
    service.sweep()
    operations.serve(service)
    connection.on_held_up = service.note_held_up
    door = Door(
        operations=operations,
        folder=folder,
        token=token,
        is_ready=started.is_set,
        lacks=lambda: lacking(is_started=started.is_set(), is_up=connection.is_up),
    )

    def drain() -> bool:
        operations.onlookers.close()
        service.stop()
        return started.is_set()

    for path in settings.security.secrets_of_all():
        log.warning("everyone on this machine can read a secret: chmod it to 600", path=str(path))
    log.info("controller starts", broker=settings.broker.url, folder=str(folder.path))
    try:
        async with (
            opened(door, settings.http),
            beside(watch(settings.broker.cert)),
            beside(
                roster_file.watch(
                    settings.security.roster,
                    None if member.keys is None else member.keys.rosters,
                    service.tell_roster,
                )
            ),
            beside(dead_letters.count(connection.transport, metrics.dead_letters, started)),
            tried(settings.broker, operations.streams, metrics.stream_replicas),
            following.led(),
        ):
            return await live(service.run(started=started), drain=drain)
    finally:
        ledger.close()


def _spool(folder: Path, settings: ControllerSettings, metrics: ControllerMetrics) -> Spool:
    disk = shutil.disk_usage(settings.folder).total
    return Spool(
        folder,
        # Nobody fills the disk with weights that no run waits for.
        limits=Limits(size=min(settings.stream_bytes, disk // 2)),
        refused=lambda reason, count: metrics.refused("weights", reason, count=count),
    )
