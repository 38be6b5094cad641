"""Turns and scores as tables and as a plot, with pandas and matplotlib and without."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib import pyplot

from tasuki.errors import SettingsError
from tasuki_controller.documents import (
    EvaluatedRow,
    EvaluatedScores,
    Scores,
    SiteScore,
    TurnRow,
    TurnTable,
)
from tasuki_python.plotting import plot
from tasuki_python.tables import SCORE_COLUMNS, as_table, score_rows, turn_rows

TURNS = TurnTable(
    run="r",
    best="accuracy",
    turns=[
        TurnRow(
            round=1, turn=1, site="a", samples=4, seconds=1.0, metrics={"accuracy": 0.5, "site": 1}
        ),
        TurnRow(round=1, turn=2, site="b", skipped="silent"),
        TurnRow(
            round=2,
            turn=1,
            site="a",
            samples=4,
            seconds=1.0,
            metrics={"accuracy": None, "received_accuracy": 0.4},
        ),
    ],
)
A, B = (
    SiteScore(site=site, value=value, samples=2, forgotten=None)
    for site, value in (("a", 0.25), ("b", 0.75))
)
ROW = EvaluatedRow(
    number=1, round=1, sites=[A, B], mean=0.5, worst=0.25, worst_site="a", spread=0.25
)
EVALUATED = EvaluatedScores(
    metric="accuracy",
    mode="max",
    split="test",
    rows=[ROW, ROW.model_copy(update={"round": None})],
    forgotten=None,
    swing=None,
    swing_rounds=5,
    monotonicity=None,
)
SCORES = Scores(run="r", best="accuracy", evaluated=[EVALUATED], rolling=[])


@pytest.fixture(autouse=True)
def _no_window() -> Iterator[None]:
    mpl.use("agg")
    yield
    pyplot.close("all")


def test_turns_have_a_column_for_each_metric_and_none_of_another_name() -> None:
    table: Any = as_table(*turn_rows(TURNS))  # Any: pandas
    first = ["round", "lane", "turn", "site", "samples", "seconds"]
    last = ["unchanged", "skipped", "received", "sent"]
    assert [*first, "received_accuracy", "accuracy", "site_", *last] == list(table.columns)
    assert ["a", "b", "a"] == table["site"].tolist()
    assert 1 == table["site_"][0]


def test_a_number_that_is_none_is_nan_and_one_that_was_not_sent_is_missing() -> None:
    rows, _ = turn_rows(TURNS)
    assert [0.5, None] == [row["accuracy"] for row in rows[:2]]
    assert math.isnan(rows[2]["accuracy"])


def test_each_score_of_a_site_is_a_row() -> None:
    rows = score_rows(SCORES)
    assert set(SCORE_COLUMNS) == set(rows[0])
    found = [(row["by"], row["split"], row["round"], row["site"], row["value"]) for row in rows]
    assert [
        ("evaluation", "test", round, site, value)
        for round in (1, None)
        for site, value in (("a", 0.25), ("b", 0.75))
    ] == found


def test_without_pandas_tables_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    table = as_table(*turn_rows(TURNS))
    assert isinstance(table, list)
    assert "silent" == table[1]["skipped"]


def test_a_plot_has_what_was_received_trained_and_evaluated() -> None:
    axes = plot(TURNS, SCORES, metric=None, axes=None)
    assert ("r", "round", "accuracy") == (
        axes.get_title(),
        axes.get_xlabel(),
        axes.get_ylabel(),
    )
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert ["a", "b", "evaluation test: mean", "evaluation test: worst"] == labels
    own = pyplot.subplots()[1]
    assert own is plot(TURNS, SCORES, metric="site", axes=own)


def test_a_metric_that_nobody_reports_is_said_with_those_that_are_there() -> None:
    with pytest.raises(SettingsError, match=r"no site of r reports dice: accuracy, received_acc"):
        plot(TURNS, SCORES, metric="dice", axes=None)
    nothing = TurnTable(run="r", best=None, turns=[])
    with pytest.raises(SettingsError, match="no site of r reports any metric: none"):
        plot(nothing, Scores(run="r", best=None, rolling=[]), metric=None, axes=None)


def test_without_matplotlib_a_plot_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SettingsError, match=r"plots need matplotlib: .*notebook"):
        plot(TURNS, SCORES, metric=None, axes=None)
