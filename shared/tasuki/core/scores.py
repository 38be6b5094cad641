"""What sites say of weights: means over sites, the worst, what is forgotten, which round was best.

A row of scores is what each site says by one metric; a table has a row for each round, or for each
weights that were judged. `docs/scores.md` has the formulas in words. Everywhere, a score that is no
number is not left out: what is made of it is no number either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isnan, nan, sqrt

from tasuki.core.model import CheckpointPolicy, EvaluatePolicy, StopPolicy, TurnRecord

Metrics = Mapping[str, float | None]

RECEIVED = "received_"
"""In front of a metric's name: it judges the weights that the turn received, before it trained."""

MAX, MIN = "max", "min"
"""Whether more of a metric is better, or less."""

_LESS_IS_BETTER = ("loss", "error", "err", "mae", "mse", "rmse", "perplexity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a site says of some weights by one metric, judged on so many samples.

    `lanes`: of so many models that are on their way it is the mean.
    """

    value: float
    samples: int = 0
    lanes: int = 1


Row = Mapping[str, Score]
"""By site."""


# Over sites: what a row says.


def mean(row: Row) -> float | None:
    """The mean over sites, weighted by their samples; equally if nobody has any.

    sum(n_i * a_i) / sum(n_i)
    """
    weights = [score.samples for score in row.values()]
    if sum(weights) <= 0:
        weights = [1] * len(row)
    products = (n * score.value for n, score in zip(weights, row.values(), strict=True))
    return _sum(products) / sum(weights) if row else None


def worst(row: Row, *, mode: str) -> str | None:
    """The site with the worst score, the first of equals by name; no number is worse than any.

    argmin_i a_i where more is better, argmax_i a_i where less is
    """

    return min(row, key=lambda site: (_goodness(row[site].value, mode), site), default=None)


def spread(row: Row) -> float | None:
    """How far apart the sites are.

    max_i a_i - min_i a_i
    """
    values = [score.value for score in row.values()]
    if not values:
        return None
    return nan if any(map(isnan, values)) else max(values) - min(values)


def forgetting(after: Row, now: Row, *, mode: str) -> dict[str, float]:
    """How much worse each site's score is than right after its own turn; below 0: better.

    after_i - now_i where more is better, now_i - after_i where less is; of sites that have both
    """
    sign = _sign(mode)
    return {
        site: sign * (after[site].value - score.value)
        for site, score in now.items()
        if site in after
    }


# Over rounds: what the rounds' means, or any other numbers in their order, say.


def swing(values: Sequence[float], *, last: int) -> float | None:
    """How much the last so many differ from each other; None of fewer than two.

    sqrt(sum((v_k - m)^2) / N) with m the mean of those N: their standard deviation
    """
    newest = values[-last:]
    if len(newest) < 2:
        return None
    middle = _sum(newest) / len(newest)
    return sqrt(_sum((value - middle) * (value - middle) for value in newest) / len(newest))


def monotonicity(values: Sequence[float], *, mode: str) -> float | None:
    """The share of steps from one to the next that did not get worse; None of fewer than two.

    |{k: v_(k+1) >= v_k}| / (N - 1) where more is better, with <= where less is
    """
    if len(values) < 2:
        return None
    sign = _sign(mode)
    kept = sum(sign * after >= sign * before for before, after in pairwise(values))
    return kept / (len(values) - 1)


def is_evaluated(metric: str, policy: EvaluatePolicy | None) -> bool:
    """Whether rounds are judged by what all sites say of their weights, or by their turns."""
    is_of_rounds = policy is not None and policy.every_n_rounds is not None
    return is_of_rounds and not metric.startswith(RECEIVED)


def worst_value(values: Iterable[float], *, mode: str) -> float | None:
    """The worst of some scores; no number is worse than any."""
    return min(values, key=lambda value: _goodness(value, mode), default=None)


def is_better(value: float, *, than: float | None, mode: str, by_more_than: float = 0.0) -> bool:
    """Whether it is, by more than that; anything is better than nothing."""
    return than is None or _sign(mode) * (value - than) > by_more_than


def mode_of(metric: str, policy: CheckpointPolicy, stop: StopPolicy | None = None) -> str:
    """Whether more or less is better: as the run says of its own metrics, else by the name."""
    if policy.best is not None and policy.best.removeprefix(RECEIVED) == metric:
        return policy.best_mode
    if stop is not None and stop.metric and stop.metric.removeprefix(RECEIVED) == metric:
        return stop.mode
    return MIN if lessens(metric) else MAX


def lessens(metric: str) -> bool:
    """Whether less of a metric is better, by its name."""
    words = metric.lower().replace("-", "_").replace("/", "_").replace(" ", "_").split("_")
    return any(word in _LESS_IS_BETTER for word in words)


def _goodness(value: float, mode: str) -> tuple[bool, float]:
    return not isnan(value), 0.0 if isnan(value) else _sign(mode) * value


def _sign(mode: str) -> int:
    return -1 if mode == MIN else 1


def _sum(values: Iterable[float]) -> float:
    """One after the other, as a plain loop does: from Python 3.12 on, `sum` rounds otherwise."""
    total = 0.0
    for value in values:
        total += value
    return total


# Rolling scores: what the turns themselves said.


def rolling_metrics(records: Iterable[TurnRecord]) -> list[str]:
    """The metrics by which a site judged weights that it received."""
    names = {name for record in records for name in record.metrics if name.startswith(RECEIVED)}
    return sorted(name.removeprefix(RECEIVED) for name in names if name != RECEIVED)


def over_lanes(scores: Iterable[Score | None]) -> Score | None:
    """What a site said in several lanes as one score: their mean, as `mean` makes it."""
    there = [score for score in scores if score is not None]
    if len(there) < 2:
        return there[0] if there else None
    value = mean({str(number): score for number, score in enumerate(there)})
    assert value is not None  # noqa: S101 - there are some
    samples = sum(score.samples for score in there)
    return Score(value=value, samples=samples, lanes=len(there))


def rolling(records: Iterable[TurnRecord], metric: str) -> dict[int, dict[str, Score]]:
    """By round, what each site said of the weights that it received: of different ones.

    Of a site that has several turns in a round, the last of each lane counts.
    """
    table: dict[int, dict[str, Score]] = {}
    for number, sites in _of_rounds(records, RECEIVED + metric).items():
        found = ((site, over_lanes(_newest(said))) for site, said in sites.items())
        if row := {site: score for site, score in found if score is not None}:
            table[number] = row
    return table


def own_turns_before(records: Iterable[TurnRecord], metric: str) -> dict[int, dict[str, Score]]:
    """By round, what each site said right after its own turns before those that count there."""
    table: dict[int, dict[str, Score]] = {}
    newest: dict[str, list[Score | None]] = {}
    for number, sites in _of_rounds(records, metric).items():
        table[number] = row = {}
        for site, said in sites.items():
            again = [turns[-2] for turns in said.values() if len(turns) > 1]
            before = over_lanes(again or newest.get(site, []))
            if before is not None:
                row[site] = before
            newest[site] = _newest(said)
    return table


def _of_rounds(
    records: Iterable[TurnRecord], name: str
) -> dict[int, dict[str, dict[int, list[Score | None]]]]:
    """By round, site and lane, what was said in each turn; sites in the order of their last."""
    rounds: dict[int, dict[str, dict[int, list[Score | None]]]] = {}
    for record in records:
        sites = rounds.setdefault(record.id.round, {})
        said = sites.pop(record.site, {})
        said.setdefault(record.id.lane, []).append(_said(record, name))
        sites[record.site] = said
    return rounds


def _newest(said: Mapping[int, Sequence[Score | None]]) -> list[Score | None]:
    """The last of each lane."""
    return [turns[-1] for turns in said.values()]


# What all sites say of the same weights.


def evaluated(scores: Iterable[TurnRecord], metric: str) -> dict[str, Score]:
    """What each site says of some weights, in the order in which they said it."""
    found = ((record.site, _said(record, metric)) for record in scores)
    return {site: score for site, score in found if score is not None}


def newest_own_turns(
    records: Iterable[TurnRecord], metric: str, *, rounds: int
) -> dict[str, Score]:
    """What each site said right after its newest turns in the first so many rounds."""
    newest: dict[str, Score | None] = {}
    for number, sites in _of_rounds(records, metric).items():
        if number < rounds:
            newest.update((site, over_lanes(_newest(said))) for site, said in sites.items())
    return {site: score for site, score in newest.items() if score is not None}


def _said(record: TurnRecord, name: str) -> Score | None:
    if name not in record.metrics:
        return None
    return Score(value=record.metrics[name], samples=record.samples)


# Which round was best.


def mean_metrics(records: tuple[TurnRecord, ...]) -> dict[str, float]:
    """Each metric's mean over a round's turns, weighted by their samples (equally if none)."""
    total = sum(record.samples for record in records)
    means = {}
    for name in sorted({name for record in records for name in record.metrics}):
        having = [record for record in records if name in record.metrics]
        weights = [record.samples if total else 1 for record in having]
        if sum(weights) > 0:
            values = [record.metrics[name] for record in having]
            products = (weight * value for weight, value in zip(weights, values, strict=True))
            means[name] = _sum(products) / sum(weights)
    return means


def round_means(records: Iterable[TurnRecord]) -> dict[int, dict[str, float]]:
    """`mean_metrics` of each round of these."""
    rounds: dict[int, list[TurnRecord]] = {}
    for record in records:
        rounds.setdefault(record.id.round, []).append(record)
    return {number: mean_metrics(tuple(turns)) for number, turns in rounds.items()}
