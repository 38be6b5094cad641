"""What a run may be given beyond its plan, and what after its end: sites, rounds, its removal."""

from __future__ import annotations

from dataclasses import replace

from tasuki.core.model import Plan
from tasuki.core.run import RunState, Status, why_no_rounds
from tasuki.core.run.machine import HAS_MORE, NOT_FINISHED, REMOVED
from tasuki.errors import FewerRounds, NotExtended, RunUnderWay, UnknownRun, WeightsRemoved
from tasuki.wire.size import check_round


def name_taken(state: RunState) -> str:
    """Why no other run can have this one's name."""
    run = state.plan.run
    if state.removed:
        return (
            f"there was a run {run!r}; it was removed and its ledger stays, so that its name is "
            "taken: give this one another name"
        )
    return f"there is a run {run!r} already: give this one another name"


def never_begun(plan: Plan) -> str:
    """Why nobody else can have the name of a submission that was cut off; `plan`: that one's."""
    again = "submit that again"
    if plan.origin is not None:  # which may have newer weights by now
        again += f', with [weights] initial = "run:{plan.origin.run}/round-{plan.origin.round}"'
    return (
        f"another run {plan.run!r} was submitted and never begun: {again}, or give this one "
        "another name"
    )


def check_extended(state: RunState, rounds: int) -> None:
    """Whether a run can have so many rounds in all; those that it has, it can.

    Raises:
        FewerRounds, NotExtended, WeightsRemoved: it cannot have them.
        TooManySites: a round of its sites does not fit into messages.
    """
    run, why = state.plan.run, why_no_rounds(state, rounds)
    if why == REMOVED:
        raise WeightsRemoved(removed(run))
    if why == NOT_FINISHED:
        raise NotExtended(
            f"{run} {state.status}, and gets no more rounds: begin another run from its newest "
            f'weights, with [weights] initial = "run:{run}"'
        )
    if why == HAS_MORE:
        has = state.plan.task.rounds
        raise FewerRounds(
            f"{run} has {has} rounds already: {rounds} is fewer, name {has + 1} or more"
        )
    check_round(replace(state.plan, task=replace(state.plan.task, rounds=rounds)))


def check_joined(state: RunState, site: str) -> None:
    """Raises TooManySites: a round with this site too does not fit into messages."""
    sites = dict.fromkeys((*state.plan.sites, site))
    check_round(replace(state.plan, sites=tuple(sites)))


def check_evaluated(state: RunState) -> None:
    """Whether sites can be asked to score weights of this run.

    Raises:
        WeightsRemoved: nothing of it is left but its rows.
        UnknownRun: it has not begun.
    """
    if state.removed:
        raise WeightsRemoved(removed(state.plan.run))
    if state.status is Status.SUBMITTED:
        raise UnknownRun(f"run {state.plan.run!r} has not begun: ask again in a moment")


def check_over(state: RunState) -> None:
    """Raises RunUnderWay: the run is not over, so that its weights are wanted."""
    if state.evaluation is not None and state.is_over:
        asked = f"evaluation {state.evaluation.asked.number}"
        run = state.plan.run
        raise RunUnderWay(
            f"the sites of {run} still score it ({asked}): wait for that, or call it off with "
            f"`tasuki stop {run}`; in a simulation that was interrupted, with `tasuki remove {run} "
            "--stop`"
        )
    if not state.is_over:
        run = state.plan.run
        raise RunUnderWay(
            f"{run} is {state.status}: end it with `tasuki stop {run}`, or wait until it is over; "
            f"a simulation that was interrupted ends with `tasuki remove {run} --stop`"
        )


def removed(run: str) -> str:
    """That nothing of a run is left but its rows."""
    return f"run {run!r} was removed with its weights; `tasuki ledger {run}` still shows its rows"
