"""Every turn of a run as CSV; docs/scores.md says what a field can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasuki_controller.documents import TurnRow, TurnTable
from tasuki_controller.metric_names import metrics_of
from tasuki_report.csv_text import NO_NUMBER, csv_text, foreign

HEAD = (
    "round",
    "lane",
    "turn",
    "site",
    "samples",
    "seconds",
    "unchanged",
    "skipped",
    "received",
    "sent",
)


def csv_of(table: TurnTable) -> str:
    """Every turn with every metric."""
    metrics = metrics_of(table)
    rows = (_fields(turn, metrics) for turn in table.turns)
    return csv_text([*HEAD, *_heads(metrics)], rows)


def _heads(metrics: Sequence[str]) -> list[str]:
    """A column's name for each metric, unlike every other column's."""
    taken = set(HEAD)
    heads = []
    for metric in metrics:
        head = foreign(metric)
        while head in taken:
            head += "_"
        taken.add(head)
        heads.append(head)
    return heads


def _fields(turn: TurnRow, metrics: Sequence[str]) -> list[object]:
    values = [_field(turn.metrics, metric) for metric in metrics]
    where = (turn.round, turn.lane, turn.turn, turn.site)
    if turn.skipped:
        return [*where, "", "", "", foreign(turn.skipped), "", "", *values]
    unchanged = "true" if turn.unchanged else "false"
    numbers = (turn.samples, turn.seconds)
    return [*where, *numbers, unchanged, "", turn.received, turn.sent, *values]


def _field(values: Mapping[str, float | None], metric: str) -> object:
    if metric not in values:
        return ""
    value = values[metric]
    return NO_NUMBER if value is None else value
