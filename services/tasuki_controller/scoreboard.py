"""The scoreboard: what sites say of a run's weights, as a document.

So far there are the rolling scores, which turns report beside what they trained: of the weights
that each site received. `docs/scores.md` says what they are good for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from tasuki.core.model import Plan, TurnRecord
from tasuki.core.scores import (
    RECEIVED,
    Row,
    Score,
    forgetting,
    mean,
    mode_of,
    monotonicity,
    own_turns_before,
    rolling,
    rolling_metrics,
    spread,
    swing,
    worst,
)
from tasuki.errors import SettingsError
from tasuki_controller.documents import RollingScores, ScoredRound, Scores, SiteScore

SWING_ROUNDS = 5
"""So many of the last rounds say how much a run swings."""


def scores_of(
    plan: Plan,
    records: Sequence[TurnRecord],
    *,
    metric: str | None = None,
    mode: str | None = None,
) -> Scores:
    """Of every metric, or of one; `mode`: max or min, where the name tells the wrong one.

    Raises:
        SettingsError: no site says anything by this metric, or there is a mode and no metric.
    """
    if mode is not None and metric is None:
        raise SettingsError("max or min is said of one metric: name it, as in --metric accuracy")
    found = rolling_metrics(records)
    if metric is not None:
        found = [_known(metric, found)]
    tables = [_rolling(records, name, mode or mode_of(name, plan.checkpoint)) for name in found]
    return Scores(run=plan.run, best=plan.checkpoint.best, rolling=tables)


def _known(metric: str, found: Sequence[str]) -> str:
    name = metric if metric in found else metric.removeprefix(RECEIVED)
    if name not in found:
        there = ", ".join(found) or "none"
        raise SettingsError(
            f"no site reports {RECEIVED}{name}, by which it would judge the weights that it "
            f"receives: there is {there}; docs/scores.md says how a trainer reports one"
        )
    return name


def _rolling(records: Sequence[TurnRecord], metric: str, mode: str) -> RollingScores:
    before = own_turns_before(records, metric)
    table = rolling(records, metric)
    newest: dict[str, Score] = {}  # what each site had forgotten when it had its last turn
    rounds = []
    for number in sorted(table):
        forgot = forgetting(before[number], table[number], mode=mode)
        newest.update({site: Score(value=value) for site, value in forgot.items()})
        rounds.append(_round(number, table[number], forgot, mode=mode))
    means = [value for row in table.values() if (value := mean(row)) is not None]
    return RollingScores(
        metric=metric,
        mode=mode,
        rounds=rounds,
        forgotten=_number(mean(newest)),
        swing=_number(swing(means, last=SWING_ROUNDS)),
        swing_rounds=SWING_ROUNDS,
        monotonicity=monotonicity(means, mode=mode),
    )


def _round(number: int, row: Row, forgot: Mapping[str, float], *, mode: str) -> ScoredRound:
    worst_site = worst(row, mode=mode) or ""
    return ScoredRound(
        round=number + 1,
        sites=[_site(site, score, forgot.get(site)) for site, score in row.items()],
        mean=_number(mean(row)),
        worst=_number(row[worst_site].value),
        worst_site=worst_site,
        spread=_number(spread(row)),
    )


def _site(site: str, score: Score, forgotten: float | None) -> SiteScore:
    value = _number(score.value)
    return SiteScore(site=site, value=value, samples=score.samples, forgotten=_number(forgotten))


def _number(value: float | None) -> float | None:
    """JSON has no NaN: what is no number is null here and at a controller."""
    return value if value is not None and isfinite(value) else None
