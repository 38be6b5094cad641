"""What a site's report means: from whom it may come, whether it is news, and what follows.

`judge(runs, report, sender, read) -> Verdict`. The controller's service decodes a report, asks
here, records and acts; it decides nothing. What follows is worked out with the machine itself, so
that a sign of life is judged by the run as it is after the results that came with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tasuki.core.control import FenceRaised
from tasuki.core.model import EVALUATION, MOST, OnSilent, TurnId, TurnRecord
from tasuki.core.order import longest
from tasuki.core.relay import (
    Drop,
    RelayState,
    SiteForgot,
    SiteHeard,
    TurnFailed,
    TurnFinished,
    TurnReturned,
)
from tasuki.core.relay.lease import renews
from tasuki.core.report import (
    MOST_ERROR,
    Report,
    RosterWanted,
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
    shortened,
)
from tasuki.core.run.events import Event
from tasuki.core.run.machine import step
from tasuki.core.run.state import RunState

UNKNOWN_RUN = "unknown_run"
OTHER_STAGE = "other"
"""What a turn is at, of which its site says something that we do not know."""

_VOID = {"stale_term", "run_over", UNKNOWN_RUN}
"""Why a turn that a site holds on to will never be awaited again."""

_NO_NEWS = {"duplicate", "stale_position"}
"""Why sites drop turns every day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A report that is none of ours. `reason`: in a word, to be counted by."""

    reason: str
    detail: str


Read = Callable[[bytes], TurnRecord | Refused]
"""Reads a record as it travels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComesOn:
    """A sign of life of the turn that is out, which has not come on for so long."""

    id: TurnId
    phase: str
    still_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a report means.

    Attributes:
        refused: why it is to be kept apart and looked at by nobody else; None if it is not.
        presence: what it says of its site, by run, and comes before all else.
        note: what goes on its run's record as it is.
        events: what happened to its run.
        ignored: why it changed nothing there; empty if it did.
        comes_on: the lease that it renews.
        void: what its site has to be told once more.
    """

    refused: Refused | None = None
    presence: tuple[tuple[str, Event], ...] = ()
    note: TurnRefused | None = None
    events: tuple[Event, ...] = ()
    ignored: str = ""
    comes_on: ComesOn | None = None
    void: FenceRaised | None = None


def judge(runs: Mapping[str, RunState], report: Report, *, sender: str, read: Read) -> Verdict:
    """What follows from a report of `sender`, for whom the broker vouches."""
    if (refused := _not_its_own(report, sender)) is not None:
        return Verdict(refused=refused)
    presence, changed = _presence(runs, report)
    if isinstance(report, SiteStarted | SiteBeat | SiteMeasured | RosterWanted):
        return Verdict(presence=presence)
    run = turn_of(report).run
    state = changed.get(run, runs.get(run))
    return replace(_judge_turn(state, report, read), presence=presence)


def turn_of(report: TurnReport) -> TurnId:
    """The turn that a report is about."""
    return report.record.id if isinstance(report, TurnDone) else report.id


def stage_said(report: TurnTaken | TurnProgressed) -> str:
    """What a site's turn is at; a word of its own is not repeated to operators."""
    if isinstance(report, TurnTaken):
        return Stage.TAKEN
    is_known = report.phase in set(Stage) - {Stage.GIVEN_OUT}  # that only we can know
    return report.phase if is_known else OTHER_STAGE


def is_worth_recording(event: Event, outcome: str) -> bool:
    """Results that were not accepted stay on record; what merely came twice does not."""
    return isinstance(event, TurnFinished | TurnFailed) and outcome != "duplicate"


TurnReport = TurnTaken | TurnProgressed | TurnDone | RoundDone | TurnAbandoned | TurnRefused


def _not_its_own(report: Report, sender: str) -> Refused | None:
    """A site speaks for itself, and tells of no other's turn as its own."""
    if sender != report.site:
        said = f"{sender or 'somebody'} reports in the name of {report.site}"
        return Refused(reason="wrong_sender", detail=said)
    if isinstance(report, TurnDone) and report.record.site != report.site:
        said = f"{report.site} reports a turn of {report.record.site}"
        return Refused(reason="wrong_site", detail=said)
    return None


# What it says of its site.


def _presence(
    runs: Mapping[str, RunState], report: Report
) -> tuple[tuple[tuple[str, Event], ...], dict[str, RunState]]:
    """Events of every run that counts the site as silent or waits for it, and those runs after."""
    events: list[tuple[str, Event]] = []
    changed: dict[str, RunState] = {}

    def happens(run: str, event: Event) -> None:
        events.append((run, event))
        changed[run], _ = step(changed.get(run, runs[run]), event)

    for run, state in runs.items():
        if is_heard(state, report):
            happens(run, SiteHeard(site=report.site))
            if _is_waited_for_in_vain(state, report):
                happens(run, SiteForgot(site=report.site))
    if isinstance(report, SiteStarted) and report.fresh:
        held = [run for run in runs if _waits_for(changed.get(run, runs[run]), report.site)]
        for run in held:
            happens(run, SiteForgot(site=report.site))
    return tuple(events), changed


def _waits_for(state: RunState, site: str) -> bool:
    """Whether a turn of this site is out, be it to train or to score."""
    return any(relay.holder == site for relay in state.relays)


def is_heard(state: RunState, report: Report) -> bool:
    """Whether a site that counts as silent does so no more, by what it says.

    Any word will do, but of one that its run waits for: that has to say that its turn comes on, or
    that it has none.
    """
    if report.site not in state.silent or isinstance(report, SiteMeasured | RosterWanted):
        return False
    if isinstance(report, SiteStarted | SiteBeat):
        return True
    waits = state.plan.failure.on_silent is OnSilent.WAIT and report.site in state.holders
    held = [lane.relay for lane in state.lanes if lane.relay.holder == report.site]
    # Of a site's turns in several lanes, one that stands still is not moved by another.
    stuck = [relay for relay in held if relay.waits]
    comes_on = any(relay.expected == turn_of(report) for relay in stuck or held)
    if isinstance(report, TurnProgressed):
        comes_on = comes_on and renews(report.still_s, state.plan.failure.lease_s)
    return comes_on or not waits


def _is_waited_for_in_vain(state: RunState, report: Report) -> bool:
    """Whether a holder whose lease ran out says that it is there and has no turn.

    A run that waits for it would do so for ever; others have given the turn out again.
    """
    waits = state.plan.failure.on_silent is OnSilent.WAIT
    return waits and isinstance(report, SiteBeat) and report.site in state.holders


# What it says of a turn.


def _judge_turn(state: RunState | None, report: TurnReport, read: Read) -> Verdict:
    match report:
        case TurnTaken() if report.id.lane >= EVALUATION:
            return _renewed(state, report=report)
        case RoundDone() if report.id.lane >= EVALUATION:
            said = f"{report.site} ends a round with {report.id}, in which it was to score"
            return Verdict(refused=Refused(reason="wrong_kind", detail=said))
        case TurnTaken():
            return _caught_up(state, report, read, then=partial(_renewed, report=report))
        case TurnProgressed():
            return _renewed(state, report=report)
        case TurnDone(record=record):
            return _happened(state, TurnFinished(record=record))
        case RoundDone():
            return _caught_up(state, report, read)
        case TurnAbandoned(id=id, site=site, returned=True):
            # It may be here before the report of the turn that it came from.
            returned = TurnReturned(id=id, site=site)
            if id.lane >= EVALUATION:
                return _happened(state, returned)
            return _caught_up(state, report, read, then=lambda now: _happened(now, returned))
        case TurnAbandoned(id=id, site=site, error=error, detail=detail):
            error, detail = error[:MOST_ERROR], shortened(detail)
            failed = TurnFailed(id=id, site=site, error=error, detail=detail)
            return _happened(state, failed)
    return _refusal(state, report)


def _happened(state: RunState | None, *events: Event) -> Verdict:
    """Each of them, and why the last one changed nothing."""
    if state is None:
        return Verdict(ignored=UNKNOWN_RUN)
    ignored = "duplicate"
    for event in events:
        state, effects = step(state, event)
        ignored = next((effect.reason for effect in effects if isinstance(effect, Drop)), "")
    return Verdict(events=events, ignored=ignored)


def _caught_up(
    state: RunState | None,
    report: TurnTaken | RoundDone | TurnAbandoned,
    read: Read,
    *,
    then: Callable[[RunState | None], Verdict] | None = None,
) -> Verdict:
    """A turn carries its round's results: take in those whose own report has not come yet.

    Args:
        then: what else follows, from the run as it is after them.
    """
    relay = None if state is None else state.relay_of(report.id.lane)
    if state is not None and relay is None:
        return Verdict(ignored="not_awaited")
    known = 0 if relay is None else len(relay.records)
    if relay is not None and (refused := _not_its_turn(relay, report)) is not None:
        return Verdict(refused=refused)
    if state is not None and relay is not None and len(report.history) > _longest(state, relay):
        said = f"{report.site} tells of {len(report.history)} turns of a round that has fewer"
        return Verdict(refused=Refused(reason="wrong_site", detail=said))
    records: list[TurnRecord] = []
    # Each costs a signature to check, and of a run that is none of ours nobody wants to know.
    for found in map(read, () if state is None else report.history[known:]):
        if isinstance(found, Refused):
            return Verdict(refused=found)
        records.append(found)
    if relay is not None and (refused := _not_before(relay, report, records)) is not None:
        return Verdict(refused=refused)
    events = tuple(TurnFinished(record=record) for record in records)
    if then is None:
        return _happened(state, *events)
    if state is None:
        return then(None)
    after = state
    for event in events:
        after, _ = step(after, event)
    verdict = then(after)
    return replace(verdict, events=(*events, *verdict.events))


def _longest(state: RunState, now: RelayState) -> int:
    """How many turns a round of this lane may have had."""
    return max(len(now.itinerary), len(longest(state.plan)))


def _not_its_turn(now: RelayState, report: TurnTaken | RoundDone | TurnAbandoned) -> Refused | None:
    id = report.id
    is_now = (id.term, id.round) == (now.term, now.round)
    if is_now and now.itinerary[id.hop : id.hop + 1] != (report.site,):
        said = f"{report.site} has no turn at hop {id.hop}"
        return Refused(reason="wrong_site", detail=said)
    return None


def _not_before(
    now: RelayState, report: TurnTaken | RoundDone | TurnAbandoned, records: Sequence[TurnRecord]
) -> Refused | None:
    """A site passes on what came before its turn; what is awaited now, from no other turn."""
    fence = (now.term, now.round)
    follows = (report.id.term, report.id.round) == fence
    for record in records:
        id, said = record.id, ""
        if id.lane == report.id.lane and (id.term, id.round) != fence:
            continue
        if id.lane != report.id.lane:
            said = f"{report.site} tells of {id} by a turn of another lane"
        elif not follows or id.hop > report.id.hop:
            said = f"{report.site} tells of {id} by a turn that does not follow it"
        elif now.itinerary[id.hop : id.hop + 1] != (record.site,):
            said = f"{report.site} tells of {id} at {record.site}, whose turn it is not"
        if said:
            return Refused(reason="wrong_site", detail=said)
    return None


def _renewed(state: RunState | None, report: TurnTaken | TurnProgressed) -> Verdict:
    """A sign of life: of the turn that is out, or of one that its site should let go."""
    ignored = _why_not_awaited(state, report)
    if not ignored:
        still_s = report.still_s if isinstance(report, TurnProgressed) else 0.0
        comes_on = ComesOn(id=report.id, phase=stage_said(report), still_s=still_s)
        return Verdict(comes_on=comes_on)
    if ignored not in _VOID:
        return Verdict(ignored=ignored)
    # It missed the fence: a control queue keeps nothing for a site that is away for long. What it
    # says of its term is no reason to void terms that are yet to come: a fence is signed, and can
    # be shown to others.
    id, highest = report.id, MOST if state is None else state.top + 1
    void = FenceRaised(run=id.run, lane=id.lane, term=min(id.term + 1, highest, MOST))
    return Verdict(ignored=ignored, void=void)


def _why_not_awaited(state: RunState | None, report: TurnTaken | TurnProgressed) -> str:
    """Why a sign of life is not that of the turn that is out; "" if it is."""
    if state is None:
        return UNKNOWN_RUN
    relay = state.relay_of(report.id.lane)
    if relay is None or (state.is_over and report.id.lane < EVALUATION):
        return "run_over"  # or its site was not waited for any more when it scored
    if report.id == relay.expected:
        return "" if report.site == relay.holder else "wrong_site"
    if report.id.term < relay.term:
        return "stale_term"
    is_past = (report.id.round, report.id.hop) < (relay.round, relay.hop)
    return "stale_position" if is_past else "not_awaited"


def _refusal(state: RunState | None, report: TurnRefused) -> Verdict:
    """A site dropped a turn: that is on record, and perhaps it will never take it."""
    report = replace(report, reason=report.reason[:MOST_ERROR])
    note = None if state is None or report.reason in _NO_NEWS else report
    failed = _never_taken(state, report)
    verdict = Verdict() if failed is None else _happened(state, failed)
    return replace(verdict, note=note)


def _never_taken(state: RunState | None, report: TurnRefused) -> TurnFailed | None:
    """Whether a site will not take the turn that it is awaited to have, however often it comes."""
    relay = None if state is None else state.relay_of(report.id.lane)
    if relay is None or (report.id, report.site) != (relay.expected, relay.holder):
        return None
    if report.reason not in {"stale_term", "stale_position"}:
        return None
    return TurnFailed(
        id=report.id,
        site=report.site,
        error="RunExists",
        detail="it has had later turns of an earlier run of this name; choose another name",
    )
