"""The lease of the turn that is out: when it last came on, and when its holder last said anything.

A sign of life renews it by no more than what the turn came on. Times are seconds of one clock,
whichever: they come in with what happens, and `Lease.next_at` says when to look again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from tasuki.core.model import TurnId
from tasuki.core.relay.effects import StartLease
from tasuki.core.relay.events import LeaseExpired
from tasuki.core.report import Stage


class Sending(StrEnum):
    """How far the controller has got with giving out a turn."""

    NOT_BEGUN = "not_begun"  # its weights may have to be fetched first
    UNDER_WAY = "under_way"
    DONE = "done"  # or it is a site that hands it on


class Due(StrEnum):
    """What a lease that was looked at calls for."""

    NOTHING = "nothing"
    DOUBT = "doubt"  # half of it went by without a word
    END = "end"  # it seems to have run out: make sure, then ask `run_out`


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One turn's.

    Attributes:
        moved_at: when the turn last came on.
        heard_at: when its holder last said something of it.
        phase: what it is at, as its holder said; empty: that said nothing yet.
        is_doubted: half of it went by without a word.
        is_over: it seems to have run out.
    """

    id: TurnId
    lease_s: float
    moved_at: float
    heard_at: float
    phase: str = ""
    is_doubted: bool = False
    is_over: bool = False

    @property
    def ends_at(self) -> float:
        return self.moved_at + self.lease_s

    @property
    def next_at(self) -> float:
        """When to look at it again; never, if it is over and somebody makes sure of that."""
        if self.is_over:
            return inf
        return self.ends_at if self.is_doubted else min(self._half_at, self.ends_at)

    @property
    def _half_at(self) -> float:
        return self.heard_at + self.lease_s / 2


def begun(start: StartLease, *, now: float) -> Lease:
    """A whole lease, from now on."""
    return Lease(id=start.id, lease_s=start.lease_s, moved_at=now, heard_at=now)


def renewed(lease: Lease, *, now: float) -> Lease:
    """All of it, as if it began now."""
    return begun(StartLease(id=lease.id, lease_s=lease.lease_s), now=now)


def heard(lease: Lease, *, phase: str, still_s: float, now: float) -> Lease:
    """After a sign of life of a turn that has stood still for so long, whatever number that is."""
    still_s = min(max(0.0, still_s), lease.lease_s)
    said = replace(lease, moved_at=now - still_s, heard_at=now, phase=phase)
    return replace(said, is_doubted=False, is_over=False)


def look(
    lease: Lease, *, now: float, hears_since: float | None, sending: Sending
) -> tuple[Lease, Due]:
    """What a lease calls for that was to be looked at by now."""
    if now < lease.next_at:
        return lease, Due.NOTHING
    if now < lease.ends_at:
        due = Due.DOUBT if sending is Sending.DONE else Due.NOTHING
        return replace(lease, is_doubted=True), due
    if _is_excused(lease, now=now, hears_since=hears_since, sending=sending):
        return renewed(lease, now=now), Due.NOTHING
    return replace(lease, is_over=True), Due.END


def run_out(
    lease: Lease, *, now: float, hears_since: float | None, sending: Sending
) -> Lease | LeaseExpired:
    """What becomes of it after somebody made sure: a sign of life or an excuse may have come.

    Of a turn that we send ourselves, nobody else can say how long it has stood still.
    """
    if not lease.is_over:
        return lease
    if _is_excused(lease, now=now, hears_since=hears_since, sending=sending):
        return renewed(lease, now=now)
    if sending is Sending.UNDER_WAY and lease.phase == Stage.GIVEN_OUT:
        lease = replace(lease, heard_at=now)
    return expired(lease, now=now)


def expired(lease: Lease, *, now: float) -> LeaseExpired:
    """A holder that stood still for longer than it has said nothing is not called silent."""
    stood_s, silent_s = lease.heard_at - lease.moved_at, now - lease.heard_at
    return LeaseExpired(id=lease.id, phase=lease.phase if stood_s > silent_s else "")


def renews(still_s: float, lease_s: float) -> bool:
    """Whether a turn that has stood still for so long has anything left of its lease."""
    return not still_s >= lease_s


def _is_excused(lease: Lease, *, now: float, hears_since: float | None, sending: Sending) -> bool:
    """Whether the silence may be ours: we could not have heard, or have not sent the turn yet.

    Args:
        hears_since: from when on holders could be heard; None if they cannot be now.
    """
    is_news = hears_since is None or now - hears_since < lease.lease_s
    return is_news or sending is Sending.NOT_BEGUN
