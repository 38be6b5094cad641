"""What was run, in pairs of words: what, and which."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

import tasuki
from tasuki.core.model import Cover, EvaluatePolicy, Merge, Plan, StopPolicy, is_by_lane
from tasuki_controller.documents import BestRound
from tasuki_report.material import Material

Fact = tuple[str, str]


def facts_of(material: Material) -> list[Fact]:
    """Of the run as it was asked for, and as it went; those that say nothing are left out."""
    return [(what, which) for what, which in _facts(material) if which]


def _facts(material: Material) -> Iterator[Fact]:
    submitted, standing, plan = material.submitted, material.standing, material.submitted.plan
    yield "submitted", moment(submitted.at)
    yield "trainer", plan.task.trainer
    yield "sites", f"{len(plan.sites)}: {', '.join(plan.sites)}"
    yield "order", _order(plan)
    yield "lanes", _lanes(plan)
    yield "rounds", f"{standing.rounds} with turns, of {plan.task.rounds}"
    yield "turns", _turns(material)
    yield "left out", ", ".join(standing.left_out)
    yield "took", duration(standing.wall_s)
    yield "seed", str(plan.task.seed)
    yield "budget of a turn", _budget(plan)
    yield "best by", _best_by(plan)
    yield "not judged", standing.unjudged and f"no site has scored by {standing.unjudged}"
    yield "best round", best(material.scores.best_round or standing.best_round)
    yield "evaluation", _evaluate(plan.evaluate)
    yield "early end", _stop(plan.stop)
    yield "lease", f"{plan.failure.lease_s:g} s, then {plan.failure.on_silent}"
    yield "attempts", str(plan.failure.max_attempts)
    yield "began from", _began(material)
    yield "newest weights", standing.digest
    yield "versions", f"Tasuki {submitted.tasuki} told it, {tasuki.__version__} made this page"


def params_of(plan: Plan) -> list[Fact]:
    """What trainers were given, for all and for sites apart, as JSON."""
    found = [("for all sites", plan.task.params)] if plan.task.params else []
    found += [(f"at {site}", values) for site, values in plan.task.params_at.items()]
    return [(where, json.dumps(values, indent=2, ensure_ascii=False)) for where, values in found]


def _turns(material: Material) -> str:
    standing = material.standing
    said = f"{standing.turns} accepted, {standing.skipped} skipped"
    return f"{said}, {standing.unchanged} unchanged" if standing.unchanged else said


def _budget(plan: Plan) -> str:
    budget = plan.task.budget
    parts = (("epochs", budget.epochs), ("steps", budget.steps), ("seconds", budget.seconds))
    return ", ".join(f"{value:g} {unit}" for unit, value in parts if value is not None)


def _best_by(plan: Plan) -> str:
    policy = plan.checkpoint
    return f"{policy.best}, {policy.best_mode}, {policy.of} over sites" if policy.best else ""


def best(found: BestRound | None) -> str:
    """Which round, by what."""
    if found is None:
        return ""
    return f"round {found.round}: {found.of} {found.metric} {found.value:.6g}, by {found.by}"


def _evaluate(policy: EvaluatePolicy | None) -> str:
    if policy is None:
        return ""
    every = policy.every_n_rounds
    when = [] if every is None else ["after each round" if every == 1 else f"every {every} rounds"]
    when += ["at the end"] if policy.at_end else []
    return " and ".join(when) + (f", on {policy.split}" if policy.split else "")


def _stop(policy: StopPolicy | None) -> str:
    if policy is None:
        return ""
    parts = (
        ("target", policy.target),
        ("patience", policy.patience),
        ("min_delta", policy.min_delta or None),
        ("hours", policy.hours),
    )
    said = [f"{name} {value:g}" for name, value in parts if value is not None]
    return (
        ", ".join([f"{policy.of} {policy.metric}, {policy.mode}", *said])
        if policy.metric
        else (", ".join(said))
    )


def _began(material: Material) -> str:
    origin, weights = material.submitted.plan.origin, material.submitted.weights
    said = f"{weights.digest}, {weights.size} bytes"
    return said if origin is None else f"round {origin.round} of {origin.run}: {said}"


def moment(at: datetime) -> str:
    """A time as people read it."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """As short as it can be said."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _lanes(plan: Plan) -> str:
    """How many models, who visits whom, when they become one and what each weighs then."""
    lanes = plan.lanes
    if lanes.count == 1:
        return ""
    every = lanes.every_n_rounds
    visits = "every site in each" if lanes.cover is Cover.ALL else "each site in one"
    when = "after each round" if every == 1 else f"after every {every} rounds and the last"
    by = "equally" if lanes.merge is Merge.EQUAL else "by samples"
    waits = "" if lanes.wait_s is None else f"; late after {lanes.wait_s:g} s"
    who = "" if is_by_lane(plan.order) else f", {visits}"
    return f"{lanes.count}{who}; merged {when}, {by}{waits}"


def _order(plan: Plan) -> str:
    if isinstance(plan.order, str):
        return plan.order
    if is_by_lane(plan.order):
        return "; ".join(map(", ".join, plan.order))
    return ", ".join(map(str, plan.order))
