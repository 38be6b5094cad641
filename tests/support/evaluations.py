"""Evaluations of a run under test: who scores what, and what the machine is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from support.runs import Relay, weights
from tasuki.core import run
from tasuki.core.model import EVALUATION, Kind, TurnRecord, WeightsRef
from tasuki.core.relay import RelayState

FILE = weights("a file")


def asked_for(
    relay: Relay, ref: WeightsRef = FILE, *, after: int | None = None
) -> tuple[run.Effect, ...]:
    """An operator wants these weights scored."""
    return relay(run.EvaluationRequested(weights=ref, after=after))


def relay_of(relay: Relay, site: str) -> RelayState:
    """What the site is waited for with."""
    assert relay.state.evaluation is not None
    return relay.state.evaluation.relays[site]


def waited_for(relay: Relay) -> list[str]:
    """Whose scores are still to come."""
    return [] if relay.state.evaluation is None else [*relay.state.evaluation.relays]


def score(
    relay: Relay,
    site: str,
    *,
    samples: int = 10,
    named: Mapping[str, float] = MappingProxyType({"accuracy": 0.5}),
) -> TurnRecord:
    """What this site would say now."""
    its = relay_of(relay, site)
    return TurnRecord(
        id=its.expected,
        site=site,
        received=its.weights.digest,
        sent=its.weights,
        metrics=dict(named),
        samples=samples,
        kind=Kind.EVALUATE,
    )


def scores(relay: Relay, site: str, value: float = 0.5, *, samples: int = 10) -> TurnRecord:
    """The site scores."""
    said = score(relay, site, samples=samples, named={"accuracy": value})
    relay(run.TurnFinished(record=said))
    return said


def all_score(relay: Relay, **values: float) -> None:
    """Everybody who is waited for."""
    for site in waited_for(relay):
        scores(relay, site, values.get(site, 0.5))


def goes_silent(relay: Relay, site: str) -> None:
    relay(run.LeaseExpired(id=relay_of(relay, site).expected))


def fails(relay: Relay, site: str, detail: str = "boom", *, error: str = "TrainerRaised") -> None:
    id = relay_of(relay, site).expected
    relay(run.TurnFailed(id=id, site=site, error=error, detail=detail))


def without_evaluation(state: run.RunState) -> run.RunState:
    """All of a run but what becomes of it by evaluation that an operator asks for."""
    return replace(state, evaluation=None, asked=(), evaluations=0, lane_term=0)


def of_training(effects: tuple[run.Effect, ...]) -> list[run.Effect]:
    """What there is to do that is about the rounds, and no drop."""
    return [each for each in effects if not isinstance(each, run.Drop) and _is_of_round(each)]


def _is_of_round(effect: run.Effect) -> bool:
    match effect:
        case run.IssueTurn(id=id) | run.StartLease(id=id):
            return id.lane < EVALUATION
        case run.Fence(lane=lane) | run.EndLease(lane=lane):
            return lane < EVALUATION
    return not isinstance(effect, run.CloseEvaluation | run.Conclude)
