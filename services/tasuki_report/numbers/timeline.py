"""Who had the weights when, and what went wrong, from the rows of a ledger and their times.

A row is written when the controller learns of something. What it learned late, because it was away,
looks as if it had happened when it came back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from heapq import merge

from tasuki.core.model import EVALUATION
from tasuki.core.run import OVER
from tasuki_controller.documents import LedgerRow, LedgerTurn, TurnRow
from tasuki_report.material import Material
from tasuki_report.numbers.curves import by_number


class How(StrEnum):
    """How a site's spell with the weights ended."""

    TRAINED = "trained"
    UNDONE = "undone"  # it trained, and the round had to begin anew
    FAILED = "failed"
    SILENT = "silent"  # or it stood still
    RETURNED = "given back"


_ENDS: Mapping[str, How] = {
    "TurnFinished": How.TRAINED,
    "TurnFailed": How.FAILED,
    "LeaseExpired": How.SILENT,
    "TurnReturned": How.RETURNED,
}
_HANDS_ON = frozenset({"RunSubmitted", "WeightsArrived", "ResumeRequested", "RoundsAdded"})
"""Whoever is next has the weights from then on, or they are on their way there."""

Place = tuple[int, int, int]
"""A turn by round, lane and turn, each from 1."""

_ORDINARY = frozenset(
    {
        *("Plan", "WeightsRef", "RunSubmitted", "TurnFinished", "WeightsArrived", "WeightsMerged"),
        "SiteHeard",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """A site had the weights, or they were on their way to it.

    Attributes:
        since: when they set out to it.
        began: when its training began, as it says of how long that took; None: that is not known.
        until: when it had handed over, or was given up.
    """

    site: str
    round: int
    lane: int
    turn: int
    term: int
    how: How
    since: datetime
    began: datetime | None
    until: datetime

    @property
    def waited_s(self) -> float:
        """Before it trained: on the way, and for its place at the site."""
        return ((self.began or self.since) - self.since).total_seconds()

    @property
    def held_s(self) -> float:
        """From then on."""
        return (self.until - (self.began or self.since)).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A planned turn that was passed over."""

    at: datetime
    site: str
    round: int
    lane: int
    turn: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A site's scores in an evaluation were there, before the run was over."""

    at: datetime
    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All spells in the order in which they ended.

    Attributes:
        happened: rows that tell of more than a turn that went well.
    """

    spells: Sequence[Spell]
    skipped: Sequence[Skipped]
    scored: Sequence[Scored]
    happened: Sequence[LedgerRow]

    @property
    def sites(self) -> list[str]:
        spells, skipped = (
            {each.site for each in self.spells},
            {each.site for each in self.skipped},
        )
        return sorted(spells | skipped, key=by_number)

    @property
    def lanes(self) -> int:
        """How many models were on their way."""
        both: list[Spell | Skipped] = [*self.spells, *self.skipped]
        return max((each.lane for each in both), default=1)

    @property
    def has_lanes(self) -> bool:
        """Whether several models were on their way."""
        return self.lanes > 1

    @property
    def seconds(self) -> Mapping[str, float]:
        """What the time went into, by how spells ended; `waited`: before trainings."""
        found = {"waited": sum(spell.waited_s for spell in self.spells)}
        for spell in self.spells:
            found[spell.how] = found.get(spell.how, 0.0) + spell.held_s
        return found


def timeline_of(material: Material) -> Timeline:
    """Up to the run's end; what happened says more."""
    ended = _ended(material)
    rows = [row for row in material.rows if not row.outcome]
    return Timeline(
        spells=list(_spells(rows, material.turns.turns)),
        skipped=[
            Skipped(
                at=row.at,
                site=skip.site,
                round=skip.round + 1,
                lane=skip.lane + 1,
                turn=skip.hop + 1,
                reason=skip.reason,
            )
            for row in rows
            for skip in row.skipped
        ],
        scored=[
            Scored(at=row.at, site=row.turn.site)
            for row in rows
            if row.event == "TurnFinished" and _is_evaluation(row) and row.turn and row.turn.site
            if ended is None or row.at <= ended
        ],
        happened=[row for row in rows if row.event not in _ORDINARY or row.skipped],
    )


def _ended(material: Material) -> datetime | None:
    """When the run was over; None: it goes on."""
    standing = material.standing
    if standing.status not in OVER:
        return None
    # A thousandth more: that is how much they are rounded.
    return material.submitted.at + timedelta(seconds=standing.wall_s, milliseconds=1)


def _spells(rows: Sequence[LedgerRow], turns: Sequence[TurnRow]) -> Iterator[Spell]:
    """Each lane's in the order of its rows, whatever their clock says."""
    lanes = sorted({row.turn.lane for row in rows if row.turn and not _is_evaluation(row)})
    seconds = {(t.round, t.lane, t.turn): t.seconds for t in turns if not t.skipped}
    standing = set(_newest_ends(rows).values())
    has_lanes = any(row.issued for row in rows)
    found = [_of_lane(rows, lane, seconds, standing, has_lanes=has_lanes) for lane in lanes]
    yield from merge(*found, key=lambda spell: spell.until)


def _of_lane(
    rows: Sequence[LedgerRow],
    lane: int,
    seconds: Mapping[Place, float | None],
    standing: Set[int],
    *,
    has_lanes: bool,
) -> Iterator[Spell]:
    # `idle`: since when nothing else has kept the weights either, an evaluation for one.
    handed = idle = rows[0].at if rows else None
    for row in rows:
        how = _ENDS.get(row.event)
        if _is_evaluation(row):
            idle = row.at
        elif how is not None and row.turn and row.turn.lane != lane:
            pass
        elif how is not None and row.turn and row.turn.site and handed and idle:
            place = _place(row.turn)
            counts = row.seq in standing and place in seconds
            how = How.UNDONE if how is How.TRAINED and not counts else how
            took = seconds[place] if how is How.TRAINED else None
            began = None if took is None else max(handed, row.at - timedelta(seconds=took))
            since = handed if began is None else min(idle, began)
            yield _spell(row, row.turn, how, since=since, began=began)
            handed = idle = row.at
        elif _hands_on(row, lane, has_lanes=has_lanes):
            handed = idle = row.at


def _hands_on(row: LedgerRow, lane: int, *, has_lanes: bool) -> bool:
    """Of several lanes, those whose turn is given out with it."""
    if has_lanes:
        return any(turn.lane == lane for turn in row.issued)
    return row.event in _HANDS_ON


def _spell(
    row: LedgerRow, turn: LedgerTurn, how: How, *, since: datetime, began: datetime | None
) -> Spell:
    number, lane, place = _place(turn)
    return Spell(
        site=turn.site or "",
        round=number,
        lane=lane,
        turn=place,
        term=turn.term,
        how=how,
        # Clocks can be put back.
        since=min(since, row.at),
        began=None if began is None else min(began, row.at),
        until=row.at,
    )


def _is_evaluation(row: LedgerRow) -> bool:
    return row.turn is not None and row.turn.lane >= EVALUATION


def _newest_ends(rows: Sequence[LedgerRow]) -> Mapping[Place, int]:
    """By turn, the row that says that it was trained; the ones before were undone."""
    return {
        _place(row.turn): row.seq
        for row in rows
        if row.event == "TurnFinished" and row.turn is not None and not _is_evaluation(row)
    }


def _place(turn: LedgerTurn) -> Place:
    return turn.round + 1, turn.lane + 1, turn.hop + 1
