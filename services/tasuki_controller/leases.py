"""Who may stay silent for how long. Timers only: what follows is decided in `core.run`.

Nobody is silent who was not given the turn yet, or whom we could not have heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tasuki.core.model import TurnId
from tasuki.core.run import EndLease, IssueTurn, StartLease


class Leases:
    """One lease a run, renewed by any sign of life of its turn.

    Args:
        expire: told that a lease seems to have run out; asks `has_run_out` when it comes to that.
        hears_since: the event loop's time from which holders could be heard; None if they cannot.
    """

    def __init__(
        self,
        expire: Callable[[StartLease], None],
        *,
        hears_since: Callable[[], float | None] = lambda: 0.0,
    ) -> None:
        self._expire = expire
        self._hears_since = hears_since
        self._giving_out: set[TurnId] = set()
        self._running: dict[str, tuple[StartLease, asyncio.TimerHandle]] = {}
        self._rang: set[str] = set()

    def apply(self, run: str, effect: object) -> None:
        """Start or end a run's lease; a turn to be issued is not at its site before `given_out`."""
        if isinstance(effect, StartLease):
            self._start(run, effect)
        elif isinstance(effect, EndLease):
            self._end(run)
        elif isinstance(effect, IssueTurn):
            self._giving_out.add(effect.id)

    def given_out(self, id: TurnId) -> None:
        """The turn was sent, or will not be."""
        self._giving_out.discard(id)
        self.renew(id)

    def is_given_out(self, id: TurnId) -> bool:
        return id not in self._giving_out

    def renew(self, id: TurnId) -> None:
        """Its holder was heard of."""
        lease, _ = self._running.get(id.run, (None, None))
        if lease is not None and lease.id == id:
            self._start(id.run, lease)

    def has_run_out(self, lease: StartLease) -> bool:
        """Ends it if so: a sign of life or an excuse may have come after it rang."""
        run = lease.id.run
        running, _ = self._running.get(run, (None, None))
        if run not in self._rang or running != lease:
            return False
        if self._is_excused(lease):
            self.renew(lease.id)
            return False
        self._end(run)
        return True

    def left_s(self, run: str) -> float | None:
        """Until the run's lease runs out; None if it has none now."""
        _, timer = self._running.get(run, (None, None))
        if timer is None:
            return None
        return max(0.0, timer.when() - asyncio.get_running_loop().time())

    def close(self) -> None:
        for run in list(self._running):
            self._end(run)

    def _start(self, run: str, lease: StartLease) -> None:
        self._end(run)
        timer = asyncio.get_running_loop().call_later(lease.lease_s, self._ring, lease)
        self._running[run] = (lease, timer)

    def _end(self, run: str) -> None:
        self._rang.discard(run)
        _, timer = self._running.pop(run, (None, None))
        if timer is not None:
            timer.cancel()

    def _ring(self, lease: StartLease) -> None:
        if self._is_excused(lease):
            self.renew(lease.id)
        else:
            self._rang.add(lease.id.run)
            self._expire(lease)

    def _is_excused(self, lease: StartLease) -> bool:
        since = self._hears_since()
        is_news = since is None or asyncio.get_running_loop().time() - since < lease.lease_s
        return is_news or lease.id in self._giving_out
