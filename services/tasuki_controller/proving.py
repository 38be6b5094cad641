"""Whether a run's rows prove what they say: who decided, who trained what into what, who failed.

Nobody is trusted but the authority that signed the roster. What each row led to is decided again:
a result that counts came from the site whose turn it was, and from the weights before it. The
controller has to have signed each row, and each site what the row says of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from tasuki.core import run as machine
from tasuki.core.model import CONTROLLER, Plan
from tasuki.core.report import MOST_ERROR, TurnAbandoned, TurnRefused, shortened
from tasuki.core.run import RunState, TurnFailed, TurnFinished, TurnReturned
from tasuki.core.trust import Roster
from tasuki.errors import LedgerBroken, MessageError
from tasuki.ledger.sqlite import Row
from tasuki.trust.rosters import is_signed
from tasuki.trust.rows import is_row_signed
from tasuki.wire.messages import decode, signed_in
from tasuki_controller.history import Step, decode_event, step_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """What of a run is proved.

    Attributes:
        newest: its last row here; whether others came after it, nothing can prove.
        state: the run's after it.
        rows: how many there are, each signed by the controller.
        is_removal_signed: not if its weights were removed while the controller did not run.
        records: how many of those that changed something hold a result or scores of a site's.
        reports: how many hold a failure or a turn given back, as its site has signed it.
        unsaid: how many hold one of which only the controller tells.
    """

    newest: Row
    state: RunState | None
    rows: int
    records: int = 0
    reports: int = 0
    unsaid: int = 0
    is_removal_signed: bool = True


def prove(rows: Iterable[Row], roster: Roster) -> Proved:
    """That a run's rows are its controller's and what they tell of sites is theirs.

    Args:
        rows: all of them, as they come.
        roster: as its authority signed it, be it that it has ended since.

    Raises:
        LedgerBroken: naming the first row that is not proved, and why.
    """
    proved: Proved | None = None
    about, step, rest = "", None, iter(rows)
    for row in rest:
        about = about or row.hash
        # Its signature first: what anybody may have written is not even replayed.
        why = _why_not_signed(row, roster)
        if not why:
            step = step_of(row, step)
            why = _why_not(step, about=about, roster=roster)
        if step is None or why:
            raise LedgerBroken(_unproved(row, why, proved, rest))
        proved = _with(proved, step)
    if proved is None:
        raise LedgerBroken("a ledger without rows proves nothing")
    return proved


def _with(proved: Proved | None, step: Step) -> Proved:
    """One row more."""
    if proved is None:
        return Proved(newest=step.row, state=step.after, rows=1)
    proved = replace(proved, newest=step.row, state=step.after, rows=proved.rows + 1)
    if not step.row.signature:
        return replace(proved, is_removal_signed=False)
    if step.outcome:
        return proved
    match step.event:
        case TurnFinished():
            return replace(proved, records=proved.records + 1)
        case TurnFailed(said=said) | TurnReturned(said=said) if said:
            return replace(proved, reports=proved.reports + 1)
        case TurnFailed() | TurnReturned():
            return replace(proved, unsaid=proved.unsaid + 1)
    return proved


def _unproved(row: Row, why: str, proved: Proved | None, rest: Iterator[Row]) -> str:
    """In words: what is not proved, and what is."""
    later = so_far = ""
    if not row.signature:
        signed = _first_signed(rest)
        later = f"; they are signed from row {signed} on" if signed else ", nor any row after it"
    if proved is not None:
        so_far = f"; rows 1 to {proved.newest.seq} and the {proved.records} results in them are"
    return f"row {row.seq} of {row.run} is not proved: {why}{later}{so_far}"


def _first_signed(rows: Iterator[Row]) -> int:
    """The number of the first row that somebody signed; 0: none, as far as they can be read."""
    with suppress(LedgerBroken):
        return next((row.seq for row in rows if row.signature), 0)
    return 0


def _why_not_signed(row: Row, roster: Roster) -> str:
    """Why a row is not the controller's; empty if it is, or need not be."""
    if not row.signature:
        return "" if _removes(row) else "nobody has signed it"
    if not is_row_signed(row.hash, row.signature, roster, row.at) or roster.ends <= row.at:
        return _why_no_key(CONTROLLER, "it", roster, at=row.at)
    return ""


def _removes(row: Row) -> bool:
    """Who removes weights while no controller runs has no key. It says nothing of any site."""
    try:
        return isinstance(decode_event(row), machine.RunRemoved)
    except MessageError:
        return False


def _why_not(step: Step, *, about: str, roster: Roster) -> str:
    """Why what a signed row says is not proved; empty if it is."""
    row, event = step.row, step.event
    if isinstance(event, Plan) and event.run != row.run:
        return f"it is the plan of {event.run}"
    if not _is_decided(step):
        return "what it says that it led to is not what it leads to"
    why_not_said = partial(_why_not_said, about=about, roster=roster, at=row.at)
    match event:
        case TurnFinished(record=record):
            return why_not_said(record.written, by=record.site, what=f"the record of {record.id}")
        case TurnFailed(said=said) | TurnReturned(said=said) if said:
            what = f"the report of {event.id}"
            why = why_not_said(said, by=event.site, what=what)
            return why or ("" if _is_said(event) else f"{what} says something else")
    return ""


def _is_decided(step: Step) -> bool:
    """Whether a row changed something or not just as this event does, at this point of the run."""
    event, effects = step.event, step.effects
    if not isinstance(event, machine.Event):
        return bool(step.outcome) == isinstance(event, TurnRefused)
    if step.outcome and step.before is not None:  # the replay passes over it
        try:
            _, effects = machine.step(step.before, event)
        except machine.IllegalEvent:
            return False
    return bool(step.outcome) == any(isinstance(effect, machine.Drop) for effect in effects)


def _why_not_said(
    written: bytes, *, by: str, about: str, what: str, roster: Roster, at: float
) -> str:
    """Why these bytes are not what this site said in this run; empty if they are."""
    try:
        signed = signed_in(written) if written else None
    except MessageError as exc:
        return f"{what} is {exc}"
    if signed is None:
        return f"{by} has not signed {what}"
    if signed.by != by:
        return f"{what} is signed by {signed.by[:64]!r}, not by {by}"
    if signed.about != about:
        return f"{what} is of another run, be it of the same name"
    if not is_signed(signed, roster, at=at):
        return _why_no_key(by, what, roster, at=at)
    return ""


def _why_no_key(name: str, what: str, roster: Roster, *, at: float) -> str:
    """Why a signature counts for nothing by this roster."""
    if roster.ends <= at:
        return f"roster {roster.number} had ended by then: take a newer one"
    cards = roster.cards_of(name)
    if not cards:
        return f"roster {roster.number} has no card of {name}: take a newer one"
    if not roster.cards_of(name, at=at):
        is_revoked = any(card.revoked is not None and card.revoked <= at for card in cards)
        so = "was revoked by then" if is_revoked else "was not good then"
        return f"the card of {name} {so}, by roster {roster.number}"
    return f"no key of {name} has signed {what}, by roster {roster.number}"


def _is_said(event: TurnFailed | TurnReturned) -> bool:
    """Whether the report that it came from says so. What a refusal means, the controller says."""
    try:
        report: object = decode(event.said, (TurnAbandoned, TurnRefused))
    except MessageError:
        return False
    if not isinstance(report, TurnAbandoned | TurnRefused):
        return False
    if (report.id, report.site) != (event.id, event.site):
        return False
    match event, report:
        case TurnFailed(error=error, detail=detail), TurnAbandoned(returned=False):
            return (error, detail) == (report.error[:MOST_ERROR], shortened(report.detail))
        case (TurnFailed(), TurnRefused()) | (TurnReturned(), TurnAbandoned(returned=True)):
            return True
    return False
