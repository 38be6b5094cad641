"""Who may stay silent for how long. Timers only: what follows is decided in `core.run`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tasuki.core.model import TurnId
from tasuki.core.run import EndLease, StartLease


class Leases:
    """One lease a run, renewed by any sign of life of its turn.

    Args:
        expire: told that a lease seems to have run out; asks `has_run_out` when it comes to that.
        excused: whether the holder cannot be blamed for its silence now.
    """

    def __init__(
        self, expire: Callable[[StartLease], None], *, excused: Callable[[StartLease], bool]
    ) -> None:
        self._expire = expire
        self._excused = excused
        self._running: dict[str, tuple[StartLease, asyncio.TimerHandle]] = {}
        self._rang: set[str] = set()

    def apply(self, run: str, effect: object) -> None:
        """Start or end a run's lease; any other effect is not for here."""
        if isinstance(effect, StartLease):
            self._start(run, effect)
        elif isinstance(effect, EndLease):
            self._end(run)

    def renew(self, id: TurnId) -> None:
        """Its holder was heard of."""
        lease, _ = self._running.get(id.run, (None, None))
        if lease is not None and lease.id == id:
            self._start(id.run, lease)

    def has_run_out(self, lease: StartLease) -> bool:
        """Ends it if so: a sign of life may have come after it rang, and before this is asked."""
        run = lease.id.run
        running, _ = self._running.get(run, (None, None))
        if run not in self._rang or running != lease:
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
        if self._excused(lease):
            self.renew(lease.id)
        else:
            self._rang.add(lease.id.run)
            self._expire(lease)
