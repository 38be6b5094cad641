"""One site as a process: `tasuki site`."""

from __future__ import annotations

import asyncio
import shutil

import structlog

from tasuki.clock import SystemClock
from tasuki.errors import TrainerNotFound
from tasuki.ledger.lock import locked
from tasuki.lifetime import live
from tasuki.moments import Moments
from tasuki.observe import logs
from tasuki.observe.certificate import watched
from tasuki.observe.http import Pages, served
from tasuki.observe.metrics import Subject
from tasuki.observe.site import SiteMetrics
from tasuki.settings.site import SiteSettings
from tasuki.testing.faults import listening
from tasuki.transport.broker import BrokerConnection
from tasuki.transport.handover import noting_turns
from tasuki.wire.spool import Spool
from tasuki.wire.unclaimed import Limits
from tasuki_site import measuring
from tasuki_site.journal import Journal, open_journal
from tasuki_site.service import SiteService
from tasuki_site.site import Site
from tasuki_site.source import Source
from tasuki_site.trainers import ChildTrainer, Trainer, TrainerPool

log = structlog.get_logger()


def run_site(settings: SiteSettings, *, faults: str | None = None) -> int:
    """Serve until a signal; returns the exit code. `faults`: a script, see `tasuki.testing`.

    Raises:
        TasukiError: why it could not start or go on.
    """
    logs.configure(settings.log)
    trainers = _Trainers(settings)
    trainers.check()
    with locked(settings.folder):
        moments = listening(faults, actor=settings.name)
        return asyncio.run(_run(settings, trainers, moments))


class _Trainers:
    """The site's code by the names that runs know it by."""

    def __init__(self, settings: SiteSettings) -> None:
        self._site = settings.name
        self._sources = {
            name: Source(run=table.run, folder=table.folder)
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
        return ChildTrainer(self._sources[name], lambda line: log.info("trainer said", line=line))


async def _run(settings: SiteSettings, trainers: _Trainers, moments: Moments) -> int:
    connection = BrokerConnection(settings.broker, on_sent=noting_turns(moments))
    database = open_journal(settings.folder / "journal.sqlite")
    metrics = SiteMetrics(
        Subject(
            service=settings.name,
            counters=connection.transport.counters,
            is_up=lambda: connection.is_up,
            folder=settings.folder,
            certificate=settings.broker.cert,
        ),
        has_turn=lambda: service.has_turn,
    )
    service = SiteService(
        Site(
            name=settings.name,
            transport=connection.transport,
            journal=Journal(database, settings.name),
            spool=_spool(settings, metrics),
            trainers=TrainerPool(trainers.make),
            clock=SystemClock(),
            capacity=settings.concurrency,
            data=None if settings.data.path is None else str(settings.data.path),
            device=settings.device,
            watcher=measuring.into(metrics),
            series=metrics.packed,
            blocked_s=lambda: connection.transport.counters.blocked_s,
            moments=moments,
        )
    )
    pages = Pages(metrics, is_ready=lambda: service.is_ready and connection.is_up)

    def drain() -> bool:
        if service.is_ready:
            service.drain()
        return service.is_ready

    log.info("site starts", site=settings.name, broker=settings.broker.url)
    try:
        async with (
            served(pages, settings.http.host, settings.http.port),
            watched(settings.broker.cert),
        ):
            return await live(service.run(), drain=drain)
    finally:
        database.close()


def _spool(settings: SiteSettings, metrics: SiteMetrics) -> Spool:
    spool = Spool(
        settings.folder / "spool",
        # Nobody fills the disk with weights that no turn has asked for.
        limits=Limits(size=shutil.disk_usage(settings.folder).total // 2),
        refused=lambda reason, count: metrics.refused("weights", reason, count=count),
    )
    spool.sweep()
    return spool
