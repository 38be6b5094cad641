"""Which round is best, and whether the run has done enough: the phase `decide` of a round.

Rounds are judged by what all sites say of their weights where the run evaluates each so many of
them, else by what their turns reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from tasuki.core.model import Of, StopPolicy, TurnRecord
from tasuki.core.run.effects import NameBest
from tasuki.core.run.state import Best, RunState
from tasuki.core.scores import is_better, is_evaluated, mean_metrics, worst_value


def judged_by_turns(state: RunState) -> RunState:
    """The run after its round's turns were judged, as far as they are to judge."""
    return _judged(state, state.records, after=state.done, is_evaluation=False)


def judged_by_sites(state: RunState, scores: Sequence[TurnRecord], *, after: int) -> RunState:
    """The run after all sites have scored what round `after` ended with, as far as that judges.

    Fewer than a round needs judge none: an outage would choose the model.
    """
    if len(scores) < state.plan.failure.min_sites:
        return state
    return _judged(state, scores, after=after, is_evaluation=True)


def best_named(before: RunState, after: RunState) -> tuple[RunState, tuple[NameBest, ...]]:
    """The checkpoint that is the best one now, if that is another."""
    if after.best is None or after.best == before.best:
        return after, ()
    return after, (NameBest(round=after.best.after - 1),)


def _judged(
    state: RunState, said: Sequence[TurnRecord], *, after: int, is_evaluation: bool
) -> RunState:
    plan = state.plan
    checkpoint, stop = plan.checkpoint, plan.stop
    if checkpoint.best and is_evaluated(checkpoint.best, plan.evaluate) is is_evaluation:
        mode = checkpoint.best_mode
        value = _value(said, checkpoint.best, of=checkpoint.of, mode=mode)
        best = None if state.best is None else state.best.value
        if value is not None and is_better(value, than=best, mode=mode):
            sites = len(said) if is_evaluation else 0
            state = replace(state, best=Best(after=after, value=value, sites=sites))
    if stop and stop.metric and is_evaluated(stop.metric, plan.evaluate) is is_evaluation:
        value = _value(said, stop.metric, of=stop.of, mode=stop.mode)
        if value is not None:
            by = f"evaluation ({len(said)} of {len(plan.sites)} sites)"
            by = by if is_evaluation else "the round's turns"
            state = _watched(state, stop, stop.metric, value, by=by)
    return state


def _value(said: Sequence[TurnRecord], metric: str, *, of: Of, mode: str) -> float | None:
    """The one number that says how good a round is; None if there is none."""
    if of is Of.MEAN:
        value = mean_metrics(tuple(said)).get(metric)
    else:
        having = [record.metrics[metric] for record in said if metric in record.metrics]
        value = worst_value(having, mode=mode)
    return value if value is not None and isfinite(value) else None


def _watched(state: RunState, stop: StopPolicy, metric: str, value: float, *, by: str) -> RunState:
    """The run after one more number that its `[stop]` looks at."""
    of = f"{stop.of} of {metric} by {by}"
    is_news = is_better(value, than=state.peak, mode=stop.mode, by_more_than=stop.min_delta)
    peak, waited = (value, 0) if is_news else (state.peak, state.waited + 1)
    state = replace(state, peak=peak, waited=waited)
    is_reached = stop.target is not None and not is_better(stop.target, than=value, mode=stop.mode)
    if stop.target is not None and is_reached and not state.goes_beyond:
        return replace(state, enough=f"{of} is {value:.6g}, the target {stop.target:g} is reached")
    if stop.patience is not None and waited >= stop.patience:
        times = "score was" if waited == 1 else f"{waited} scores were"
        return replace(state, enough=f"{of}: the last {times} no better than {peak:.6g}")
    return state
