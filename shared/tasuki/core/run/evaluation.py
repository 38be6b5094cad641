"""All sites score the same weights, at once: each in a relay of one hop that hands nothing on.

What becomes of it is never an end of the run. A site that is silent for a lease, has no attempt
left, or gives its turn back is left out, and that is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tasuki.core import relay as one_site
from tasuki.core.model import (
    EVALUATION,
    EvaluatePolicy,
    Kind,
    OnSilent,
    Plan,
    TurnId,
    TurnRecord,
    WeightsRef,
)
from tasuki.core.relay import (
    Drop,
    EndLease,
    GiveUpRelay,
    GiveUpTurn,
    LeaseExpired,
    Phase,
    RelayState,
    RoundPlanned,
    TakenBack,
    TurnFailed,
    WeightsLost,
)

SILENT = "silent"
WEIGHTS_LOST = "weights_lost"
CALLED_OFF = "called_off"
"""Why a site has no scores, where it did not say so itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A site without scores. `reason`: in a word. `detail`: in its own words."""

    site: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be scored.

    Attributes:
        number: of the evaluation, from 1.
        after: of which round's end the weights are, from 1; 0: the run's first; None: a file's.
        is_planned: the run's `[evaluate]` calls for it, not an operator.
    """

    number: int
    weights: WeightsRef
    after: int | None
    split: str = ""
    is_planned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One evaluation, now.

    Attributes:
        relays: of the sites that are waited for.
        scores: of those that have scored, in the order in which they did.
    """

    asked: Asked
    sites: tuple[str, ...]
    relays: Mapping[str, RelayState] = field(default_factory=dict)
    scores: tuple[TurnRecord, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def is_over(self) -> bool:
        return not self.relays

    @property
    def is_called_off(self) -> bool:
        return any(each.reason == CALLED_OFF for each in self.left_out)

    @property
    def term(self) -> int:
        """The highest of those that are out."""
        return max((relay.term for relay in self.relays.values()), default=0)

    def relay_of(self, lane: int) -> RelayState | None:
        """The relay of this lane, if its site is waited for."""
        place = lane - EVALUATION
        return self.relays.get(self.sites[place]) if 0 <= place < len(self.sites) else None


Step = tuple[Evaluation, tuple[one_site.Effect, ...]]
Event = (
    one_site.TurnFinished
    | one_site.TurnFailed
    | one_site.TurnReturned
    | one_site.LeaseExpired
    | one_site.WeightsLost
    | one_site.RelayLost
    | one_site.SiteForgot
)


def lane_of(event: object) -> int:
    """Which relay an event of one is about; what is about none: -1."""
    match event:
        case one_site.TurnFinished(record=record):
            return record.id.lane
        case one_site.WeightsLost(lane=lane):
            return lane
        case one_site.TurnFailed() | one_site.TurnReturned() | one_site.LeaseExpired():
            return event.id.lane
    return -1


def is_due(policy: EvaluatePolicy | None, *, rounds_done: int, is_last: bool) -> bool:
    """Whether the run is to be evaluated after so many rounds."""
    if policy is None:
        return False
    every = policy.every_n_rounds
    is_planned = every is not None and rounds_done % every == 0
    return is_planned or (is_last and policy.at_end)


def begin(plan: Plan, asked: Asked, *, round: int, term: int, absent: frozenset[str]) -> Step:
    """Ask every site but those that are known to be away.

    Args:
        round: for the trainer to see.
        term: of those that are asked, one above this.
    """
    evaluation = Evaluation(asked=asked, sites=plan.sites)
    effects: list[one_site.Effect] = []
    for place, site in enumerate(plan.sites):
        if site in absent:
            left_out = (*evaluation.left_out, LeftOut(site=site, reason=SILENT))
            evaluation = replace(evaluation, left_out=left_out)
            continue
        before = _at_rest(plan, asked, lane=EVALUATION + place, round=round, term=term)
        relay, issued = one_site.step(before, RoundPlanned(itinerary=(site,)))
        evaluation = replace(evaluation, relays={**evaluation.relays, site: relay})
        effects += issued
    return evaluation, tuple(effects)


def step(evaluation: Evaluation, event: Event) -> Step:
    """What it means for the site that it is about; a `Drop` if it means nothing."""
    if isinstance(event, one_site.RelayLost):
        return _all(evaluation, event)
    if isinstance(event, one_site.SiteForgot):
        return _one(evaluation, event.site, event)
    relay = evaluation.relay_of(lane_of(event))
    if relay is None or relay.holder is None:
        is_known = isinstance(event, one_site.TurnFinished) and event.record in evaluation.scores
        return evaluation, (Drop(reason="duplicate" if is_known else "not_awaited"),)
    return _one(evaluation, relay.holder, event)


def call_off(evaluation: Evaluation) -> Step:
    """Nobody waits for it any more."""
    effects: list[one_site.Effect] = []
    for site in evaluation.relays:
        evaluation, ended = _leave_out(evaluation, LeftOut(site=site, reason=CALLED_OFF))
        effects += ended
    return evaluation, tuple(effects)


def id_of(evaluation: Evaluation, site: str) -> TurnId | None:
    """The turn in which a site is to score; None if it is not waited for."""
    relay = evaluation.relays.get(site)
    return None if relay is None else relay.expected


def _at_rest(plan: Plan, asked: Asked, *, lane: int, round: int, term: int) -> RelayState:
    wait_s = plan.evaluate.wait_s if plan.evaluate else None
    failure = replace(plan.failure, on_silent=OnSilent.SKIP, lease_s=wait_s or plan.failure.lease_s)
    return RelayState(
        run=plan.run,
        lane=lane,
        kind=Kind.EVALUATE,
        split=asked.split,
        is_merged=plan.lanes.count > 1 and bool(asked.after),
        failure=failure,
        term=term,
        round=round,
        weights=asked.weights,
        base=asked.weights,
    )


def _all(evaluation: Evaluation, event: one_site.RelayLost) -> Step:
    effects: list[one_site.Effect] = []
    for site in evaluation.relays:
        evaluation, done = _one(evaluation, site, event)
        effects += done
    return evaluation, tuple(effects)


def _one(evaluation: Evaluation, site: str, event: Event) -> Step:
    """Let the site's relay decide; what it gives up, its site is left out of."""
    if site not in evaluation.relays:
        return evaluation, (Drop(reason="not_awaited"),)
    relay, effects = one_site.step(evaluation.relays[site], event)
    match effects:
        case (GiveUpTurn() | GiveUpRelay(),):
            return _leave_out(evaluation, _why(site, event))
        case (Drop(),):
            return evaluation, effects
    if relay.phase is Phase.DONE:
        scores = (*evaluation.scores, *relay.records)
        return replace(_without(evaluation, site), scores=scores), effects
    return replace(evaluation, relays={**evaluation.relays, site: relay}), effects


def _why(site: str, event: Event) -> LeftOut:
    match event:
        case TurnFailed(error=error, detail=detail):
            return LeftOut(site=site, reason=error, detail=detail)
        case LeaseExpired(phase=phase):
            return LeftOut(site=site, reason="stood_still" if phase else SILENT)
        case WeightsLost():
            return LeftOut(site=site, reason=WEIGHTS_LOST)
    return LeftOut(site=site, reason="given_back")


def _leave_out(evaluation: Evaluation, left_out: LeftOut) -> Step:
    """What its site may still say of it is void."""
    relay, fence = one_site.step(evaluation.relays[left_out.site], TakenBack())
    evaluation = replace(
        _without(evaluation, left_out.site), left_out=(*evaluation.left_out, left_out)
    )
    return evaluation, (*fence, EndLease(lane=relay.lane))


def _without(evaluation: Evaluation, site: str) -> Evaluation:
    kept = {each: relay for each, relay in evaluation.relays.items() if each != site}
    return replace(evaluation, relays=kept)
