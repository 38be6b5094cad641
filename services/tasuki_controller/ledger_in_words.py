"""A run's ledger as an operator reads it: what each row records, and what that led to.

A row holds an event, and a skip, a pause or an end is no event but what one led to: it is found by
replaying the rows, as the controller itself finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from tasuki.core import run as machine
from tasuki.core.model import EVALUATION, Kind, Origin, Plan, TurnId, WeightsRef
from tasuki.core.report import TurnRefused
from tasuki.core.run import RunState, Status
from tasuki.errors import LedgerBroken
from tasuki.ledger.sqlite import Row
from tasuki_controller import history
from tasuki_controller.documents import LedgerRow, LedgerTurn
from tasuki_controller.history import Step
from tasuki_controller.turn_now import doing

_IN_WORDS: Mapping[type, str] = {
    machine.RunSubmitted: "the run began",
    machine.SiteHeard: "{site} was heard of again",
    machine.SiteForgot: "{site} came back without its journal",
    machine.SiteAdded: "an operator added {site}",
    machine.RelayLost: "the queues were empty",
    machine.PauseRequested: "an operator asked for a pause",
    machine.ResumeRequested: "an operator asked to go on",
    machine.StopRequested: "an operator asked to end it",
    machine.TimeUp: "its time is over",
    machine.RunRemoved: "an operator removed it with its weights",
}


def ledger_rows(rows: list[Row]) -> list[LedgerRow]:
    """Every row in words; `led_to` and `skipped` are empty where nothing followed."""
    steps: list[Step] = []
    with suppress(LedgerBroken):  # `--verify` is for that; here, what is there is shown
        steps.extend(history.steps(rows))
    return [*replayed_rows(steps), *replayed_rows(map(_of_unknown_state, rows[len(steps) :]))]


def replayed_rows(steps: Iterable[Step]) -> list[LedgerRow]:
    """As `ledger_rows`, of rows that were replayed."""
    return list(map(_ledger_row, steps))


def _of_unknown_state(row: Row) -> Step:
    return Step(row=row, event=history.decode_event(row), before=None, after=None)


def _ledger_row(step: Step) -> LedgerRow:
    row, event = step.row, step.event
    # One that changed nothing says no more than what it records.
    before, after = (None, None) if row.outcome else (step.before, step.after)
    newly = () if after is None else after.skipped[len(before.skipped) if before else 0 :]
    site = _site(event) or _holder(before, event)
    at = datetime.fromtimestamp(row.at, UTC)
    return LedgerRow(
        seq=row.seq,
        at=at.replace(microsecond=at.microsecond // 1000 * 1000),
        event=type(event).__name__,
        turn=_turn(event, site),
        what=_described(event, site),
        detail=event.detail if isinstance(event, machine.TurnFailed) else "",
        led_to=[] if after is None else list(_led_to(before, event, after, step.effects)),
        skipped=list(newly),
        outcome=row.outcome,
        hash=row.hash,
    )


def _led_to(
    before: RunState | None,
    event: object,
    after: RunState,
    effects: tuple[machine.Effect, ...],
) -> Iterator[str]:
    if before is not None and isinstance(event, machine.TurnFailed):
        yield from filter(None, [_given_up(before, event, after)])
    for skip in after.skipped[len(before.skipped) if before else 0 :]:
        yield f"{skip.site} skipped: {skip.reason}"
    to_score = [e for e in effects if isinstance(e, machine.IssueTurn) and _evaluates(e)]
    if to_score:
        who = to_score[0].site if len(to_score) == 1 else f"{len(to_score)} sites"
        yield f"{who} asked to score {_short(to_score[0].weights.digest)}"
    for effect in effects:
        if isinstance(effect, machine.CloseEvaluation):
            yield _scored(effect.evaluation)
        elif isinstance(effect, machine.NameBest):
            yield f"round {effect.round + 1} is the best so far"
        elif isinstance(effect, machine.IssueTurn) and not _evaluates(effect):
            attempt = _attempts(after, effect.id)
            yield f"issued to {effect.site}, term {effect.id.term}, attempt {attempt}"
        elif isinstance(effect, machine.SaveCheckpoint):
            yield f"checkpoint of round {effect.round + 1}"
    if after.reason and (before is None or after.reason != before.reason):
        yield after.reason if after.status is Status.RELAYING else f"{after.status}: {after.reason}"


def _attempts(state: RunState, id: TurnId) -> int:
    relay = state.relay_of(id.lane)
    return 0 if relay is None else relay.attempts


def _evaluates(issued: machine.IssueTurn) -> bool:
    return issued.kind is Kind.EVALUATE


def _scored(evaluation: machine.Evaluation) -> str:
    """How many have scored, and why the others have not."""
    said = f"{len(evaluation.scores)} of {len(evaluation.sites)} sites have scored"
    without = ", ".join(f"{each.site} {each.reason}" for each in evaluation.left_out)
    return f"{said}; without {without}" if without else said


def _given_up(before: RunState, event: machine.TurnFailed, after: RunState) -> str:
    """Why the attempts ended early, unless the run's own reason says so."""
    return "" if after.status is Status.FAILED else _why_not_again(before, event)


def _why_not_again(state: RunState, event: machine.TurnFailed) -> str:
    relay = state.relay_of(event.id.lane)
    return "" if relay is None else machine.why_not_again(relay, event)


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


def _holder(before: RunState | None, event: object) -> str | None:
    """Who had the turn that it is about; who trains, if it is about none."""
    if before is None:
        return None
    id = _id(event)
    relay = before.relay_of(id.lane if id else 0)
    return None if relay is None else relay.holder


def _turn(event: object, site: str | None) -> LedgerTurn | None:
    """Which turn, for machines."""
    if (id := _id(event)) is None:
        return None
    return LedgerTurn(lane=id.lane, term=id.term, round=id.round, hop=id.hop, site=site)


def _described(event: object, site: str | None) -> str:
    if (id := _id(event)) is not None:
        return f"{_place(id)}: {_of_turn(event, site)}"
    match event:
        case Plan(origin=None):
            return "the run as it was submitted"
        case Plan(origin=Origin(run=run, round=round, digest=digest)):
            return f"the run as it was submitted, from round {round} of {run}, {_short(digest)}"
        case machine.EvaluationRequested(weights=weights):
            return f"an operator asked all sites to score {_short(weights.digest)}"
        case machine.RoundsAdded(rounds=rounds):
            return f"an operator asked for {rounds} rounds in all"
        case WeightsRef(digest=digest):
            return f"the first weights, {_short(digest)}"
        case machine.WeightsArrived(weights=weights):
            return f"the round's weights are here, {_short(weights.digest)}"
        case machine.WeightsLost(weights=weights):
            return f"weights are lost, {_short(weights.digest)}"
    return _IN_WORDS.get(type(event), type(event).__name__).format(site=site)


def _of_turn(event: object, site: str | None) -> str:
    match event:
        case machine.TurnFinished(record=record) if record.kind is Kind.EVALUATE:
            return f"{site} scored {_short(record.received)}"
        case machine.TurnFinished(record=record):
            said = f"{site} trained {_short(record.received)} -> {_short(record.sent.digest)}"
            return f"{said}, unchanged" if record.is_unchanged else said
        case machine.TurnFailed(error=error):
            return f"{site} failed with {error}"
        case machine.TurnReturned():
            return f"given back by {site}"
        case machine.LeaseExpired(phase=""):
            return f"{site} was silent for too long"
        case machine.LeaseExpired(phase=phase):
            does = doing(str(site), phase) or "its turn was there"
            return f"{does}, and stood still for too long"
    return f"not taken by {site}"


def _place(id: TurnId) -> str:
    """Which turn, as people count."""
    if id.lane >= EVALUATION:
        return f"evaluation after round {id.round + 1}, term {id.term}"
    lane = f"lane {id.lane + 1}, " if id.lane else ""
    return f"{lane}round {id.round + 1}, turn {id.hop + 1}, term {id.term}"


def _short(digest: str) -> str:
    return digest.partition(":")[2][:8]
