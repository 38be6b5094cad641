"""A run of several lanes under test, in a world that does what it is asked for, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from support.runs import FIRST, E, Relay, plan, weights
from tasuki.core import run
from tasuki.core.model import (
    Cover,
    LanesPolicy,
    Merge,
    OnSilent,
    Order,
    Plan,
    TurnRecord,
    WeightsRef,
)
from tasuki.core.order import POLICIES, Situation
from tasuki.core.relay import Phase, RelayState
from tasuki.core.run import OVER, Part, Status

SAMPLES = {"a": 10, "b": 20, "c": 30, "d": 40, "e": 0}
"""On how many a site trains."""


def lanes_plan(
    *,
    count: int = 2,
    sites: str = "abcd",
    rounds: int = 2,
    order: Order = "fixed",
    cover: Cover = Cover.SHARE,
    merge: Merge = Merge.SAMPLES,
    every_n_rounds: int = 1,
    wait_s: float | None = None,
    on_silent: OnSilent = OnSilent.SKIP,
    min_sites: int = 1,
    max_attempts: int = 3,
) -> Plan:
    lanes = LanesPolicy(
        count=count, cover=cover, merge=merge, every_n_rounds=every_n_rounds, wait_s=wait_s
    )
    of_one = plan(
        sites=tuple(sites),
        rounds=rounds,
        on_silent=on_silent,
        min_sites=min_sites,
        max_attempts=max_attempts,
    )
    return replace(of_one, order=order, lanes=lanes)


# What training and merging give, as if weights were all that had been done to them.


def trained(received: str, *, site: str, lane: int, round: int, hop: int) -> WeightsRef:
    """The same for every attempt: a turn that is repeated repeats itself."""
    return weights(f"{received} at {site} in lane {lane}, round {round}, hop {hop}")


def made_one(parts: Iterable[Part], *, equally: bool) -> WeightsRef:
    said = " ".join(f"{part.lane}:{part.weights.digest}*{part.samples}" for part in parts)
    return weights(f"{said} equally {equally}")


class Lanes(Relay):
    """Feeds a run of several lanes.

    Attributes:
        collecting: what the controller was asked to get of each lane, and has not said anything of.
        merging: what it was asked to make one of, and has not said anything of.
        waiting: the round of which it was asked to say that lanes have waited long enough.
        leases: the lanes whose lease runs.
    """

    def __init__(self, of: Plan) -> None:
        self.collecting: dict[int, WeightsRef] = {}
        self.merging: run.MergeWeights | None = None
        self.waiting: int | None = None
        self.leases: dict[int, run.StartLease] = {}
        super().__init__(of)

    def __call__(self, event: run.Event) -> tuple[run.Effect, ...]:
        for effect in super().__call__(event):
            match effect:
                case run.CollectWeights(lane=lane, weights=ref):
                    self.collecting[lane] = ref
                case run.MergeWeights():
                    self.merging = effect
                case run.AwaitLanes(round=round):
                    self.waiting = round
                case run.StartLease(id=id):
                    self.leases[id.lane] = effect
                case run.EndLease(lane=lane):
                    self.leases.pop(lane, None)
        return self.effects

    def all_of(self, kind: type[E]) -> list[E]:
        """Every effect of a kind, in their order."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def relay_of(self, lane: int) -> RelayState:
        return self.state.lanes[lane].relay

    @property
    def orders(self) -> list[str]:
        """Who has a turn in this round, by lane."""
        return ["".join(lane.itinerary) for lane in self.state.lanes]

    @property
    def out(self) -> list[int]:
        """The lanes of which a turn is out."""
        return [lane for lane in range(len(self.state.lanes)) if self.relay_of(lane).holder]

    # What sites do.

    def says(self, lane: int, *, ahead: int = 0) -> TurnRecord:
        """What the holder of a lane, or a site behind it, would report if all goes well."""
        relay, received = self.relay_of(lane), self.relay_of(lane).weights
        for hop in range(relay.hop, relay.hop + ahead + 1):
            site, before = relay.itinerary[hop], received.digest
            received = trained(before, site=site, lane=lane, round=relay.round, hop=hop)
        return TurnRecord(
            id=replace(relay.expected, hop=hop),
            site=site,
            received=before,
            sent=received,
            metrics={"accuracy": 0.5},
            samples=SAMPLES[site],
            seconds=1.5,
        )

    def trains(self, lane: int) -> TurnRecord:
        """Whose turn it is trains and hands over."""
        record = self.says(lane)
        self(run.TurnFinished(record=record))
        return record

    def trains_all(self, lane: int) -> list[TurnRecord]:
        """Every turn of the lane that is left; its weights are with the controller after it."""
        records = []
        while self.relay_of(lane).holder is not None:
            records.append(self.trains(lane))
        self.arrives(lane)
        return records

    def goes_silent(self, lane: int, phase: str = "") -> None:
        self(run.LeaseExpired(id=self.relay_of(lane).expected, phase=phase))

    def gives_up(self, lane: int, detail: str = "boom") -> None:
        """The holder's trainer fails."""
        relay = self.relay_of(lane)
        assert relay.holder is not None
        error = "TrainerRaised"
        self(run.TurnFailed(id=relay.expected, site=relay.holder, error=error, detail=detail))

    # What the controller does.

    def arrives(self, lane: int) -> None:
        self(run.WeightsArrived(weights=self.collecting.pop(lane), lane=lane))

    def merges(self) -> WeightsRef:
        """It makes one of what it was asked to."""
        merged = self.makes_one()
        self(merged)
        return merged.weights

    def makes_one(self) -> run.WeightsMerged:
        asked, self.merging = self.merging, None
        assert asked is not None
        merged = made_one(asked.parts, equally=asked.equally)
        return run.WeightsMerged(done=asked.done, weights=merged)

    def is_late(self) -> None:
        """Lanes that are done have waited for long enough."""
        assert self.waiting is not None
        round, self.waiting = self.waiting, None
        self(run.WaitOver(round=round))

    def loses(self, lane: int, ref: WeightsRef | None = None) -> None:
        """It finds that weights of a lane are nowhere any more."""
        ref = ref or self.relay_of(lane).weights
        self.finds_none(lane, ref)
        self(run.WeightsLost(weights=ref, lane=lane))

    def finds_none(self, lane: int, ref: WeightsRef) -> None:
        """Whatever it was to do with these, it does no more."""
        if self.collecting.get(lane) == ref:
            del self.collecting[lane]
        if self.merging and any(p.lane == lane and p.weights == ref for p in self.merging.parts):
            self.merging = None

    def ends_round(self, lanes: Sequence[int] | None = None) -> None:
        """All lanes are trained one after the other, and made one if that is called for."""
        for lane in range(len(self.state.lanes)) if lanes is None else lanes:
            if self.relay_of(lane).holder is not None:
                self.trains_all(lane)
            elif lane in self.collecting:
                self.arrives(lane)
        if self.merging:
            self.merges()

    def ends(self) -> None:
        """It does what it is asked for until it is asked for nothing."""
        while self.out or self.collecting or self.merging:
            for lane in self.out:
                self.trains(lane)
            for lane in list(self.collecting):
                self.arrives(lane)
            if self.merging:
                self.merges()

    @property
    def is_asked_for_nothing(self) -> bool:
        """Whether it would stand still for ever if nothing came from outside."""
        rests = {Status.PAUSED, Status.EVALUATING, *OVER}
        return self.state.status not in rests and not (self.out or self.collecting or self.merging)


# The same, without any machine.


def dealt_by_hand(order: tuple[str, ...], *, count: int, cover: Cover) -> list[tuple[str, ...]]:
    if cover is Cover.ALL:
        begins = [lane * len(order) // count for lane in range(count)]
        return [tuple(order[(at + i) % len(order)] for i in range(len(order))) for at in begins]
    of_lane: list[list[str]] = [[] for _ in range(count)]
    for place, site in enumerate(order):
        of_lane[place % count].append(site)
    return [tuple(each) for each in of_lane]


def plain_loop(of: Plan) -> list[WeightsRef]:
    """What each merged round of a run without trouble ends with."""
    policy, count = of.lanes, of.lanes.count
    models, samples, turns = [FIRST] * count, [0] * count, [0] * count
    lasts: list[str | None] = [None] * count
    merged, found = FIRST, []
    for round in range(of.task.rounds):
        for lane, order in enumerate(_orders(of, round, lasts)):
            for hop, site in enumerate(order):
                received = models[lane].digest
                models[lane] = trained(received, site=site, lane=lane, round=round, hop=hop)
                samples[lane] += SAMPLES[site]
                turns[lane] += 1
                lasts[lane] = site
        if (round + 1) % policy.every_n_rounds and round + 1 < of.task.rounds:
            continue
        parts = [
            Part(lane=lane, weights=models[lane], samples=samples[lane])
            for lane in range(count)
            if turns[lane]
        ]
        equally = policy.merge is Merge.EQUAL
        merged = parts[0].weights if len(parts) == 1 else made_one(parts, equally=equally)
        models, samples, turns = [merged] * count, [0] * count, [0] * count
        found.append(merged)
    return found


def _orders(of: Plan, round: int, lasts: Sequence[str | None]) -> list[tuple[str, ...]]:
    count, cover, order = of.lanes.count, of.lanes.cover, of.order
    if isinstance(order, str):
        places = len(of.sites) if cover is Cover.ALL else count
        begins = [k * places // count for k in range(count)]
        situation = Situation(
            seed=of.task.seed,
            round=round,
            sites=of.sites,
            lasts=tuple(lasts),
            starts=tuple(begins),
        )
        return dealt_by_hand(POLICIES[order](situation), count=count, cover=cover)
    if all(isinstance(each, tuple) for each in order):
        return [tuple(each) for each in order]
    flat = tuple(each for each in order if isinstance(each, str))
    return dealt_by_hand(flat, count=count, cover=cover)


def is_done(lane: run.LaneState) -> bool:
    """Whether its round has brought all that it will."""
    return lane.relay.phase is Phase.DONE and not lane.is_late
