"""One site as a process: `tasuki site`."""

from __future__ import annotations

import asyncio
import os
import shutil
from functools import partial
from pathlib import Path

import structlog

from tasuki.clock import SystemClock
from tasuki.disk.lock import locked
from tasuki.errors import TrainerNotFound
from tasuki.lifetime import beside, live, write_no_core_dumps
from tasuki.moments import Moments
from tasuki.observe import logs
from tasuki.observe.certificate import watch
from tasuki.observe.http import Pages, lacking, served
from tasuki.observe.metrics import Subject
from tasuki.observe.outlet import Outlet
from tasuki.observe.site import SiteMetrics
from tasuki.settings.site import SiteSettings
from tasuki.testing.faults import listening
from tasuki.transport.broker import BrokerConnection
from tasuki.weights.sender import noting_turns
from tasuki.weights.spool import Spool
from tasuki.weights.unclaimed import Limits
from tasuki_site import measuring
from tasuki_site.journal import Journal, open_journal
from tasuki_site.reports import named
from tasuki_site.service import SiteService
from tasuki_site.site import Site
from tasuki_site.trainer.child_trainer import ChildTrainer
from tasuki_site.trainer.pool import Trainer, TrainerPool
from tasuki_site.trainer.process_limit import ProcessLimit, fitting
from tasuki_site.trainer.request import TurnRequest
from tasuki_site.trainer.source import Source

log = structlog.get_logger()

REFUSED_S = 5.0
"""A site that is to end and whose broker does not let it in for so long hands nothing over."""


def run_site(settings: SiteSettings, *, faults: str | None = None) -> int:
    """Serve until a signal; returns the exit code. `faults`: a script, see `tasuki.testing`.

    Raises:
        TasukiError: why it could not start or go on.
    """
    write_no_core_dumps()
    outlet = logs.configure(settings.log)
    trainers = _Trainers(settings)
    trainers.check()
    with locked(settings.folder):
        moments = listening(faults, actor=settings.name)
        return asyncio.run(_run(settings, trainers, moments, outlet))


class _Trainers:
    """The site's code by the names that runs know it by."""

    def __init__(self, settings: SiteSettings) -> None:
        self._site = settings.name
        self._farewell_s = {name: t.farewell_s for name, t in settings.trainers.items()}
        self._sources = {
            name: Source(run=table.run, folder=table.folder, evaluate=table.evaluate or "")
            for name, table in settings.trainers.items()
        }

    def check(self) -> None:
        """Raises TrainerNotFound: one of them is not there."""
        for source in self._sources.values():
            source.check()

    def make(self, name: str) -> Trainer:
        if name not in self._sources:
            known = ", ".join(self._sources) or "none"
            raise TrainerNotFound(
                f"site {self._site} has no trainer {name!r}; its settings have {known}: "
                f"add [trainers.{name}]"
            )
        return ChildTrainer(self._sources[name], said, self._farewell_s[name])

    @property
    def names(self) -> list[str]:
        return list(self._sources)


def said(request: TurnRequest, line: str) -> None:
    """Into the log: a line that a trainer printed, and in which turn."""
    log.info("trainer said", **named(request.id), line=line)


async def _run(
    settings: SiteSettings, trainers: _Trainers, moments: Moments, outlet: Outlet
) -> int:
    connection = BrokerConnection(settings.broker, on_sent=noting_turns(moments))
    database = open_journal(settings.folder / "journal.sqlite")
    member = settings.security.member(settings.name, folder=settings.folder)
    metrics = SiteMetrics(
        Subject(
            service=settings.name,
            counters=connection.transport.counters,
            is_up=lambda: connection.is_up,
            folder=settings.folder,
            certificate=settings.broker.cert,
            lines_lost=lambda: outlet.lost,
            member=member,
        ),
        has_turn=lambda: service.has_turn,
    )
    service = SiteService(
        Site(
            name=settings.name,
            transport=connection.transport,
            journal=Journal(database, settings.name),
            spool=_spool(settings, metrics),
            trainers=TrainerPool(
                trainers.make, limit=ProcessLimit(settings.processes or fitting())
            ),
            clock=SystemClock(),
            member=member,
            capacity=settings.concurrency,
            data=None if settings.data.path is None else str(settings.data.path),
            device=settings.device,
            watcher=measuring.into(metrics),
            series=metrics.packed,
            blocked_s=lambda: connection.transport.counters.blocked_s,
            moments=moments,
        )
    )
    pages = Pages(
        metrics,
        lacks=lambda: lacking(is_started=service.is_ready, is_up=connection.is_up),
    )

    def drain() -> bool:
        if service.is_ready:
            service.drain()
        return service.is_ready

    log.info(
        "site starts",
        site=settings.name,
        broker=settings.broker.url,
        trainers=", ".join(trainers.names) or "none",
    )
    warn_of_data(settings.data.path)
    for path in settings.security.secrets_of_all():
        log.warning("everyone on this machine can read a secret: chmod it to 600", path=str(path))
    try:
        async with (
            served(pages, settings.http.host, settings.http.port),
            beside(watch(settings.broker.cert)),
        ):
            return await live(
                service.run(), drain=drain, in_vain=partial(connection.refuses, for_s=REFUSED_S)
            )
    finally:
        database.close()


def warn_of_data(path: Path | None) -> None:
    """A turn would tell as well, but only when it comes; the site takes turns all the same."""
    if path is None:
        return
    if not path.exists():
        log.warning("[data] path is not there: mount it, or name where it is", path=str(path))
    elif not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        log.warning("[data] path cannot be read by this user", path=str(path), user=os.getuid())
    elif path.is_dir() and not any(path.iterdir()):
        log.warning("[data] path is empty", path=str(path))


def _spool(settings: SiteSettings, metrics: SiteMetrics) -> Spool:
    spool = Spool(
        settings.folder / "spool",
        # Nobody fills the disk with weights that no turn has asked for.
        limits=Limits(size=shutil.disk_usage(settings.folder).total // 2),
        free=lambda: shutil.disk_usage(settings.folder).free,
        refused=lambda reason, count: metrics.refused("weights", reason, count=count),
    )
    spool.sweep()
    return spool
