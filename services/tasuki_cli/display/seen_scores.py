"""The scores that a display has seen: what each site said last, and what rounds came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf, isfinite, isnan

from tasuki.core import scores
from tasuki.core.model import CheckpointPolicy, Of, Plan, TurnRecord
from tasuki.core.scores import MIN, RECEIVED, Score
from tasuki_controller.metric_names import metric_to_show


class Judged(StrEnum):
    """Which weights a site's score is of."""

    RECEIVED = "received"
    TRAINED = "trained"
    EVALUATED = "evaluated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A site's newest score of its kind, and the one before it."""

    value: float
    before: float | None = None

    @property
    def change(self) -> int:
        """1: more than before, -1: less, 0: the same or not known."""
        if self.before is None or isnan(self.value) or isnan(self.before):
            return 0
        return (self.value > self.before) - (self.value < self.before)


@dataclass(slots=True)
class SeenScores:
    """By the run's metric: that of `[checkpoint] best`, else of `[stop]`, else the first reported.

    Attributes:
        metric: its name; empty as long as the run names none and none was reported.
        mode: whether more or less of it is better.
        by: what rounds are judged by; this metric, or that of the weights that turns received.
        judged: what each round that is over came to, by its number from 0.
    """

    metric: str = ""
    mode: str = scores.MAX
    by: str = ""
    judged: dict[int, float] = field(default_factory=dict)
    _is_evaluated: bool = False
    _of: Of = Of.MEAN
    _sites: dict[str, dict[Judged, Trend]] = field(default_factory=dict)
    _round: int = 0
    _row: dict[str, Score] = field(default_factory=dict)  # of the round under way, by its turns

    def begin(self, plan: Plan) -> None:
        """What the plan says of metrics."""
        stop, policy = plan.stop, plan.checkpoint
        self.by = policy.best or (stop.metric if stop else None) or ""
        self.metric = self.by.removeprefix(RECEIVED)
        if policy.best is None and stop is not None:
            self.mode, self._of = stop.mode, stop.of
        elif self.metric:
            self.mode, self._of = scores.mode_of(self.metric, policy), policy.of
        self._is_evaluated = scores.is_evaluated(self.by, plan.evaluate)

    def trained(self, record: TurnRecord) -> None:
        """A turn was accepted."""
        self._name_metric(record.metrics)
        self._put(record, Judged.RECEIVED, RECEIVED + self.metric)
        self._put(record, Judged.TRAINED, self.metric)
        if self._is_evaluated:
            return
        self._round = record.id.round
        if self.by in record.metrics:
            score = Score(value=record.metrics[self.by], samples=record.samples)
            self._row[f"{record.id.hop} {record.site}"] = score

    def reached(self, round: int) -> None:
        """Those before this one are over."""
        if self._round < round and (value := scores.mean(self._row)) is not None:
            self.judged[self._round] = value
            self._row = {}

    def scored(self, record: TurnRecord) -> None:
        """A site has scored weights that all sites score."""
        self._name_metric(record.metrics)
        self._put(record, Judged.EVALUATED, self.metric)

    def evaluated(self, round: int, row: Mapping[str, Score]) -> None:
        """All that sites say of a round's weights is known."""
        if not self._is_evaluated:
            return
        if self._of is Of.WORST:
            value = scores.worst_value((each.value for each in row.values()), mode=self.mode)
        else:
            value = scores.mean(row)
        if value is not None:
            self.judged[round] = value

    def of(self, site: str) -> Mapping[Judged, Trend]:
        return self._sites.get(site, {})

    @property
    def kinds(self) -> tuple[Judged, ...]:
        """Those that any site has said."""
        seen = {kind for trends in self._sites.values() for kind in trends}
        return tuple(kind for kind in Judged if kind in seen)

    @property
    def judged_as(self) -> str:
        """What the numbers of rounds are, in words."""
        if self._is_evaluated:
            return f"{self.metric} by round, {self._of} of all sites"
        received = "received " if self.by.startswith(RECEIVED) else ""
        return f"{received}{self.metric} by round, mean of its turns"

    def badness(self, site: str) -> float:
        """The more the worse a site's newest score of what is judged here; -inf: none is known."""
        trends = self.of(site)
        for kind in reversed(Judged):
            if kind in trends:
                value = trends[kind].value
                return inf if not isfinite(value) else value if self.mode == MIN else -value
        return -inf

    def _name_metric(self, reported: Mapping[str, float]) -> None:
        if not self.metric:
            self.metric = self.by = metric_to_show(list(reported), None)
            if self.metric:
                self.mode = scores.mode_of(self.metric, CheckpointPolicy())

    def _put(self, record: TurnRecord, kind: Judged, name: str) -> None:
        if self.metric and name in record.metrics:
            trends = self._sites.setdefault(record.site, {})
            before = trends[kind].value if kind in trends else None
            trends[kind] = Trend(value=record.metrics[name], before=before)
