"""When sites are asked to score, what comes of it for their run, and what is scored next.

One evaluation at a time, others wait: that of a round before those that operators ask for. None of
this ends a run, nor holds up its relay; what follows from it, the machine decides.
"""

from __future__ import annotations

from dataclasses import replace

from tasuki.core.model import OnSilent, WeightsRef
from tasuki.core.relay import Drop, GiveUpRelay, GiveUpTurn, LeaseExpired, TurnFinished
from tasuki.core.relay import Effect as RelayEffect
from tasuki.core.run import evaluation as machine
from tasuki.core.run.effects import CloseEvaluation, Effect
from tasuki.core.run.evaluation import Asked, Evaluation
from tasuki.core.run.events import EvaluationRequested
from tasuki.core.run.judging import best_named, judged_by_sites
from tasuki.core.run.state import RunState, Status

Step = tuple[RunState, tuple[Effect, ...]]


def ask(state: RunState, event: EvaluationRequested) -> Step:
    """For an operator: at once, beside whatever the run does, or after others."""
    if state.removed:
        return state, (Drop(reason="removed_already"),)
    if state.status is Status.SUBMITTED:
        return state, (Drop(reason="not_begun"),)
    asked = _asked(state, event.weights, event.after, event.split)
    return _next(replace(state, evaluations=asked.number, asked=(*state.asked, asked)))


def ask_for_round(state: RunState, done: int) -> Step:
    """What so many rounds have made is scored before anything else."""
    split = state.plan.evaluate.split if state.plan.evaluate else ""
    asked = replace(_asked(state, state.weights, done, split), is_planned=True)
    return _next(
        replace(
            state,
            status=Status.EVALUATING,
            unattended=False,
            evaluations=asked.number,
            asked=(asked, *state.asked),
        )
    )


def evaluate(state: RunState, event: machine.Event) -> Step:
    """Something happened to a site that is to score."""
    if state.evaluation is None:
        return state, (Drop(reason=_why_late(state, event)),)
    evaluation, effects = machine.step(state.evaluation, event)
    drops = [effect for effect in effects if isinstance(effect, Drop)]
    if drops and evaluation == state.evaluation:
        return state, (drops[0],)
    if isinstance(event, LeaseExpired) and not event.phase and _is_silence(state, event):
        gone = set(state.evaluation.relays) - set(evaluation.relays)
        state = replace(state, silent=state.silent | gone)
    return _with(state, evaluation, effects)


def _why_late(state: RunState, event: machine.Event) -> str:
    """A site that starts again says once more what it has scored."""
    is_known = isinstance(event, TurnFinished) and event.record.id.term <= state.lane_term
    return "duplicate" if is_known else "not_awaited"


def call_off(state: RunState) -> Step:
    """Nobody is to score anything any more."""
    if state.evaluation is None:
        return state, ()
    evaluation, effects = machine.call_off(state.evaluation)
    return _with(replace(state, asked=()), evaluation, effects)


def _asked(state: RunState, weights: WeightsRef, after: int | None, split: str) -> Asked:
    return Asked(number=state.evaluations + 1, weights=weights, after=after, split=split)


def _next(state: RunState) -> Step:
    if state.evaluation is not None or not state.asked:
        return state, ()
    asked, rest = state.asked[0], state.asked[1:]
    # Nobody has listened for those that were silent when the run ended: each is asked again.
    away = frozenset() if state.is_over else state.silent
    round = state.round if asked.after is None else max(0, asked.after - 1)
    evaluation, effects = machine.begin(state.plan, asked, round=round, term=state.top, absent=away)
    return _with(replace(state, asked=rest), evaluation, effects)


def _is_silence(state: RunState, event: LeaseExpired) -> bool:
    """Whether a site that did not score in time would have lost its turn by that too."""
    relay, failure = state.relay_of(event.id.lane), state.plan.failure
    skips = failure.on_silent is OnSilent.SKIP
    return skips and relay is not None and relay.failure.lease_s >= failure.lease_s


def _with(state: RunState, evaluation: Evaluation, effects: tuple[RelayEffect, ...]) -> Step:
    """The run with its evaluation as it is now."""
    nothing = Drop | GiveUpTurn | GiveUpRelay
    to_do: tuple[Effect, ...] = tuple(e for e in effects if not isinstance(e, nothing))
    state = replace(state, evaluation=evaluation, lane_term=max(state.lane_term, evaluation.term))
    if not evaluation.is_over:
        return state, to_do
    # Means are sums: in the order of sites, whoever was first.
    scores = sorted(evaluation.scores, key=lambda record: record.id.lane)
    state, closed = _close(state, replace(evaluation, scores=tuple(scores)))
    return state, (*to_do, *closed)


def _close(state: RunState, evaluation: Evaluation) -> Step:
    """What it says counts for the round if the run has called for it; then the next."""
    asked = evaluation.asked
    named: tuple[Effect, ...] = ()
    state = replace(state, evaluation=None)
    if asked.is_planned and asked.after is not None and not evaluation.is_called_off:
        judged = judged_by_sites(state, evaluation.scores, after=asked.after)
        state, named = best_named(state, judged)
    state, following = _next(state)
    return state, (CloseEvaluation(evaluation=evaluation), *named, *following)
