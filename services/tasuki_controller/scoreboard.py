"""The scoreboard: what sites say of a run's weights, as a document.

What all sites say of the same weights is one table, the rolling scores another, never mixed: those
come beside training, from each site of other weights. `docs/scores.md` says what each is good for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

from tasuki.core.model import Plan, TurnRecord
from tasuki.core.run import Evaluation, RunState
from tasuki.core.scores import (
    RECEIVED,
    Row,
    Score,
    evaluated,
    forgetting,
    mean,
    mode_of,
    monotonicity,
    newest_own_turns,
    own_turns_before,
    rolling,
    rolling_metrics,
    spread,
    swing,
    worst,
)
from tasuki.errors import SettingsError
from tasuki_controller import documents
from tasuki_controller.documents import (
    EvaluatedRow,
    EvaluatedScores,
    RollingScores,
    ScoredRound,
    Scores,
    SiteScore,
)

SWING_ROUNDS = 5
"""So many of the last rounds say how much a run swings."""


def scores_of(
    state: RunState,
    records: Sequence[TurnRecord],
    evaluations: Sequence[Evaluation],
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
    plan, of_turns, of_sites = state.plan, rolling_metrics(records), _metrics(evaluations)
    if metric is not None:
        name = _known(metric, of_turns, of_sites)
        of_turns, of_sites = _only(name, of_turns), _only(name, of_sites)

    def mode_for(name: str) -> str:
        return mode or mode_of(name, plan.checkpoint, plan.stop)

    return Scores(
        run=plan.run,
        best=plan.checkpoint.best,
        best_round=documents.best_of(state),
        evaluations=list(map(documents.evaluation, evaluations)),
        evaluated=[
            _evaluated(plan, records, evaluations, name, split, mode_for(name))
            for split in dict.fromkeys(each.asked.split for each in evaluations)
            for name in of_sites
            if any(name in score.metrics for score in _scores(evaluations, split))
        ],
        rolling=[_rolling(records, name, mode_for(name)) for name in of_turns],
    )


def _scores(evaluations: Iterable[Evaluation], split: str) -> Iterable[TurnRecord]:
    return (score for each in evaluations if each.asked.split == split for score in each.scores)


def _metrics(evaluations: Iterable[Evaluation]) -> list[str]:
    return sorted({name for each in evaluations for s in each.scores for name in s.metrics})


def _only(name: str, found: Sequence[str]) -> list[str]:
    return [name] if name in found else []


def _known(metric: str, of_turns: Sequence[str], of_sites: Sequence[str]) -> str:
    found = {*of_turns, *of_sites}
    name = metric if metric in found else metric.removeprefix(RECEIVED)
    if name not in found:
        there = ", ".join(sorted(found)) or "none"
        raise SettingsError(
            f"no site reports {RECEIVED}{name}, by which it would judge the weights that it "
            f"receives, nor has one scored by it: there is {there}; docs/scores.md says how a "
            "trainer reports one"
        )
    return name


# What all sites say of the same weights.


def _evaluated(
    plan: Plan,
    records: Sequence[TurnRecord],
    evaluations: Sequence[Evaluation],
    metric: str,
    split: str,
    mode: str,
) -> EvaluatedScores:
    rows: list[EvaluatedRow] = []
    of_rounds: dict[int, Row] = {}  # the newest row of each round's end
    forgot_in: dict[int, Mapping[str, float]] = {}
    for each in evaluations:
        row = evaluated(each.scores, metric)
        if each.asked.split != split or not row:
            continue
        after, forgot = each.asked.after, {}
        if after is not None:
            own = newest_own_turns(records, metric, rounds=after)
            forgot = forgetting(own, row, mode=mode)
            if each.is_over and not each.is_called_off:
                of_rounds[after], forgot_in[after] = row, forgot
        rows.append(_evaluated_row(each, row, forgot, mode=mode))
    by_round = (mean(of_rounds[number]) for number in sorted(of_rounds))
    means = [value for value in by_round if value is not None]
    newest = forgot_in[max(forgot_in)] if forgot_in else {}
    return EvaluatedScores(
        metric=metric,
        mode=mode,
        split=split,
        rows=rows,
        forgotten=_number(mean({site: Score(value=value) for site, value in newest.items()})),
        swing=_number(swing(means, last=SWING_ROUNDS)),
        swing_rounds=SWING_ROUNDS,
        monotonicity=monotonicity(means, mode=mode),
    )


def _evaluated_row(
    evaluation: Evaluation, row: Row, forgot: Mapping[str, float], *, mode: str
) -> EvaluatedRow:
    worst_site = worst(row, mode=mode) or ""
    return EvaluatedRow(
        number=evaluation.asked.number,
        round=evaluation.asked.after,
        sites=[
            _site(site, row[site], forgot.get(site)) for site in evaluation.sites if site in row
        ],
        mean=_number(mean(row)),
        worst=_number(row[worst_site].value),
        worst_site=worst_site,
        spread=_number(spread(row)),
    )


# What each site says of the weights that it received.


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
    return SiteScore(
        site=site,
        value=_number(score.value),
        samples=score.samples,
        forgotten=_number(forgotten),
        lanes=score.lanes,
    )


def _number(value: float | None) -> float | None:
    """JSON has no NaN: what is no number is null here and at a controller."""
    return value if value is not None and isfinite(value) else None
