"""What one site consists of, for all the parts of its service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from tasuki.errors import MessageError, TasukiError
from tasuki.moments import UNWATCHED, Moments
from tasuki.ports import Clock, Delivery, Settlement, Transport
from tasuki.trust.member import NOBODY, Member
from tasuki.weights.spool import Spool
from tasuki_site.facts import DeadLettered, Watcher
from tasuki_site.journal import Journal
from tasuki_site.trainer.pool import TrainerPool

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a site is made of.

    Attributes:
        member: signs and seals what the site sends, and checks what it gets.
        capacity: turns that may be under way at a time.
        data: the site's `[data] path`, handed to its trainers.
        watcher: told what happens, for metrics.
        series: its metrics, for the controller.
        stall_s: how long a turn may get no weights before their stream is read anew.
        ends_by: errors of a turn that end the service instead; in a simulation a full disk is full
            for all, and the run is to go on once there is room.
        farewell_s: how long a service that ends waits for what stands still: a hand-over, or its
            last reports.
        blocked_s: for how long, in all, the broker was short of memory or disk and took nothing.
        moments: told how far a turn has come, for tests of what a crash leaves.
    """

    name: str
    transport: Transport
    journal: Journal
    spool: Spool
    trainers: TrainerPool
    clock: Clock
    member: Member = NOBODY
    capacity: int = 1
    data: str | None = None
    device: str | None = None
    idle_beat_s: float | None = 10.0
    stall_s: float = 15.0
    farewell_s: float = 30.0
    blocked_s: Callable[[], float] = lambda: 0.0
    watcher: Watcher = lambda _: None
    series: Callable[[], Mapping[str, float]] = dict
    ends_by: tuple[type[TasukiError], ...] = ()
    moments: Moments = UNWATCHED

    def elapsed(self) -> float:
        """A clock that stands while the broker takes nothing: who waits then is not to blame."""
        return asyncio.get_running_loop().time() - self.blocked_s()

    def bury(self, delivery: Delivery, why: MessageError) -> None:
        """Refuse a message for good: it is no message of ours."""
        queue, sender = delivery.queue, delivery.sender
        log.warning("message refused", site=self.name, queue=queue, sender=sender, reason=str(why))
        self.watcher(DeadLettered(queue=delivery.queue, error=why))
        self.transport.settle(delivery, Settlement.DEAD)
