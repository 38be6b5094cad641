"""One site as a process: `tasuki site`."""

from __future__ import annotations

import asyncio

import structlog

from tasuki.clock import SystemClock
from tasuki.errors import TrainerNotFound
from tasuki.ledger.lock import locked
from tasuki.lifetime import live
from tasuki.observe import logs
from tasuki.observe.http import Pages, served
from tasuki.observe.metrics import SiteMetrics
from tasuki.settings.site import SiteSettings
from tasuki.transport.broker import BrokerConnection
from tasuki.wire.spool import Spool
from tasuki_site.journal import Journal, open_journal
from tasuki_site.service import Site, SiteService
from tasuki_site.source import Source
from tasuki_site.trainers import ChildTrainer, Trainer, TrainerPool

log = structlog.get_logger()


def run_site(settings: SiteSettings) -> int:
    """Serve until a signal; returns the exit code.

    Raises:
        TasukiError: why it could not start or go on.
    """
    logs.configure(settings.log)
    trainers = _Trainers(settings)
    trainers.check()
    with locked(settings.folder):
        return asyncio.run(_run(settings, trainers))


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


async def _run(settings: SiteSettings, trainers: _Trainers) -> int:
    connection = BrokerConnection(settings.broker)
    database, is_fresh = open_journal(settings.folder / "journal.sqlite")
    service = SiteService(
        Site(
            name=settings.name,
            transport=connection.transport,
            journal=Journal(database, settings.name),
            spool=Spool(settings.folder / "spool"),
            trainers=TrainerPool(trainers.make),
            clock=SystemClock(),
            is_fresh=is_fresh,
            data=None if settings.data.path is None else str(settings.data.path),
            device=settings.device,
        )
    )
    metrics = SiteMetrics(
        connection.transport.counters,
        lambda: connection.is_up,
        has_turn=lambda: service.has_turn,
    )
    pages = Pages(metrics, is_ready=lambda: service.is_ready and connection.is_up)

    def drain() -> bool:
        if service.is_ready:
            service.drain()
        return service.is_ready

    log.info("site starts", site=settings.name, broker=settings.broker.url, fresh=is_fresh)
    try:
        async with served(pages, settings.http.host, settings.http.port):
            return await live(service.run(), drain=drain)
    finally:
        database.close()
