"""A run's learning curve, where matplotlib is installed."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tasuki.core.scores import RECEIVED
from tasuki.errors import SettingsError
from tasuki.installed import command_for
from tasuki_controller.documents import EvaluatedScores, Scores, TurnTable
from tasuki_controller.metric_names import metric_to_show, metrics_of

# Told apart by whoever is colour-blind: Okabe and Ito's.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKS = "os^Dv<>P"
GREYS = ("0", "0.45")
"""Of splits that were evaluated."""

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
    for index, each in enumerate(each for each in scores.evaluated if each.metric == shown):
        _plot_evaluated(axes, each, grey=GREYS[index % len(GREYS)])
    if (best := scores.best_round) is not None and best.metric == shown:
        axes.axvline(best.round, color="0.7", lw=1, zorder=0, label=f"best: round {best.round}")
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


def _plot_evaluated(axes: Axes, scores: EvaluatedScores, *, grey: str) -> None:
    """Of a round that was evaluated twice, the newer; of no file, which is of no round."""
    by_round = {row.round: row for row in scores.rows if row.round is not None}
    at, label = sorted(by_round), f"evaluation {scores.split}".rstrip()
    for name, line in (("mean", "-"), ("worst", ":")):
        values = [getattr(by_round[round], name) for round in at]
        axes.plot(at, values, marker=".", ls=line, lw=2, color=grey, label=f"{label}: {name}")


def _points(
    table: TurnTable, metric: str
) -> dict[str, list[tuple[float, float | None, float | None]]]:
    """By site: when in the run, what it received, what it trained."""
    turns = max((turn.turn for turn in table.turns), default=1)
    points = defaultdict(list)
    # Of several lanes, the turns of one come before those of the next, be they later.
    for turn in sorted(table.turns, key=lambda turn: (turn.round, turn.turn)):
        found = turn.metrics.get(RECEIVED + metric), turn.metrics.get(metric)
        points[turn.site].append((turn.round - 1 + turn.turn / turns, *found))
    return points
