"""What happens to a run, for whoever looks, be it later: the newest of it is kept."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tasuki.core.model import EVALUATION, Kind, TurnId
from tasuki.core.report import TurnProgressed
from tasuki.core.run import RunState, Skip, TurnFailed, TurnFinished
from tasuki_controller.news import Update

MOST_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Printed:
    """A line that a site's own code printed."""

    site: str
    line: str


Item = Update | Printed


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened to a run.

    Attributes:
        what: turn, scores (of a site that evaluated), progress, failed, skipped, printed or status.
        round, turn: of the turn that it is about, counted from 1; None: it is about none.
        lane: the turn's, from 1, where several models circulate; 1 for all that is of none.
        values: a turn's metrics, a site's scores, or what was logged last.
        text: what was printed, why it failed or was skipped, or what the run is now.
    """

    what: str
    site: str = ""
    round: int | None = None
    turn: int | None = None
    lane: int = 1
    values: Mapping[str, float] = field(default_factory=dict)
    text: str = ""


class Feed:
    """Filled by one thread and read by others, each from the oldest that is kept."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: deque[Item] = deque(maxlen=MOST_KEPT)
        self._count = 0
        self._is_over = False

    def put(self, item: Item) -> None:
        with self._changed:
            self._items.append(item)
            self._count += 1
            self._changed.notify_all()

    def end(self) -> None:
        """There will be no more."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def items(self, *, beat_s: float | None = None) -> Iterator[Item | None]:
        """All of it, as it comes, until the end; None: nothing came for `beat_s`."""
        seen = 0
        while (found := self._since(seen, beat_s)) is not None:
            new, seen = found
            yield from new
            if not new:
                yield None

    def _since(self, seen: int, beat_s: float | None) -> tuple[list[Item], int] | None:
        """What came after so many, and how many have come; None: the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._count > seen, beat_s)
            if self._is_over and self._count == seen:
                return None
            missing = min(self._count - seen, len(self._items))
            return list(self._items)[len(self._items) - missing :], self._count


def happenings(items: Iterator[Item | None]) -> Iterator[Happening]:
    """What is told of them."""
    before: RunState | None = None
    for item in items:
        if isinstance(item, Printed):
            yield Happening(what="printed", site=item.site, text=item.line)
        elif item is not None:
            yield from _told(item, before)
            before = item.run or before


def _told(update: Update, before: RunState | None) -> Iterator[Happening]:
    if not update.outcome:
        yield from _event(update.what)
    if (state := update.run) is None:
        return
    for skip in _newly_skipped(state, before):
        yield Happening(
            what="skipped",
            site=skip.site,
            round=skip.round + 1,
            turn=skip.hop + 1,
            lane=skip.lane + 1,
            text=skip.reason,
        )
    if before is None or before.status != state.status:
        yield Happening(what="status", text=f"{state.status}: {state.reason}".rstrip(": "))


def _newly_skipped(state: RunState, before: RunState | None) -> Sequence[Skip]:
    """Of several lanes, one that is late has them in place of others that it had before."""
    if before is None or not state.has_lanes:
        return state.skipped[len(before.skipped) if before else 0 :]
    known = set(before.skipped)
    return [skip for skip in state.skipped if skip not in known]


def _event(what: object) -> Iterator[Happening]:
    match what:
        case TurnFinished(record=record) if record.kind is Kind.EVALUATE:
            yield Happening(what="scores", site=record.site, values=record.metrics)
        case TurnFinished(record=record):
            yield _of_turn("turn", record.id, record.site, values=record.metrics)
        case TurnProgressed(id=id, site=site, values=values) if values:
            yield _of_turn("progress", id, site, values=values)
        case TurnFailed(id=id, site=site, error=error, detail=detail):
            yield _of_turn("failed", id, site, text=f"{error}: {detail}")


def _of_turn(
    what: str, id: TurnId, site: str, *, values: Mapping[str, float] | None = None, text: str = ""
) -> Happening:
    return Happening(
        what=what,
        site=site,
        round=id.round + 1,
        turn=id.hop + 1,
        lane=id.lane + 1 if id.lane < EVALUATION else 1,
        values=values or {},
        text=text,
    )
