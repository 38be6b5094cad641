"""Whose turn may stand still for how long. Timers only: what follows is decided in `core.run`.

No lease runs out of a turn whose sending has not begun, or whose holder we could not have heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tasuki.core.model import TurnId
from tasuki.core.relay import EndLease, IssueTurn, Lease, LeaseExpired, StartLease, lease
from tasuki.core.report import Stage


@dataclass(slots=True, eq=False)
class _Running:
    """A lease and its timers: for its end, and for when half of it has gone by without a word."""

    lease: Lease
    bell: asyncio.TimerHandle
    doubt: asyncio.TimerHandle | None

    def stop(self) -> None:
        self.bell.cancel()
        if self.doubt is not None:
            self.doubt.cancel()


class Leases:
    """One lease a run, renewed by as much as its turn comes on.

    Args:
        expire: told that a lease seems to have run out; asks `run_out` when it comes to that.
        doubt: told that for half a lease nothing was heard of a turn.
        hears_since: the event loop's time from which holders could be heard; None if they cannot.
    """

    def __init__(
        self,
        expire: Callable[[TurnId], object],
        *,
        doubt: Callable[[TurnId], object] = lambda _: None,
        hears_since: Callable[[], float | None] = lambda: 0.0,
    ) -> None:
        self._expire = expire
        self._doubt = doubt
        self._hears_since = hears_since
        self._giving_out: set[TurnId] = set()
        self._sending: set[TurnId] = set()
        self._running: dict[str, _Running] = {}
        self._rang: set[str] = set()
        self._out: dict[str, tuple[TurnId, float]] = {}  # the turn that is out, and since when

    def apply(self, run: str, effect: object) -> None:
        """Start or end a run's lease; a turn to be issued is not at its site before `given_out`."""
        if isinstance(effect, StartLease):
            if self._out.get(run, (None, 0.0))[0] != effect.id:
                self._out[run] = (effect.id, _now())
            self._start(lease.begun(effect, now=_now()))
        elif isinstance(effect, EndLease):
            self._out.pop(run, None)
            self._end(run)
        elif isinstance(effect, IssueTurn):
            self._giving_out.add(effect.id)

    def sent_on(self, id: TurnId) -> None:
        """The controller began to send this turn, or the broker has confirmed more of it."""
        if id in self._giving_out:
            self._sending.add(id)
            self.heard(id, phase=Stage.GIVEN_OUT, still_s=0.0)

    def given_out(self, id: TurnId) -> None:
        """The turn was sent, or will not be."""
        self._giving_out.discard(id)
        self._sending.discard(id)
        if (running := self.of(id)) is not None:
            self._renew(running)

    def is_given_out(self, id: TurnId) -> bool:
        return id not in self._giving_out

    def heard(self, id: TurnId, *, phase: str, still_s: float) -> None:
        """Its holder says what it is at, and for how long it has not come on."""
        if (running := self.of(id)) is not None:
            self._start(lease.heard(running, phase=phase, still_s=still_s, now=_now()))

    def of(self, id: TurnId) -> Lease | None:
        """The lease that runs for this turn."""
        running = self._running.get(id.run)
        return running.lease if running is not None and running.lease.id == id else None

    def held_s(self, id: TurnId) -> float:
        """How long this turn has been out, however often its lease was renewed."""
        out, since = self._out.get(id.run, (None, 0.0))
        return _now() - since if out == id else 0.0

    def run_out(self, id: TurnId) -> LeaseExpired | None:
        """Ends it and says how, if so: a sign of life or an excuse may have come after it rang."""
        running = self.of(id)
        if running is None or id.run not in self._rang:
            return None
        if self._is_excused(id, running.lease_s):
            self._renew(running)
            return None
        self._end(id.run)
        return lease.expired(self._as_it_is(running), now=_now())

    def left_s(self, run: str) -> float | None:
        """Until the run's lease runs out; None if it has none now."""
        running = self._running.get(run)
        return None if running is None else max(0.0, running.lease.ends_at - _now())

    def close(self) -> None:
        for run in list(self._running):
            self._end(run)

    def _renew(self, running: Lease) -> None:
        """All of it, as if it began now."""
        start = StartLease(id=running.id, lease_s=running.lease_s)
        self._start(lease.begun(start, now=_now()))

    def _start(self, new: Lease) -> None:
        self._end(new.id.run)
        later = asyncio.get_running_loop().call_at
        half = new.heard_at + new.lease_s / 2
        self._running[new.id.run] = _Running(
            lease=new,
            bell=later(new.ends_at, self._ring, new),
            doubt=later(half, self._wonder, new.id) if half < new.ends_at else None,
        )

    def _end(self, run: str) -> None:
        self._rang.discard(run)
        if (running := self._running.pop(run, None)) is not None:
            running.stop()

    def _wonder(self, id: TurnId) -> None:
        if id not in self._giving_out:
            self._doubt(id)

    def _ring(self, ended: Lease) -> None:
        if self._is_excused(ended.id, ended.lease_s):
            self._renew(ended)
        else:
            self._rang.add(ended.id.run)
            self._expire(ended.id)

    def _is_excused(self, id: TurnId, lease_s: float) -> bool:
        since = self._hears_since()
        is_news = since is None or _now() - since < lease_s
        return is_news or id in self._giving_out - self._sending

    def _as_it_is(self, running: Lease) -> Lease:
        """Of a turn that we send ourselves, nobody else can say how long it has stood still."""
        if running.id not in self._sending or running.phase != Stage.GIVEN_OUT:
            return running
        now = _now()
        still_s = now - running.moved_at
        return lease.heard(running, phase=Stage.GIVEN_OUT, still_s=still_s, now=now)


def _now() -> float:
    return asyncio.get_running_loop().time()
