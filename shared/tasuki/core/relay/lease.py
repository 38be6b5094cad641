"""The lease of the turn that is out: when it last came on, and when its holder last said anything.

A sign of life renews it by no more than what the turn came on. Times are seconds of one clock,
whichever; here they only come in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tasuki.core.model import TurnId
from tasuki.core.relay.effects import StartLease
from tasuki.core.relay.events import LeaseExpired


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One turn's.

    Attributes:
        moved_at: when the turn last came on.
        heard_at: when its holder last said something of it.
        phase: what it is at, as its holder said; empty: that said nothing yet.
    """

    id: TurnId
    lease_s: float
    moved_at: float
    heard_at: float
    phase: str = ""

    @property
    def ends_at(self) -> float:
        return self.moved_at + self.lease_s


def begun(start: StartLease, *, now: float) -> Lease:
    """A whole lease, from now on."""
    return Lease(id=start.id, lease_s=start.lease_s, moved_at=now, heard_at=now)


def heard(lease: Lease, *, phase: str, still_s: float, now: float) -> Lease:
    """After a sign of life of a turn that has stood still for so long, whatever number that is."""
    still_s = min(max(0.0, still_s), lease.lease_s)
    return replace(lease, moved_at=now - still_s, heard_at=now, phase=phase)


def expired(lease: Lease, *, now: float) -> LeaseExpired:
    """A holder that stood still for longer than it has said nothing is not called silent."""
    stood_s, silent_s = lease.heard_at - lease.moved_at, now - lease.heard_at
    return LeaseExpired(id=lease.id, phase=lease.phase if stood_s > silent_s else "")


def renews(still_s: float, lease_s: float) -> bool:
    """Whether a turn that has stood still for so long has anything left of its lease."""
    return not still_s >= lease_s
