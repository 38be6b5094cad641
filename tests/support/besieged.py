"""A federation whose broker's administrator is its enemy: its services, its numbers, and he."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from support.attacker import Attacker
from support.broker import Broker
from support.members import Signatory
from support.numbers import shown
from support.relay import Relay
from support.simulation import write_run
from support.transports import BrokerFederation
from support.waiting import until
from tasuki.broker.topology import topology
from tasuki.core.model import CONTROLLER
from tasuki.core.trust import Must
from tasuki.observe.controller import ControllerMetrics
from tasuki.observe.metrics import Metrics, Subject
from tasuki.observe.site import SiteMetrics
from tasuki.ports import Transport
from tasuki.settings.run import RunFile
from tasuki.settings.toml import read
from tasuki.transport.amqp import AmqpTransport
from tasuki.transport.memory import MemoryFederation
from tasuki.trust.member import NOBODY, Member
from tasuki.trust.rosters import Rosters
from tasuki.weights.spool import Spool
from tasuki_controller.controller import Controller
from tasuki_controller.news import MessageDiscarded, Update
from tasuki_site.measuring import into
from tasuki_site.site import Site

SITES = ("site-1", "site-2", "site-3")
ALL = (CONTROLLER, *SITES)
BOTH = (Must.SIGNED, Must.SEALED)
DEADLINE_S = 90.0


@dataclass
class Besieged(Relay):
    """The services of one federation on a broker, in this process, with all that they count."""

    federation: BrokerFederation | None = None
    signatory: Signatory = field(default_factory=Signatory)
    roster: bytes = b""
    without_keys: Collection[str] = ()
    members: Callable[[str], Member] = field(init=False)
    metrics: dict[str, Metrics] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.members = self.member_of

    def connect(self, name: str) -> Transport:
        assert self.federation is not None
        return self.federation.connect(name)

    def member_of(self, name: str) -> Member:
        if name in self.without_keys:
            return NOBODY
        folder = self.folder / f"trust-{name}"
        folder.mkdir(exist_ok=True)
        return self.signatory.member(name, self.roster, require=BOTH, folder=folder, now=time.time)

    def controller_parts(self) -> Controller:
        parts = super().controller_parts()
        self.metrics[CONTROLLER] = ControllerMetrics(_subject(CONTROLLER, parts.transport))
        return replace(parts, spool=self._spool(CONTROLLER))

    def site_parts(self, name: str) -> Site:
        parts = super().site_parts(name)
        metrics = SiteMetrics(_subject(name, parts.transport), has_turn=lambda: False)
        self.metrics[name] = metrics
        return replace(parts, watcher=into(metrics), spool=self._spool(name))

    @property
    def rosters(self) -> Rosters:
        """The controller's."""
        assert self.member.keys is not None
        return self.member.keys.rosters

    def refused(self) -> Counter[tuple[str, str, str]]:
        """How often each service has refused what, by kind of queue and reason, as it shows."""
        counts: Counter[tuple[str, str, str]] = Counter()
        for name, metrics in self.metrics.items():
            for series, value in shown(metrics.text().decode()).items():
                if series.startswith("tasuki_messages_refused_total") and value:
                    kind, reason = (_label(series, key) for key in ("queue_kind", "reason"))
                    counts[name, kind, reason] += int(value)
        return counts

    async def until_refused(self, count: int, *, but: Iterable[str] = ()) -> None:
        """Returns once so many messages were refused; see `counted`."""
        await until(
            lambda: sum(self.counted(but=but).values()) >= count,
            what=f"{count} are refused",
            within_s=DEADLINE_S,
        )

    def counted(self, *, but: Iterable[str] = ()) -> Counter[tuple[str, str]]:
        """How often each service has refused something from each kind of queue.

        Args:
            but: reasons that do not count, of messages.
        """
        counts: Counter[tuple[str, str]] = Counter()
        for (name, kind, reason), count in self.refused().items():
            if kind == "weights" or reason not in set(but):
                counts[name, kind] += count
        return counts

    async def until_each_refused(
        self, sent: Callable[[], Counter[tuple[str, str]]], *, but: Iterable[str] = ()
    ) -> None:
        """Returns once each was refused, and no other; more may be sent until then."""
        with suppress(TimeoutError):
            await until(lambda: self.counted(but=but) == sent(), what="", within_s=DEADLINE_S)
        assert self.counted(but=but) == sent(), self.refused()

    def _watch(self, update: Update) -> None:
        if isinstance(update.what, MessageDiscarded):
            self.metrics[CONTROLLER].refused(update.what.queue_kind, update.what.reason)
        super()._watch(update)

    def _spool(self, name: str) -> Spool:
        def refused(reason: str, count: int) -> None:
            self.metrics[name].refused("weights", reason, count=count)

        return Spool(self.folder / "spool" / name, refused=refused)


@asynccontextmanager
async def besieged(
    folder: Path,
    broker: Broker,
    vhost: str,
    changes: Mapping[str, object],
    *,
    without_keys: Collection[str] = (),
    trainer: str = "walk:train",
) -> AsyncIterator[tuple[Besieged, Attacker]]:
    """Everybody at work, and he who owns the broker, from before they came.

    Args:
        without_keys: who speaks as everybody did before there were keys.
    """
    broker.provision(vhost, topology(SITES))
    run_file = read(write_run(folder, **changes), RunFile)
    signatory = Signatory(now=time.time())
    it = Besieged(
        folder=folder,
        queues=MemoryFederation(()),
        run_file=run_file,
        sites=SITES,
        federation=BrokerFederation(broker, vhost),
        signatory=signatory,
        roster=signatory.roster(ALL),
        without_keys=without_keys,
        trainer=trainer,
        within_s=DEADLINE_S,
    )
    with Attacker(broker, vhost, SITES) as attacker:
        try:
            await it.start_controller()
            for name in SITES:
                it.start_site(name)
            yield it, attacker
        finally:
            await it.close()


def _subject(name: str, transport: Transport) -> Subject:
    assert isinstance(transport, AmqpTransport)
    return Subject(service=name, counters=transport.counters, is_up=lambda: True)


def _label(series: str, key: str) -> str:
    return series.partition(f'{key}="')[2].partition('"')[0]
