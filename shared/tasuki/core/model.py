"""The nouns: what is trained, by whom, in which turn. Values only; nothing here does anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeGuard

SITE = "{site}"
"""Stands for the site's name in what a trainer is given."""

CONTROLLER = "controller"
"""The controller's name wherever a site's name may stand. No site can have it."""

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
EVALUATION = 2**32
"""The lane of evaluate turns at a run's first site, and so on: each site of a run has its own.

A site takes a turn only if it is above what it has seen in its lane. So whatever is scored, when,
and how often, no training turn is taken for an old one, nor one site's fence for another's.
"""

MOST = 2**63 - 1
"""The largest whole number that whatever keeps our records can hold."""

DIGEST = re.compile(r"[a-z0-9]{1,16}:[0-9a-f]{16,128}")


def check_name(name: str, *, what: str) -> None:
    """Names become queue names and file names, so they are kept plain.

    Raises:
        ValueError: with the rule in words.
    """
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{what} name {name!r}: use 1 to 63 of a-z, 0-9, '-', '_' and '.', "
            "starting with a letter or digit"
        )


class Kind(StrEnum):
    """What a turn asks of its site."""

    TRAIN = "train"
    EVALUATE = "evaluate"


class OnSilent(StrEnum):
    """What to do when a holder stays silent for longer than its lease."""

    WAIT = "wait"  # leave the turn with the site until it returns
    RETRY = "retry"  # take it back and give it to the same site again
    SKIP = "skip"  # take it back and give it to the next site
    FAIL = "fail"  # end the run


Lane = tuple[str, int]
"""One model on its way through a run: the run, and the lane's number in it."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TurnId:
    """Which turn. Compare all five, never some."""

    run: str
    lane: int = 0
    term: int
    round: int
    hop: int

    def __post_init__(self) -> None:
        check_name(self.run, what="run")
        numbers = (self.lane, self.term, self.round, self.hop)
        if not 0 <= min(numbers) <= max(numbers) <= MOST:
            raise ValueError(f"lane, term, round and hop start at 0 and end at {MOST}")

    @property
    def of_lane(self) -> Lane:
        """Which model it trains."""
        return (self.run, self.lane)

    @property
    def fence(self) -> tuple[int, int, int]:
        """Only ever grows along a lane: a site drops whatever is not above what it has seen."""
        return (self.term, self.round, self.hop)

    def __str__(self) -> str:
        return f"{self.run}/{self.lane} term {self.term} round {self.round} hop {self.hop}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsRef:
    """Weights by what they are: the digest of their container and its size in bytes."""

    digest: str
    size: int

    def __post_init__(self) -> None:
        if not DIGEST.fullmatch(self.digest):
            raise ValueError(f"digest {self.digest[:80]!r} is not of the form algorithm:hex")
        if not 0 <= self.size <= MOST:
            raise ValueError(f"size is a number of bytes up to {MOST}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long a turn trains, in the first unit that is set; None leaves it to the trainer."""

    epochs: float | None = None
    steps: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What may go wrong before a run gives up.

    Attributes:
        same_twice_ends: a turn that fails word for word as it did before has no attempts left.
    """

    lease_s: float = 60.0
    on_silent: OnSilent = OnSilent.RETRY
    max_attempts: int = 3
    min_sites: int = 2
    # Plans of ledgers from before it go on as they did; who resumes one of those asks for no other.
    same_twice_ends: bool = field(default=False, compare=False)


class Of(StrEnum):
    """Which number over all sites says how good weights are."""

    MEAN = "mean"  # weighted by the sites' samples
    WORST = "worst"  # that of the site with the worst score


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPolicy:
    """What to keep. `best` names a metric; more is better unless `best_mode` is min."""

    every_n_rounds: int = 1
    keep: int = 5
    best: str | None = None
    best_mode: str = "max"
    of: Of = Of.MEAN


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatePolicy:
    """When all sites score the same weights.

    Attributes:
        every_n_rounds: after each n-th round; None: only at the end, if then.
        at_end: after the last round.
        wait_s: how long a silent site is waited for; None: a lease.
        split: the name of the data to score on, for the trainer; empty: its own choice.
    """

    every_n_rounds: int | None = None
    at_end: bool = True
    wait_s: float | None = None
    split: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopPolicy:
    """When a run has done enough before its last round.

    Attributes:
        metric: what is looked at; more is better unless `mode` is min. None: the time alone.
        target: enough, once it is reached.
        patience: enough, once so many scores in a row were no better than the best before.
        min_delta: by how much more a score has to be better to count as better.
        hours: enough, once a round ends so long after the run began.
    """

    metric: str | None = None
    mode: str = "max"
    of: Of = Of.MEAN
    target: float | None = None
    patience: int | None = None
    min_delta: float = 0.0
    hours: float | None = None


class Cover(StrEnum):
    """Which sites a lane visits in a round."""

    SHARE = "share"  # each site is in one lane
    ALL = "all"  # each lane visits every site


class Merge(StrEnum):
    """What a lane weighs when all become one."""

    SAMPLES = "samples"  # as much as it was trained on
    EQUAL = "equal"


@dataclass(frozen=True, slots=True, kw_only=True)
class LanesPolicy:
    """How many models circulate at once, and when they become one.

    Attributes:
        count: 1 is cyclic weight transfer; as many as sites, with `share`, federated averaging.
        every_n_rounds: they are merged after each n-th round, and after the last.
        wait_s: how long a round waits for lanes that are late, from the first one's end on; None:
            until they are done.
    """

    count: int = 1
    cover: Cover = Cover.SHARE
    merge: Merge = Merge.SAMPLES
    every_n_rounds: int = 1
    wait_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The part of a plan that a trainer needs, the same for every turn of a run."""

    trainer: str
    params: Mapping[str, object] = field(default_factory=dict)
    params_at: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    seed: int = 0
    rounds: int = 1
    beat_s: float = 5.0
    requires: tuple[str, ...] = ()  # metrics that a result must have
    scores: tuple[str, ...] = ()  # metrics that an evaluation must have
    max_norm: float | None = None  # L2 norm that a turn may move the weights by
    non_finite: tuple[str, ...] = ()  # names, or patterns, of tensors that may hold NaN and Inf
    refuses_unchanged: bool = False  # a result that is exactly what was received
    turn_s: float | None = None  # how long a turn may train
    progress_s: float | None = None  # how long it may show no progress

    def params_of(self, site: str) -> dict[str, object]:
        """What this site's trainer gets: its own values in place of those for all."""
        own = {**self.params, **self.params_at.get(site, {})}
        return {key: _named(value, site) for key, value in own.items()}


def _named(value: object, site: str, *, levels: int = 20) -> object:
    """With the site's name wherever a text has `{site}`, but in what is nested absurdly deep."""
    if isinstance(value, str):
        return value.replace(SITE, site)
    if levels and isinstance(value, Mapping):
        return {key: _named(each, site, levels=levels - 1) for key, each in value.items()}
    if levels and isinstance(value, list | tuple):
        return [_named(each, site, levels=levels - 1) for each in value]
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The checkpoint of another run that a run began from: the end of its `round`, from 1."""

    run: str
    round: int
    digest: str


Order = str | tuple[str, ...] | tuple[tuple[str, ...], ...]
"""The name of a policy, the sites of each round, or those of each lane in each round."""


def is_by_lane(order: Order) -> TypeGuard[tuple[tuple[str, ...], ...]]:
    """Whether it says of each lane which sites it visits."""
    return not isinstance(order, str) and any(isinstance(each, tuple) for each in order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run as it was submitted."""

    run: str
    sites: tuple[str, ...]
    order: Order = "fixed"
    task: Task
    lanes: LanesPolicy = field(default_factory=LanesPolicy)
    failure: Failure = field(default_factory=Failure)
    checkpoint: CheckpointPolicy = field(default_factory=CheckpointPolicy)
    evaluate: EvaluatePolicy | None = None
    stop: StopPolicy | None = None
    # That run may have gone on since: who resumes this one asks for no other.
    origin: Origin | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_name(self.run, what="run")
        for site in self.sites:
            check_name(site, what="site")
            if site == CONTROLLER:
                raise ValueError(f"no site can be called {CONTROLLER!r}")
        if len(set(self.sites)) < len(self.sites):
            raise ValueError("a site is named twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    """What one accepted turn did: the link between the weights it received and those it sent.

    One that evaluates sends nothing on: what it has `sent` is what it received, and its metrics are
    scores. `written` is the record as its site wrote it; empty in a record that was not written
    yet. That is what is passed on and kept, whatever else a newer site has put into it.
    """

    id: TurnId
    site: str
    received: str
    sent: WeightsRef
    metrics: Mapping[str, float] = field(default_factory=dict)
    samples: int = 0
    seconds: float = 0.0
    kind: Kind = Kind.TRAIN
    written: bytes = field(default=b"", compare=False, repr=False)

    @property
    def is_unchanged(self) -> bool:
        """Whether the turn handed on exactly what it received: it trained nothing."""
        return self.kind is Kind.TRAIN and self.received == self.sent.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The weights' way through one round, as it travels from site to site.

    One that evaluates goes to one site and ends there. `split`: the data that it is to score on.
    `merged`: the weights were just made of several lanes', and trained by nobody since.
    `history` holds the round's records so far, encoded and opaque here, so that a hop costs no
    more the longer the round gets. `warrant`: what the controller signed when it gave the turn out,
    as it travels; it has the itinerary and the task. Empty where nobody signs.
    """

    id: TurnId
    itinerary: tuple[str, ...]
    weights: WeightsRef
    task: Task
    kind: Kind = Kind.TRAIN
    split: str = ""
    merged: bool = False
    history: tuple[bytes, ...] = ()
    warrant: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        for site in self.itinerary:
            check_name(site, what="site")
        if self.id.hop >= len(self.itinerary):
            raise ValueError(f"hop {self.id.hop} is past the end of the itinerary")

    @property
    def site(self) -> str:
        return self.itinerary[self.id.hop]

    @property
    def predecessor(self) -> str:
        """Who may have sent this turn besides the controller."""
        return self.itinerary[self.id.hop - 1] if self.id.hop else CONTROLLER

    @property
    def successor(self) -> str:
        """Whose queue comes next."""
        last = self.id.hop + 1 == len(self.itinerary)
        return CONTROLLER if last else self.itinerary[self.id.hop + 1]
