"""Turns and scores as tables: a DataFrame where pandas is installed, else a list of rows."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasuki_controller.documents import EvaluatedScores, RollingScores, Scores, TurnRow, TurnTable
from tasuki_controller.metric_names import metrics_of

Row = dict[str, Any]  # Any: as the column has it

BEFORE_METRICS = ("round", "lane", "turn", "site", "samples", "seconds")
AFTER_METRICS = ("unchanged", "skipped", "received", "sent")
SCORE_COLUMNS = (
    "by",
    "number",
    "round",
    "split",
    "metric",
    "site",
    "value",
    "samples",
    "forgotten",
    "lanes",
)


def as_table(rows: Sequence[Row], columns: Sequence[str]) -> Any:  # Any: pandas need not be there
    if importlib.util.find_spec("pandas") is None:
        return list(rows)
    import pandas

    return pandas.DataFrame(rows, columns=list(columns))


def turn_rows(table: TurnTable) -> tuple[list[Row], list[str]]:
    """A row for each turn, and the columns: metrics between how long it took and what became."""
    heads = {name: _head(name) for name in metrics_of(table)}
    columns = [*BEFORE_METRICS, *heads.values(), *AFTER_METRICS]
    return [_turn(turn, heads) for turn in table.turns], columns


def _head(metric: str) -> str:
    """A metric's column, unlike every other."""
    return f"{metric}_" if metric in {*BEFORE_METRICS, *AFTER_METRICS} else metric


def _turn(turn: TurnRow, heads: Mapping[str, str]) -> Row:
    row: Row = {name: getattr(turn, name) for name in (*BEFORE_METRICS, *AFTER_METRICS)}
    return row | {head: _number(turn.metrics, name) for name, head in heads.items()}


def _number(values: Mapping[str, float | None], name: str) -> float | None:
    if name not in values:
        return None
    value = values[name]
    return float("nan") if value is None else value


def score_rows(found: Scores) -> list[Row]:
    """A row for each score of a site."""
    evaluated = [row for each in found.evaluated for row in _evaluated(each)]
    return [*evaluated, *(row for each in found.rolling for row in _rolling(each))]


def _evaluated(scores: EvaluatedScores) -> Iterable[Row]:
    for row in scores.rows:
        of = {"by": "evaluation", "number": row.number, "round": row.round, "split": scores.split}
        for site in row.sites:
            yield {**of, "metric": scores.metric, **dict(site)}


def _rolling(scores: RollingScores) -> Iterable[Row]:
    for row in scores.rounds:
        of = {"by": "rolling", "number": None, "round": row.round, "split": ""}
        for site in row.sites:
            yield {**of, "metric": scores.metric, **dict(site)}
