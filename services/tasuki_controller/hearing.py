"""What a site's report is worth: from whom it may come, and whether it is news."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from tasuki.core import run as machine
from tasuki.core.model import MOST, OnSilent, TurnId, TurnRecord
from tasuki.core.relay.lease import renews
from tasuki.core.report import (
    Report,
    RoundDone,
    SiteBeat,
    SiteMeasured,
    SiteStarted,
    Stage,
    TurnAbandoned,
    TurnDone,
    TurnProgressed,
    TurnRefused,
    TurnTaken,
)
from tasuki.core.run import RunState
from tasuki.errors import MessageError, RunExists

REPORTS: tuple[type, ...] = get_args(Report)
MOST_REFUSALS = 256
"""Refused turns and results that go on a run's record: a flood of them must not fill the ledger."""

VOID = {"stale_term", "run_over", "unknown_run"}
"""Why a turn that a site holds on to will never be awaited again."""


OTHER_STAGE = "other"
"""What a turn is at, of which its site says something that we do not know."""


def voids(id: TurnId) -> int:
    """The lowest term that a fence can have to void this turn."""
    return min(id.term + 1, MOST)


def check_sender(report: Report, sender: str) -> None:
    """A site speaks for itself; the broker vouches for who it is.

    Raises:
        MessageError: someone else does, or it tells of another site's turn as its own.
    """
    if sender != report.site:
        raise MessageError(
            f"{sender or 'somebody'} reports in the name of {report.site}", reason="wrong_sender"
        )
    if isinstance(report, TurnDone) and report.record.site != report.site:
        raise MessageError(
            f"{report.site} reports a turn of {report.record.site}", reason="wrong_site"
        )


def check_precede(
    records: Iterable[TurnRecord], report: TurnTaken | RoundDone, *, now: RunState
) -> None:
    """A site passes on what came before its turn; what is awaited now, from no other turn.

    Raises:
        MessageError: it tells of turns that its own does not follow.
    """
    fence = (now.term, now.round)
    follows = (report.id.term, report.id.round) == fence
    for record in records:
        id = record.id
        if (id.term, id.round) != fence:
            continue
        if not follows or id.hop > report.id.hop:
            raise MessageError(
                f"{report.site} tells of {id} by a turn that does not follow it",
                reason="wrong_site",
            )
        if now.itinerary[id.hop : id.hop + 1] != (record.site,):
            raise MessageError(
                f"{report.site} tells of {id} at {record.site}, whose turn it is not",
                reason="wrong_site",
            )


def why_not_awaited(state: RunState | None, report: TurnTaken | TurnProgressed) -> str:
    """Why a sign of life is not that of the turn that is out; "" if it is."""
    if state is None:
        return "unknown_run"
    if state.status in machine.OVER:
        return "run_over"
    if report.id == state.expected:
        return "" if report.site == state.holder else "wrong_site"
    if report.id.term < state.term:
        return "stale_term"
    is_past = (report.id.round, report.id.hop) < (state.round, state.hop)
    return "stale_position" if is_past else "not_awaited"


def stage_said(report: TurnTaken | TurnProgressed) -> str:
    """What a site's turn is at; a word of its own is not repeated to operators."""
    if isinstance(report, TurnTaken):
        return Stage.TAKEN
    is_known = report.phase in set(Stage) - {Stage.GIVEN_OUT}  # that only we can know
    return report.phase if is_known else OTHER_STAGE


def is_heard(state: RunState, report: Report) -> bool:
    """Whether a site that counts as silent does so no more, by what it says.

    Any word will do, but of one that its run waits for: that has to say that its turn comes on, or
    that it has none.
    """
    if report.site not in state.silent or isinstance(report, SiteMeasured):
        return False
    waits = state.plan.failure.on_silent is OnSilent.WAIT and report.site == state.holder
    match report:
        case SiteStarted() | SiteBeat():
            return True
        case TurnProgressed(id=id, still_s=still_s):
            comes_on = id == state.expected and renews(still_s, state.plan.failure.lease_s)
            return comes_on or not waits
        case TurnDone(record=TurnRecord(id=id)):
            return id == state.expected or not waits
        case TurnTaken(id=id) | RoundDone(id=id) | TurnAbandoned(id=id) | TurnRefused(id=id):
            return id == state.expected or not waits


def is_worth_recording(event: machine.Event, outcome: str) -> bool:
    """Results that were not accepted stay on record; what merely came twice does not."""
    is_result = isinstance(event, machine.TurnFinished | machine.TurnFailed)
    return is_result and outcome != "duplicate"


def is_waited_for_in_vain(state: RunState, report: Report) -> bool:
    """Whether a holder whose lease ran out says that it is there and has no turn.

    A run that waits for it would do so for ever; others have given the turn out again.
    """
    waits = state.plan.failure.on_silent is OnSilent.WAIT
    return waits and isinstance(report, SiteBeat) and report.site == state.holder


def why_never_taken(state: RunState | None, report: TurnRefused) -> machine.TurnFailed | None:
    """Whether a site will not take the turn that it is awaited to have, however often it comes."""
    if state is None or (report.id, report.site) != (state.expected, state.holder):
        return None
    if report.reason not in {"stale_term", "stale_position"}:
        return None
    return machine.TurnFailed(
        id=report.id,
        site=report.site,
        error=RunExists.__name__,
        detail="it has had later turns of an earlier run of this name; choose another name",
    )
