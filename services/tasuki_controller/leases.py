"""The leases of the turns that are out, and the one timer for all. `core.relay.lease` decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from tasuki.core.model import Lane, TurnId
from tasuki.core.relay import EndLease, IssueTurn, LeaseExpired, StartLease, lease
from tasuki.core.relay.lease import Due, Lease, Sending
from tasuki.core.report import Stage


class Leases:
    """One lease a lane, renewed by as much as its turn comes on.

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
        self._tell = {Due.END: expire, Due.DOUBT: doubt}
        self._hears_since = hears_since
        self._sending: dict[TurnId, Sending] = {}
        self._leases: dict[Lane, Lease] = {}
        self._out: dict[Lane, tuple[TurnId, float]] = {}  # the turn that is out, and since when
        self._timer: asyncio.TimerHandle | None = None

    def apply(self, run: str, effect: object) -> None:
        """Start or end a lease; a turn to be issued is not at its site before `given_out`."""
        if isinstance(effect, StartLease):
            if self._out.get(effect.id.of_lane, (None, 0.0))[0] != effect.id:
                self._out[effect.id.of_lane] = (effect.id, _now())
            self._hold(lease.begun(effect, now=_now()))
        elif isinstance(effect, EndLease):
            self._out.pop((run, effect.lane), None)
            self._leases.pop((run, effect.lane), None)
            self._set_timer()
        elif isinstance(effect, IssueTurn):
            self._sending[effect.id] = Sending.NOT_BEGUN

    def sent_on(self, id: TurnId) -> None:
        """The controller began to send this turn, or the broker has confirmed more of it."""
        if id in self._sending:
            self._sending[id] = Sending.UNDER_WAY
            self.heard(id, phase=Stage.GIVEN_OUT, still_s=0.0)

    def given_out(self, id: TurnId) -> None:
        """The turn was sent, or will not be."""
        self._sending.pop(id, None)
        if (held := self.of(id)) is not None:
            self._hold(lease.renewed(held, now=_now()))

    def is_given_out(self, id: TurnId) -> bool:
        return id not in self._sending

    def heard(self, id: TurnId, *, phase: str, still_s: float) -> None:
        """Its holder says what it is at, and for how long it has not come on."""
        if (held := self.of(id)) is not None:
            self._hold(lease.heard(held, phase=phase, still_s=still_s, now=_now()))

    def of(self, id: TurnId) -> Lease | None:
        """The lease that runs for this turn."""
        held = self._leases.get(id.of_lane)
        return held if held is not None and held.id == id else None

    def held_s(self, id: TurnId) -> float:
        """How long this turn has been out, however often its lease was renewed."""
        out, since = self._out.get(id.of_lane, (None, 0.0))
        return _now() - since if out == id else 0.0

    def run_out(self, id: TurnId) -> LeaseExpired | None:
        """Ends it and says how, if so: a sign of life or an excuse may have come after it rang."""
        if (held := self.of(id)) is None:
            return None
        now, sending = _now(), self._how_far(id)
        after = lease.run_out(held, now=now, hears_since=self._hears_since(), sending=sending)
        if isinstance(after, Lease):
            self._hold(after)
            return None
        del self._leases[id.of_lane]
        self._set_timer()
        return after

    def left_s(self, run: str, lane: int = 0) -> float | None:
        """Until the lease of this lane runs out; None if there is none now."""
        held = self._leases.get((run, lane))
        return None if held is None else max(0.0, held.ends_at - _now())

    def close(self) -> None:
        self._leases.clear()
        self._set_timer()

    def _how_far(self, id: TurnId) -> Sending:
        return self._sending.get(id, Sending.DONE)

    def _hold(self, held: Lease) -> None:
        self._leases[held.id.of_lane] = held
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        next_at = min((held.next_at for held in self._leases.values()), default=inf)
        loop = asyncio.get_running_loop()
        self._timer = None if next_at == inf else loop.call_at(next_at, self._look)

    def _look(self) -> None:
        hears_since = self._hears_since()
        for held in list(self._leases.values()):
            after, due = lease.look(
                held, now=_now(), hears_since=hears_since, sending=self._how_far(held.id)
            )
            self._leases[held.id.of_lane] = after
            if due in self._tell:
                self._tell[due](held.id)
        self._set_timer()


def _now() -> float:
    return asyncio.get_running_loop().time()
