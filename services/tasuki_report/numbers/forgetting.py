"""What sites have forgotten, by each kind of scores; docs/scores.md has the formula."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tasuki_controller.documents import (
    EvaluatedRow,
    EvaluatedScores,
    RollingScores,
    Scores,
    SiteScore,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """By one metric.

    Attributes:
        split: as that of a matrix.
        sites: each one's newest, the most forgetful first.
        rounds: the mean over sites, all alike, by round.
    """

    metric: str
    mode: str
    split: str | None
    sites: Mapping[str, float]
    rounds: Mapping[int, float]
    mean: float | None
    swing: float | None
    swing_rounds: int
    monotonicity: float | None


def forgotten(scores: Scores) -> list[Forgotten]:
    """By evaluation first. One that nobody can tell of yet is left out."""
    evaluated = [
        _forgotten(each, each.split, [(row.round, row.sites) for row in _by_round(each)])
        for each in scores.evaluated
    ]
    rolling = [
        _forgotten(each, None, [(row.round, row.sites) for row in each.rounds])
        for each in scores.rolling
    ]
    return [each for each in (*evaluated, *rolling) if each.sites or each.swing is not None]


def _by_round(scores: EvaluatedScores) -> list[EvaluatedRow]:
    """In their order, the newest of a round last; a file's weights are of none."""
    of_rounds = [row for row in scores.rows if row.round is not None]
    return sorted(of_rounds, key=lambda row: (row.round, row.number))


def _forgotten(
    of: EvaluatedScores | RollingScores,
    split: str | None,
    rows: Iterable[tuple[int | None, list[SiteScore]]],
) -> Forgotten:
    newest: dict[str, float] = {}
    means: dict[int, float] = {}
    for number, scores in rows:
        there = {each.site: each.forgotten for each in scores if each.forgotten is not None}
        newest.update(there)
        if number is not None and there:
            means[number] = sum(there.values()) / len(there)
    return Forgotten(
        metric=of.metric,
        mode=of.mode,
        split=split,
        sites=dict(sorted(newest.items(), key=lambda found: (-found[1], found[0]))),
        rounds=means,
        mean=of.forgotten,
        swing=of.swing,
        swing_rounds=of.swing_rounds,
        monotonicity=of.monotonicity,
    )
