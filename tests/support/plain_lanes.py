"""A run with several lanes without Tasuki: loops over its turns and over elements of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from support.plain import load_trainer, seed_of
from support.plain_merge import plain_merge
from tasuki.core.order import POLICIES, Situation

State = dict[str, Any]  # Any: arrays
Lanes = Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a run file says of lanes and order. `order`: a policy, or the sites of each lane."""

    sites: tuple[str, ...]
    count: int
    order: str | Lanes = "fixed"
    cover: str = "share"
    merge: str = "samples"
    every: int = 1
    rounds: int = 3

    def is_merged(self, round: int) -> bool:
        """Whether all lanes are one after this round, from 0."""
        return (round + 1) % self.every == 0 or round + 1 == self.rounds

    def lanes(self, round: int, lasts: Sequence[str | None]) -> Lanes:
        """Who trains which lane, one after the other."""
        if not isinstance(self.order, str):
            return self.order
        count, every = self.count, len(self.sites)
        starts = [lane * every // count if self.cover == "all" else lane for lane in range(count)]
        situation = Situation(
            seed=7, round=round, sites=self.sites, lasts=tuple(lasts), starts=tuple(starts)
        )
        order = POLICIES[self.order](situation)
        if self.cover == "all":
            return [[order[(start + hop) % every] for hop in range(every)] for start in starts]
        lanes: list[list[str]] = [[] for _ in range(count)]
        for place, site in enumerate(order):
            lanes[place % count].append(site)
        return lanes


@dataclass
class _Lane:
    """One model, and what it was trained on since all were one."""

    state: State
    last: str | None = None
    samples: int = 0
    turns: int = 0


def plain_lanes(
    planned: Planned,
    samples: Mapping[str, int],
    *,
    late: Callable[[int, int], bool] = lambda _round, _lane: False,
) -> dict[int, State]:
    """The weights after each round, from 1, that all lanes are one after.

    Args:
        late: whether a lane's turns of a round are void.
    """
    walk = load_trainer("walk")
    lanes = [_Lane(walk.make()) for _ in range(planned.count)]
    ends = {}
    for round in range(planned.rounds):
        whose = planned.lanes(round, [lane.last for lane in lanes])
        for number, (lane, sites) in enumerate(zip(lanes, whose, strict=True)):
            if not late(round, number):
                _train(walk, lane, sites, round, number, samples)
        if planned.is_merged(round):
            merged = _merged(lanes, equally=planned.merge == "equal")
            lanes = [_Lane(merged, lane.last) for lane in lanes]
            ends[round + 1] = merged
    return ends


def _train(
    walk: ModuleType,
    lane: _Lane,
    sites: Sequence[str],
    round: int,
    number: int,
    samples: Mapping[str, int],
) -> None:
    for hop, site in enumerate(sites):
        lane.state = walk.walk(lane.state, seed_of(round, hop, site, lane=number))
        lane.last = site
        lane.samples += samples[site]
        lane.turns += 1


def _merged(lanes: Sequence[_Lane], *, equally: bool) -> State:
    """Of those that were trained; one alone is as it is."""
    trained = [lane for lane in lanes if lane.turns]
    if len(trained) == 1:
        return trained[0].state
    states = [{k: np.asarray(v) for k, v in lane.state.items()} for lane in trained]
    return dict(plain_merge(states, [lane.samples for lane in trained], equally=equally))
