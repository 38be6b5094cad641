"""A chart as plotly.js draws it, and what is said beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from tasuki.observe.printable import shortened

JSON = dict[str, Any]  # Any: the library's JSON
MOST_NAME = 64
MOST_TICKS = 20
ROW = 15
"""The height of a row of a heat map or a timeline, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What is drawn, in words that need it not, and the numbers of both axes."""

    title: str
    caption: str
    traces: Sequence[JSON]
    layout: JSON = field(default_factory=dict)

    @property
    def json(self) -> JSON:
        return {"data": list(self.traces), "layout": {"height": 380, **self.layout}}


def said(text: str) -> str:
    """Words of others in a chart: its texts are a kind of HTML, or mathematics between dollars."""
    return escape(shortened(text, MOST_NAME), quote=False).replace("$", "&#36;")


def digits(values: Iterable[float | None]) -> list[float | None]:
    """As many as a chart can show: the file stays small."""
    return [None if value is None else float(f"{value:.5g}") for value in values]


def round_axis(rounds: Iterable[int]) -> JSON:
    """Rounds, which are whole numbers."""
    there = list(rounds)
    least, most = min(there), max(there)
    edge = max(0.5, (most - least) / 50)  # marks at either end are whole
    span = [least - edge, most + edge]
    axis: JSON = {"title": {"text": "round"}, "tickformat": "d", "range": span}
    return {**axis, "dtick": 1} if most - least < MOST_TICKS else axis


def rows_high(count: int) -> int:
    """The height of a chart with so many rows."""
    return max(220, 90 + ROW * count)


def of_which(metric: str, split: str | None) -> str:
    """A kind of scores in words, as a heading."""
    if split is None:
        return f"{metric}, rolling scores"
    return f"{metric}, evaluated on {split}" if split else f"{metric}, evaluated"
