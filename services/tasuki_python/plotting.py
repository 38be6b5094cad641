"""A run's learning curve, where matplotlib is installed."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tasuki.core.scores import RECEIVED
from tasuki.errors import SettingsError
from tasuki.installed import command_for
from tasuki_controller.documents import Scores, TurnTable
from tasuki_controller.metric_names import metric_to_show, metrics_of

# Told apart by whoever is colour-blind: Okabe and Ito's.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKS = "os^Dv<>P"
MOST_NAMED = 40
"""Lines and points, beyond which a legend would hide them."""

Axes = Any  # Any: matplotlib need not be installed


def plot(table: TurnTable, scores: Scores, *, metric: str | None, axes: Axes | None) -> Axes:
    """What each site received (hollow) and trained, turn by turn; evaluations on top.

    Raises:
        SettingsError: matplotlib is missing, or no site reports this metric.
    """
    shown = _metric(table, scores, metric)
    axes = _axes() if axes is None else axes
    _plot_turns(axes, table, shown)
    for each in scores.evaluated:
        if each.metric == shown:
            label = f"evaluation {each.split}".rstrip()
            rounds = [row for row in each.rows if row.round is not None]
            at = [row.round for row in rounds]
            axes.plot(at, [row.mean for row in rounds], "k-", lw=2, label=f"{label}: mean")
            axes.plot(at, [row.worst for row in rounds], "k:", lw=2, label=f"{label}: worst")
    axes.set(title=table.run, xlabel="round", ylabel=shown)
    axes.locator_params(axis="x", integer=True)
    if len(axes.lines) <= MOST_NAMED:
        axes.legend()
    return axes


def _metric(table: TurnTable, scores: Scores, metric: str | None) -> str:
    names = [*metrics_of(table), *(each.metric for each in scores.evaluated)]
    shown = metric or metric_to_show(names, table.best)
    if not shown or not {shown, RECEIVED + shown} & set(names):
        there = ", ".join(sorted(set(names))) or "none"
        raise SettingsError(f"no site of {table.run} reports {metric or 'any metric'}: {there}")
    return shown


def _axes() -> Axes:
    try:
        from matplotlib import pyplot
    except ImportError as exc:
        raise SettingsError(f"plots need matplotlib: {command_for('notebook')}") from exc
    return pyplot.subplots()[1]


def _plot_turns(axes: Axes, table: TurnTable, metric: str) -> None:
    for index, (site, points) in enumerate(sorted(_points(table, metric).items())):
        colour, mark = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
        at, received, trained = zip(*points, strict=True)
        axes.plot(at, trained, marker=mark, color=colour, lw=1, label=site)
        axes.plot(at, received, marker=mark, color=colour, ls="", mfc="none")


def _points(
    table: TurnTable, metric: str
) -> dict[str, list[tuple[float, float | None, float | None]]]:
    """By site: when in the run, what it received, what it trained."""
    turns = max((turn.turn for turn in table.turns), default=1)
    points = defaultdict(list)
    for turn in table.turns:
        found = turn.metrics.get(RECEIVED + metric), turn.metrics.get(metric)
        points[turn.site].append((turn.round - 1 + turn.turn / turns, *found))
    return points
