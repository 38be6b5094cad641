"""What the controller knows of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from tasuki.core.model import OnSilent, Plan, Task, TurnId, TurnRecord, WeightsRef
from tasuki.core.relay import RelayState
from tasuki.core.run.evaluation import Asked, Evaluation
from tasuki.core.run.lanes import LaneState
from tasuki.core.scores import is_evaluated


class Status(StrEnum):
    """Where a run stands."""

    SUBMITTED = "submitted"
    RELAYING = "relaying"  # a turn is out
    CLOSING = "closing"  # every turn of the round is in; its weights are being collected
    MERGING = "merging"  # one model is made of those of all lanes
    EVALUATING = "evaluating"  # the round is over; all sites score its weights
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


OVER = frozenset({Status.FINISHED, Status.FAILED, Status.STOPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A planned turn that its run's policy passed over."""

    round: int
    hop: int
    site: str
    reason: str
    lane: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best round so far.

    Attributes:
        after: its number, from 1.
        value: what it is judged by.
        sites: how many have scored it, where all are to; 0 where its turns judge.
    """

    after: int
    value: float
    sites: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """One run, now.

    Attributes:
        lanes: the round under way, of each model that is on its way.
        merged: where there are several, what they were made one of last: at first the run's first.
        unmerged: the turns of rounds that are over since; the lanes' weights have them.
        turns: how many were accepted and not undone.
        silent: sites whose lease ran out and that have not been heard of since, or not come on.
        trained: sites that have a turn in one of the rounds that were closed.
        took: how long each site's last turns trained, the newest last.
        pausing: an operator asked for a pause at the end of the round.
        unattended: the pause ends by itself once enough sites are back.
        removed: its weights are gone, or are about to go.
        evaluation: the one that is under way.
        asked: those that come after it.
        evaluations: how many were asked for.
        lane_term: the highest term of evaluate turns so far.
        peak, waited: the best number that `[stop]` has seen, and how many since were no better.
        is_time_up: it has lasted for as long as it may; rounds that are added later may go on.
        goes_beyond: it was given more rounds after it had enough: it has its target already.
        enough: why the run ends with this round, before its last; empty: it does not.
    """

    plan: Plan
    lanes: tuple[LaneState, ...]
    merged: WeightsRef
    status: Status = Status.SUBMITTED
    unmerged: tuple[TurnRecord, ...] = ()
    reason: str = ""
    turns: int = 0
    skipped: tuple[Skip, ...] = ()
    silent: frozenset[str] = frozenset()
    trained: frozenset[str] = frozenset()
    took: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    pausing: bool = False
    unattended: bool = False
    removed: bool = False
    evaluation: Evaluation | None = None
    asked: tuple[Asked, ...] = ()
    evaluations: int = 0
    lane_term: int = 0
    best: Best | None = None
    peak: float | None = None
    waited: int = 0
    is_time_up: bool = False
    goes_beyond: bool = False
    enough: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it trains no more."""
        return self.status in OVER

    @property
    def is_done(self) -> bool:
        """Whether nothing of it is under way."""
        return self.is_over and self.evaluation is None

    @property
    def top(self) -> int:
        """The highest term so far, of whichever lane."""
        return max(self.lane_term, *(lane.relay.term for lane in self.lanes))

    @property
    def relays(self) -> tuple[RelayState, ...]:
        """All that is out, or would be: the round's, and those of sites that are to score."""
        scoring = self.evaluation.relays.values() if self.evaluation else ()
        return (*(lane.relay for lane in self.lanes), *scoring)

    def relay_of(self, lane: int) -> RelayState | None:
        """The relay of this lane; None if nothing of it is out."""
        if lane < len(self.lanes):
            return self.lanes[lane].relay
        return None if self.evaluation is None else self.evaluation.relay_of(lane)

    def awaits(self, id: TurnId) -> bool:
        """Whether this is the turn that its lane is at."""
        relay = self.relay_of(id.lane)
        return relay is not None and relay.expected == id

    def task_of(self, id: TurnId) -> Task:
        """What this turn's trainer is told; a site that is waited for briefly says more often."""
        task, relay = self.plan.task, self.relay_of(id.lane)
        lease_s = self.plan.failure.lease_s if relay is None else relay.failure.lease_s
        return replace(task, beat_s=min(task.beat_s, lease_s / 4))

    @property
    def has_lanes(self) -> bool:
        """Whether several models are on their way."""
        return len(self.lanes) > 1

    @property
    def round(self) -> int:
        return self.lanes[0].relay.round

    @property
    def is_in_round(self) -> bool:
        """Whether a round was planned that is not over: in a pause, it may be between two."""
        return any(lane.itinerary for lane in self.lanes)

    @property
    def done(self) -> int:
        """How many rounds are over once the one under way is."""
        return self.round + self.is_in_round

    @property
    def weights(self) -> WeightsRef:
        """The newest accepted weights; of several lanes, what they were made one of last."""
        return self.merged if self.has_lanes else self.lanes[0].relay.weights

    @property
    def records(self) -> tuple[TurnRecord, ...]:
        """The round's accepted results, lane by lane in their order."""
        return tuple(record for lane in self.lanes for record in lane.records)

    @property
    def holders(self) -> tuple[str, ...]:
        """Who has weights now, as far as is known; nobody between rounds or in a pause."""
        held = (lane.relay.holder for lane in self.lanes)
        return tuple(holder for holder in held if holder is not None)

    @property
    def eligible(self) -> tuple[str, ...]:
        """The sites that the next round is planned with."""
        if self.plan.failure.on_silent is not OnSilent.SKIP:
            return self.plan.sites
        return tuple(site for site in self.plan.sites if site not in self.silent)

    @property
    def unjudged(self) -> str:
        """The metric that was to choose the best round, if no site has scored by it; else ""."""
        best = self.plan.checkpoint.best or ""
        is_open = self.best is None and is_evaluated(best, self.plan.evaluate)
        return best if best and is_open and self.status is Status.FINISHED else ""

    @property
    def left_out(self) -> tuple[str, ...]:
        """The sites whose every turn was passed over: the weights have nothing of theirs."""
        skipped = {skip.site for skip in self.skipped}
        named = {record.site for record in self.records} | self.trained
        return tuple(site for site in self.plan.sites if site in skipped - named)


def submitted(plan: Plan, weights: WeightsRef) -> RunState:
    """A run before its first event."""
    relays = (
        RelayState(run=plan.run, lane=lane, failure=plan.failure, weights=weights, base=weights)
        for lane in range(plan.lanes.count)
    )
    lanes = tuple(LaneState(relay=relay) for relay in relays)
    return RunState(plan=plan, lanes=lanes, merged=weights)
