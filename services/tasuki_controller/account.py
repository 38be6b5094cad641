"""A run's ledger as an operator reads it: what each row records, and what that led to.

A row holds an event, and a skip, a pause or an end is no event but what one led to: it is found by
replaying the rows, as the controller itself finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from tasuki.core import run as machine
from tasuki.core.model import TurnId
from tasuki.core.report import TurnRefused
from tasuki.core.run import RunState, Skip, Status
from tasuki.errors import LedgerBroken
from tasuki.ledger.sqlite import Row
from tasuki_controller import history
from tasuki_controller.course import doing

View = dict[str, Any]  # Any: JSON
_Step = tuple[RunState | None, RunState | None, tuple[machine.Effect, ...]]


def ledger_rows(rows: list[Row]) -> list[View]:
    """Every row in words; `led_to` and `skipped` are empty where nothing followed."""
    found: dict[int, _Step] = {}
    with suppress(LedgerBroken):  # `--verify` is for that; here, what is there is shown
        for before, after, effects, row in _steps(rows):
            found[row.seq] = (before, after, effects)
    return [_ledger_row(row, *found.get(row.seq, (None, None, ()))) for row in rows]


def skips(skipped: Iterable[Skip]) -> list[View]:
    """Turns that a run's policy passed over."""
    return [asdict(skip) for skip in skipped]


def _steps(
    rows: list[Row],
) -> Iterator[tuple[RunState | None, RunState, tuple[machine.Effect, ...], Row]]:
    before: RunState | None = None
    for after, effects, row in history.steps(rows):
        yield before, after, effects, row
        before = after


def _ledger_row(
    row: Row,
    before: RunState | None,
    after: RunState | None,
    effects: tuple[machine.Effect, ...],
) -> View:
    event = history.decode_event(row)
    newly = () if after is None else after.skipped[len(before.skipped) if before else 0 :]
    site = _site(event) or (before.holder if before else None)
    return {
        "seq": row.seq,
        "at": datetime.fromtimestamp(row.at, UTC).isoformat(timespec="milliseconds"),
        "event": type(event).__name__,
        "turn": _turn(event, site),
        "what": _described(event, site),
        "led_to": [] if after is None else list(_led_to(before, after, effects)),
        "skipped": skips(newly),
        "outcome": row.outcome,
        "hash": row.hash,
    }


def _led_to(
    before: RunState | None, after: RunState, effects: tuple[machine.Effect, ...]
) -> Iterator[str]:
    for skip in after.skipped[len(before.skipped) if before else 0 :]:
        yield f"{skip.site} skipped: {skip.reason}"
    for effect in effects:
        if isinstance(effect, machine.IssueTurn):
            yield f"issued to {effect.site}, term {effect.id.term}, attempt {after.attempts}"
        elif isinstance(effect, machine.SaveCheckpoint):
            yield f"checkpoint of round {effect.round + 1}"
    if after.reason and (before is None or after.reason != before.reason):
        yield after.reason if after.status is Status.RELAYING else f"{after.status}: {after.reason}"


def _id(event: object) -> TurnId | None:
    if isinstance(event, machine.TurnFinished):
        return event.record.id
    with_id = machine.TurnFailed | machine.TurnReturned | machine.LeaseExpired | TurnRefused
    return event.id if isinstance(event, with_id) else None


def _site(event: object) -> str | None:
    """Who did it; None: whoever had the turn, or nobody."""
    if isinstance(event, machine.TurnFinished):
        return event.record.site
    by_site = (
        machine.TurnFailed
        | machine.TurnReturned
        | machine.SiteHeard
        | machine.SiteForgot
        | machine.SiteAdded
        | TurnRefused
    )
    return event.site if isinstance(event, by_site) else None


def _turn(event: object, site: str | None) -> View | None:
    """Which turn, for machines."""
    id = _id(event)
    if id is None:
        return None
    where = {"lane": id.lane, "term": id.term, "round": id.round, "hop": id.hop}
    return {**where, "site": site}


def _described(event: object, site: str | None) -> str:
    match event:
        case machine.TurnFinished(record=record):
            return f"{record.id}: {site} {record.received[:15]} -> {record.sent.digest[:15]}"
        case machine.TurnFailed(id=id, error=error):
            return f"{id}: {site} failed with {error}"
        case machine.TurnReturned(id=id):
            return f"{id}: given back by {site}"
        case machine.LeaseExpired(id=id, phase=""):
            return f"{id}: lease of {site} ran out"
        case machine.LeaseExpired(id=id, phase=phase):
            does = doing(str(site), phase) or "its turn was there"
            return f"{id}: lease of {site} ran out: {does}, and stood still"
        case TurnRefused(id=id):
            return f"{id}: refused by {site}"
        case machine.SiteHeard() | machine.SiteForgot() | machine.SiteAdded():
            return f"{type(event).__name__}: {site}"
    return type(event).__name__
