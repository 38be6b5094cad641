"""What the broker owes on one connection, and whether it still comes on.

Nothing in AMQP says that an answer will never come: the leader of a stream may be on a node that
died while our own connection is to a living one, and stays up. So each wait has a limit. It runs
only while nothing moves: a slow network that still carries bytes is no silent broker.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_AHEAD = 128 * 2**20
"""Bytes that may come before an answer: all that a reader can have been sent before it asked."""

_LOOKS = 4  # within a limit, so that what moves is seen moving
_HEARTBEATS = 4096  # bytes that arrive between two looks and mean nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How much a connection has moved.

    Attributes:
        given: bytes that it was given to send.
        left: those of them that have left this machine.
        arrived: bytes that it has received.
    """

    given: int = 0
    left: int = 0
    arrived: int = 0


@dataclass(slots=True, kw_only=True)
class _Debt:
    what: str
    limit_s: float
    since: float
    asked: Flow


class Answers:
    """The answers that are due. Time and flow are given, so that nothing here reads a clock."""

    def __init__(self, *, limit_s: float) -> None:
        self._limit_s = limit_s
        self._due: dict[object, _Debt] = {}
        self._seen = Flow()

    @property
    def are_due(self) -> bool:
        return bool(self._due)

    def expect(self, key: object, what: str, *, now: float, flow: Flow, times: float = 1) -> None:
        """From now on one is due; in place of whatever this key waited for.

        Args:
            times: how many limits long it may take.
        """
        if not self._due:
            self._seen = flow
        limit_s = self._limit_s * times
        self._due[key] = _Debt(what=what, limit_s=limit_s, since=now, asked=flow)

    def came(self, key: object) -> None:
        """It came, or is not waited for any more. Harmless if it was not due."""
        self._due.pop(key, None)

    def excuse(self, *, now: float) -> None:
        """Whatever is due: its time begins again."""
        for debt in self._due.values():
            debt.since = now

    def look_in_s(self, *, now: float) -> float:
        """When to ask what is overdue: several times within a limit, and when that is reached."""
        left = min(debt.since + debt.limit_s - now for debt in self._due.values())
        return min(max(left, 0.0), self._limit_s / _LOOKS)

    def overdue(self, *, now: float, flow: Flow) -> str | None:
        """What is due for too long, if anything is."""
        before, self._seen = self._seen, flow
        for debt in self._due.values():
            if _comes_on(debt, before, flow):
                debt.since = now
        late = [debt for debt in self._due.values() if now - debt.since >= debt.limit_s]
        if not late:
            return None
        worst = min(late, key=lambda debt: debt.since)
        return f"{worst.what} for {now - worst.since:.0f} s"


def _comes_on(debt: _Debt, before: Flow, now: Flow) -> bool:
    """Whether the question is still leaving, or what comes before the answer still arrives."""
    is_leaving = before.left < debt.asked.given and now.left > before.left
    ahead = now.arrived - debt.asked.arrived
    is_arriving = now.arrived - before.arrived > _HEARTBEATS and ahead < MOST_AHEAD
    return is_leaving or is_arriving
