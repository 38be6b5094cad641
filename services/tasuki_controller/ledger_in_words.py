"""A run's ledger as an operator reads it: what each row records, and what that led to.

A row holds an event, and a skip, a pause or an end is no event but what one led to: it is found by
replaying the rows, as the controller itself finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from tasuki.core import run as machine
from tasuki.core.model import EVALUATION, Kind, Origin, Plan, TurnId, WeightsRef
from tasuki.core.report import TurnRefused
from tasuki.core.run import RunState, Status
from tasuki.errors import LedgerBroken
from tasuki.ledger.sqlite import Row
from tasuki_controller import history
from tasuki_controller.documents import LedgerRow, LedgerTurn, MergedWeights
from tasuki_controller.history import Step
from tasuki_controller.turn_now import doing
from tasuki_controller.turn_rows import merged_weights

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
    machine.WaitOver: "the lanes that are done have waited for as long as they may",
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
    newly = () if after is None else history.newly_skipped(before, event, after)
    has_lanes = step.after is not None and step.after.has_lanes
    site = _site(event) or _holder(before, event)
    at = datetime.fromtimestamp(row.at, UTC)
    return LedgerRow(
        seq=row.seq,
        at=at.replace(microsecond=at.microsecond // 1000 * 1000),
        event=type(event).__name__,
        turn=_turn(event, site),
        what=_described(event, site, has_lanes=has_lanes),
        detail=event.detail if isinstance(event, machine.TurnFailed) else "",
        led_to=[] if after is None else list(_led_to(before, event, after, step.effects)),
        merged=None if after is None else _merged(step.effects),
        issued=[] if after is None or not has_lanes else list(_issued(step.effects)),
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
    yield from _skips(history.newly_skipped(before, event, after))
    to_score = [e for e in effects if isinstance(e, machine.IssueTurn) and _evaluates(e)]
    if to_score:
        who = to_score[0].site if len(to_score) == 1 else f"{len(to_score)} sites"
        yield f"{who} asked to score {_short(to_score[0].weights.digest)}"
    for effect in effects:
        yield from filter(None, [_done_about(effect, after)])
    if any(isinstance(effect, machine.KeepLane) for effect in effects):
        yield "each lane goes on from its own weights"
    if after.reason and (before is None or after.reason != before.reason):
        yield after.reason if after.status is Status.RELAYING else f"{after.status}: {after.reason}"


def _done_about(effect: machine.Effect, after: RunState) -> str:
    match effect:
        case machine.CloseEvaluation(evaluation=evaluation):
            return _scored(evaluation)
        case machine.NameBest(round=round):
            return f"round {round + 1} is the best so far"
        case machine.IssueTurn(id=id, site=site) if not _evaluates(effect):
            lane = _lane(id.lane) if after.has_lanes else ""
            return f"{lane}issued to {site}, term {id.term}, attempt {_attempts(after, id)}"
        case machine.MergeWeights(parts=parts):
            return f"to be made one of {len(parts)} lanes: {_parts(parts)}"
        case machine.SaveCheckpoint(round=round, parts=parts):
            return f"checkpoint of round {round + 1}{_not_merged(after, parts)}"
    return ""


def _skips(newly: Sequence[machine.Skip]) -> Iterator[str]:
    """Those of lanes that are late, lane by lane; the others one by one."""
    late: dict[int, list[str]] = {}
    for skip in newly:
        if skip.reason == machine.LATE:
            late.setdefault(skip.lane, []).append(skip.site)
    for lane, sites in late.items():
        yield f"lane {lane + 1} is late, without it {', '.join(sites)} skipped"
    yield from (f"{s.site} skipped: {s.reason}" for s in newly if s.reason != machine.LATE)


def _parts(parts: Iterable[machine.Part]) -> str:
    """Of which lanes' weights, and what each weighs."""
    return ", ".join(
        f"{part.lane + 1} {_short(part.weights.digest)} with {part.samples} samples"
        for part in parts
    )


def _not_merged(state: RunState, parts: Sequence[machine.Part]) -> str:
    """From which lane all go on, where they were not made one; nothing where they were."""
    if not state.has_lanes or len(parts) > 1:
        return ""
    if not parts:
        return ": no lane was trained, all go on from what they had"
    alone = parts[0]
    return f": all go on from lane {_parts([alone])}, no other was trained"


def _merged(effects: Iterable[machine.Effect]) -> MergedWeights | None:
    saved = (e for e in effects if isinstance(e, machine.SaveCheckpoint) and e.parts)
    return next(map(merged_weights, saved), None)


def _issued(effects: Iterable[machine.Effect]) -> Iterator[LedgerTurn]:
    for effect in effects:
        if isinstance(effect, machine.IssueTurn) and not _evaluates(effect):
            yield _ledger_turn(effect.id, effect.site)


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
    return _ledger_turn(id, site)


def _ledger_turn(id: TurnId, site: str | None) -> LedgerTurn:
    return LedgerTurn(lane=id.lane, term=id.term, round=id.round, hop=id.hop, site=site)


def _described(event: object, site: str | None, *, has_lanes: bool) -> str:
    if (id := _id(event)) is not None:
        return f"{_place(id, has_lanes=has_lanes)}: {_of_turn(event, site)}"
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
    return _of_weights(event, has_lanes=has_lanes) or _IN_WORDS.get(
        type(event), type(event).__name__
    ).format(site=site)


def _of_weights(event: object, *, has_lanes: bool) -> str:
    match event:
        case machine.WeightsArrived(weights=weights, lane=lane):
            where = _lane(lane) if has_lanes else ""
            return f"{where}the round's weights are here, {_short(weights.digest)}"
        case machine.WeightsLost(weights=weights, lane=lane):
            where = _lane(lane) if has_lanes and lane < EVALUATION else ""
            return f"{where}weights are lost, {_short(weights.digest)}"
        case machine.WeightsMerged(weights=weights):
            return f"all lanes were made one, {_short(weights.digest)}"
        case machine.MergeFailed(cause=cause):
            return f"the lanes cannot be made one: {cause}"
    return ""


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


def _place(id: TurnId, *, has_lanes: bool) -> str:
    """Which turn, as people count."""
    if id.lane >= EVALUATION:
        return f"evaluation after round {id.round + 1}, term {id.term}"
    lane = _lane(id.lane) if has_lanes or id.lane else ""
    return f"{lane}round {id.round + 1}, turn {id.hop + 1}, term {id.term}"


def _lane(number: int) -> str:
    return f"lane {number + 1}, "


def _short(digest: str) -> str:
    return digest.partition(":")[2][:8]
