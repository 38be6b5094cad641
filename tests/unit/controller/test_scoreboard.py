"""What sites say of a run's weights, as a document."""

from __future__ import annotations

import math

import pytest

from support.archives import Archive
from support.runs import turn
from tasuki.core.model import TurnRecord
from tasuki.errors import SettingsError
from tasuki_controller.documents import RollingScores, SiteScore


def scored(*records: TurnRecord, mode: str | None = None) -> RollingScores:
    (found,) = Archive(*records).scores("r", metric="accuracy", mode=mode).rolling
    return found


RUN = (
    turn("a", samples=10, received_accuracy=0.1, accuracy=0.6),
    turn("b", samples=30, hop=1, received_accuracy=0.3, accuracy=0.7),
    turn("a", samples=10, round=1, received_accuracy=0.5, accuracy=0.9),
)


def test_a_round_has_what_each_site_said_and_what_that_makes() -> None:
    found = scored(*RUN)
    first, second = found.rounds
    assert (1, 2) == (first.round, second.round)
    assert SiteScore(site="a", value=0.1, samples=10, forgotten=None) == first.sites[0]
    assert pytest.approx(0.25) == first.mean
    assert (0.1, "a") == (first.worst, first.worst_site)
    assert pytest.approx(0.2) == first.spread
    assert pytest.approx(0.1) == second.sites[0].forgotten == found.forgotten
    assert (1.0, 5) == (found.monotonicity, found.swing_rounds)
    assert pytest.approx(0.125) == found.swing


def test_where_less_is_better_the_highest_is_the_worst() -> None:
    found = scored(*RUN, mode="min")
    assert ("min", "b") == (found.mode, found.rounds[0].worst_site)
    assert pytest.approx(-0.1) == found.forgotten


def test_what_is_no_number_is_null_and_not_left_out() -> None:
    (only,) = scored(turn("a", received_accuracy=math.nan), turn("b", received_accuracy=1.0)).rounds
    assert (None, None, None, "a") == (only.mean, only.worst, only.spread, only.worst_site)
    assert [None, 1.0] == [each.value for each in only.sites]


@pytest.mark.parametrize("metric", ["dice", "received_dice"])
def test_a_metric_that_no_site_sends_is_an_error_with_its_name(metric: str) -> None:
    with pytest.raises(SettingsError, match=r"no site reports received_dice.*there is accuracy;"):
        Archive(*RUN).scores("r", metric=metric, mode=None)
    with pytest.raises(SettingsError, match="name it"):
        Archive(*RUN).scores("r", metric=None, mode="min")


def test_a_metric_may_be_asked_for_by_the_name_that_turns_have() -> None:
    (found,) = Archive(*RUN).scores("r", metric="received_accuracy", mode=None).rolling
    assert "accuracy" == found.metric


def test_a_run_in_which_nobody_judges_has_none() -> None:
    assert [] == Archive(turn(accuracy=0.5)).scores("r", metric=None, mode=None).rolling
