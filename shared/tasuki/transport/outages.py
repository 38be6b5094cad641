"""What a service's log says of its broker: that it is away, now and then that it still is, and for
how long it was.

An outage is everything from the first connection that went down to the last that came back, or one
queue that was waited for: whoever looks at the log in the morning wants to know when and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tasuki.transport.amqp import LinkState, StateChange

REMIND_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the log."""

    event: str
    facts: Mapping[str, object] = field(default_factory=dict)
    is_warning: bool = False


@dataclass(slots=True, kw_only=True)
class _Outage:
    """One that lasts.

    Attributes:
        links: the connections that are part of it, in a queue's case none.
    """

    began: float
    told: float
    tries: int = 0
    links: set[str] = field(default_factory=set)


class Outages:
    """Turns changes of the connections into lines. Times are given, in seconds."""

    def __init__(self) -> None:
        self._outages: dict[str, _Outage] = {}
        self._blocked: dict[str, float] = {}

    def note(self, change: StateChange, *, now: float) -> Iterator[Line]:
        """What there is to say of a change; mostly nothing."""
        match change.state:
            case LinkState.DOWN | LinkState.SILENT | LinkState.REFUSED:
                self._blocked.pop(change.link, None)
                yield from self._lose("", change, now, "the broker is away")
            case LinkState.UP:
                yield from self._find("", change, now, "the broker is back")
            case LinkState.WAITING:
                yield from self._lose(change.what, change, now, "waits for the broker")
            case LinkState.SERVED:
                yield from self._find(change.what, change, now, "need not wait any more")
            case LinkState.BLOCKED:
                self._blocked[change.link] = now
                facts: dict[str, object] = {"reason": change.reason, "node": change.node}
                yield Line(event="the broker takes nothing", facts=facts, is_warning=True)
            case LinkState.UNBLOCKED:
                since = self._blocked.pop(change.link, now)
                lasted = {"blocked_s": _rounded(now - since)}
                yield Line(event="the broker takes messages again", facts=lasted)

    def _lose(self, key: str, change: StateChange, now: float, event: str) -> Iterator[Line]:
        outage = self._outages.get(key)
        facts = _facts(change)
        if outage is None:
            outage = self._outages[key] = _Outage(began=now, told=now)
            yield Line(event=event, facts=facts, is_warning=True)
        elif now - outage.told >= REMIND_S:
            outage.told = now
            facts |= {"away_s": _rounded(now - outage.began), "tries": outage.tries}
            yield Line(event=f"{event}, still", facts=facts, is_warning=True)
        outage.links.add(change.link)
        outage.tries += change.state is not LinkState.SILENT  # DOWN follows

    def _find(self, key: str, change: StateChange, now: float, event: str) -> Iterator[Line]:
        outage = self._outages.get(key)
        facts = _facts(change)
        if outage is None:
            if not key:
                yield Line(event="connected to the broker", facts=facts)
            return
        outage.links.discard(change.link)
        if not outage.links:
            del self._outages[key]
            facts |= {"away_s": _rounded(now - outage.began), "tries": outage.tries}
            yield Line(event=event, facts=facts)


def _facts(change: StateChange) -> dict[str, object]:
    facts = {"link": change.link, "node": change.node, "what": change.what, "reason": change.reason}
    return {key: fact for key, fact in facts.items() if fact}


def _rounded(seconds: float) -> float:
    return round(seconds, 1)
