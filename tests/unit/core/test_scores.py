"""What is made of scores equals what a plain loop makes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.runs import turn
from tasuki.core import scores
from tasuki.core.model import CheckpointPolicy
from tasuki.core.scores import MAX, MIN, Score

MODES = st.sampled_from([MAX, MIN])
SITES = ("a", "b", "c", "d")
ROWS = st.dictionaries(
    st.sampled_from(SITES),
    st.builds(Score, value=st.floats(), samples=st.integers(0, 1000)),
    max_size=4,
)
SERIES = st.lists(st.floats(-1e6, 1e6), max_size=12)
NUMBERS = st.floats(-1e6, 1e6)


def same(expected: float | None, actual: float | None) -> bool:
    if expected is None or actual is None:
        return expected is actual
    return expected == actual or (math.isnan(expected) and math.isnan(actual))


# Over sites.


@given(ROWS)
def test_the_mean_is_that_of_a_plain_loop(row: Mapping[str, Score]) -> None:
    total: float = 0.0
    count = 0
    for score in row.values():
        total += score.samples * score.value
        count += score.samples
    if row and count == 0:
        total = 0.0
        for score in row.values():
            total += score.value
            count += 1
    assert same(total / count if row else None, scores.mean(row))


@given(ROWS, MODES)
def test_the_worst_site_is_that_of_a_plain_loop(row: Mapping[str, Score], mode: str) -> None:
    found: str | None = None
    for site in sorted(row):
        value = row[site].value
        if found is None:
            found = site
        elif math.isnan(row[found].value):
            continue
        elif math.isnan(value) or (
            value < row[found].value if mode == MAX else value > row[found].value
        ):
            found = site
    assert found == scores.worst(row, mode=mode)


@given(ROWS)
def test_the_spread_is_that_of_a_plain_loop(row: Mapping[str, Score]) -> None:
    values = [score.value for score in row.values() if not math.isnan(score.value)]
    expected: float | None = None
    if len(values) < len(row):
        expected = math.nan
    elif values:
        least = most = values[0]
        for value in values:
            least, most = min(least, value), max(most, value)
        expected = most - least
    assert same(expected, scores.spread(row))


@given(ROWS, ROWS, MODES)
def test_forgetting_is_what_is_worse_now_than_right_after_the_own_turn(
    after: Mapping[str, Score], now: Mapping[str, Score], mode: str
) -> None:
    found = scores.forgetting(after, now, mode=mode)
    for site in SITES:
        assert (site in found) == (site in after and site in now)
        if site in found:
            then, today = after[site].value, now[site].value
            assert same(then - today if mode == MAX else today - then, found[site])


def test_without_samples_every_site_counts_alike() -> None:
    row = {"a": Score(value=1.0), "b": Score(value=0.5)}
    assert 0.75 == scores.mean(row)
    weighted = {"a": Score(value=1.0, samples=3), "b": Score(value=0.5, samples=1)}
    assert 0.875 == scores.mean(weighted)


def test_a_score_that_is_no_number_is_not_left_out() -> None:
    row = {"a": Score(value=0.9), "b": Score(value=math.nan), "c": Score(value=0.1)}
    assert math.isnan(scores.mean(row) or 0.0)
    assert math.isnan(scores.spread(row) or 0.0)
    assert ["b", "b"] == [scores.worst(row, mode=mode) for mode in (MAX, MIN)]


def test_of_nobody_nothing_is_said() -> None:
    assert (None, None, None) == (scores.mean({}), scores.worst({}, mode=MAX), scores.spread({}))


# Over rounds.


@given(SERIES, st.integers(1, 15))
def test_the_swing_is_the_standard_deviation_of_the_last_rounds(
    values: list[float], last: int
) -> None:
    newest = values[-last:]
    if len(newest) < 2:
        assert scores.swing(values, last=last) is None
        return
    middle, squares = 0.0, 0.0
    for value in newest:
        middle += value
    middle /= len(newest)
    for value in newest:
        squares += (value - middle) * (value - middle)
    assert math.sqrt(squares / len(newest)) == scores.swing(values, last=last)


def test_what_stays_as_it_is_does_not_swing() -> None:
    assert 0.0 == scores.swing([0.1, 0.9, 0.5, 0.5, 0.5], last=3)
    assert 1.0 == scores.swing([1.0, -1.0], last=5)


@given(SERIES, MODES)
def test_monotonicity_is_the_share_of_steps_that_did_not_get_worse(
    values: list[float], mode: str
) -> None:
    kept = 0
    for index in range(len(values) - 1):
        before, after = values[index], values[index + 1]
        kept += after >= before if mode == MAX else after <= before
    expected = kept / (len(values) - 1) if len(values) > 1 else None
    assert expected == scores.monotonicity(values, mode=mode)


def test_a_step_to_what_is_no_number_got_worse() -> None:
    assert [0.5, 0.5] == [
        scores.monotonicity([0.5, 0.5, math.nan], mode=mode) for mode in (MAX, MIN)
    ]


@pytest.mark.parametrize(
    ("metric", "mode"),
    [("accuracy", MAX), ("val_loss", MIN), ("Loss", MIN), ("val/mse", MIN), ("gloss", MAX)],
)
def test_whether_more_is_better_is_told_by_the_name(metric: str, mode: str) -> None:
    assert mode == scores.mode_of(metric, CheckpointPolicy(best="dice"))


@pytest.mark.parametrize("best", ["brier", "received_brier"])
def test_whether_more_is_better_is_as_the_run_says_of_its_own_metric(best: str) -> None:
    policy = CheckpointPolicy(best=best, best_mode=MIN)
    assert MIN == scores.mode_of("brier", policy)


# From the records of a run.


RUN = (
    turn("a", round=0, received_accuracy=0.1, accuracy=0.6, samples=10),
    turn("b", round=0, hop=1, received_accuracy=0.2, accuracy=0.7, samples=20),
    turn("b", round=1, samples=1, received_accuracy=0.65, accuracy=0.8),
    turn("a", round=1, hop=1, samples=1, received_accuracy=0.5, accuracy=0.9, loss=1.0),
)


def test_rolling_scores_are_what_each_site_said_of_what_it_received() -> None:
    assert ["accuracy"] == scores.rolling_metrics(RUN)
    assert {
        0: {"a": Score(value=0.1, samples=10), "b": Score(value=0.2, samples=20)},
        1: {"a": Score(value=0.5, samples=1), "b": Score(value=0.65, samples=1)},
    } == scores.rolling(RUN, "accuracy")


def test_what_was_forgotten_is_seen_from_the_own_turn_before() -> None:
    before, now = scores.own_turns_before(RUN, "accuracy"), scores.rolling(RUN, "accuracy")
    found = {round: scores.forgetting(before[round], now[round], mode=MAX) for round in now}
    assert {} == found[0]
    assert {"a": pytest.approx(0.1), "b": pytest.approx(0.05)} == found[1]


TURNS = st.lists(
    st.tuples(
        st.sampled_from(SITES),
        st.dictionaries(st.sampled_from(["received_accuracy", "accuracy"]), NUMBERS),
    ),
    max_size=15,
)


@given(TURNS, MODES)
def test_rolling_scores_and_forgetting_are_those_of_a_plain_loop(
    turns: list[tuple[str, dict[str, float]]], mode: str
) -> None:
    """Three turns a round, whoever has them."""
    records = [
        turn(site, round=n // 3, hop=n % 3, named=said) for n, (site, said) in enumerate(turns)
    ]
    table = scores.rolling(records, "accuracy")
    before = scores.own_turns_before(records, "accuracy")
    expected: dict[int, dict[str, float]] = {}
    forgotten: dict[int, dict[str, float]] = {}
    for index, (site, said) in enumerate(turns):
        is_last = all(other != site for other, _ in turns[index + 1 : (index // 3 + 1) * 3])
        if not is_last or "received_accuracy" not in said:
            continue
        now = said["received_accuracy"]
        expected.setdefault(index // 3, {})[site] = now
        own = [made for other, made in turns[:index] if other == site][-1:]
        if own and "accuracy" in own[0]:
            apart = own[0]["accuracy"] - now
            forgotten.setdefault(index // 3, {})[site] = apart if mode == MAX else -apart
    judged = {n: {site: score.value for site, score in row.items()} for n, row in table.items()}
    found = {n: scores.forgetting(before[n], row, mode=mode) for n, row in table.items()}
    assert expected == judged
    assert forgotten == {n: row for n, row in found.items() if row}


def test_of_a_site_that_has_two_turns_in_a_round_the_last_counts() -> None:
    again = turn("a", round=0, hop=2, received_accuracy=0.55, accuracy=0.65)
    records = (*RUN[:2], again)
    assert 0.55 == scores.rolling(records, "accuracy")[0]["a"].value
    assert 0.6 == scores.own_turns_before(records, "accuracy")[0]["a"].value


LANES = (
    turn("a", lane=0, samples=10, received_accuracy=0.2, accuracy=0.6),
    turn("b", lane=0, hop=1, samples=20, received_accuracy=0.3, accuracy=0.7),
    turn("b", lane=1, samples=20, received_accuracy=0.2, accuracy=0.5),
    turn("a", lane=1, hop=1, samples=30, received_accuracy=0.6, accuracy=0.8),
)
"""Both lanes visit both sites."""


def test_of_a_site_that_trains_in_several_lanes_the_mean_counts_weighted_by_samples() -> None:
    """Bug: those of the last lane alone were told, as if they were all of it."""
    row = scores.rolling(LANES, "accuracy")[0]
    assert Score(value=0.5, samples=40, lanes=2) == row["a"]
    assert Score(value=0.25, samples=40, lanes=2) == row["b"]
    own = scores.newest_own_turns(LANES, "accuracy", rounds=1)
    assert {"a": pytest.approx(0.75), "b": pytest.approx(0.6)} == {
        site: score.value for site, score in own.items()
    }


def test_what_was_forgotten_in_lanes_is_seen_from_the_round_before() -> None:
    """Bug: it was told from one lane to another, which has other weights."""
    later = [replace(each, id=replace(each.id, round=1)) for each in LANES]
    before = scores.own_turns_before([*LANES, *later], "accuracy")
    assert {} == before[0]
    assert scores.newest_own_turns(LANES, "accuracy", rounds=1) == before[1]


def test_a_lane_without_a_score_leaves_those_of_the_others() -> None:
    silent = turn("a", lane=2, hop=2, samples=50)
    assert scores.rolling(LANES, "accuracy") == scores.rolling((*LANES, silent), "accuracy")


def test_a_turn_that_did_not_judge_what_it_trained_leaves_nothing_to_compare_with() -> None:
    silent = turn("a", round=2, received_accuracy=0.7)
    later = turn("a", round=3, received_accuracy=0.7)
    found = scores.own_turns_before((*RUN, silent, later), "accuracy")
    assert (0.9, {}) == (found[2]["a"].value, found[3])


def test_each_round_has_the_means_that_choose_the_best() -> None:
    means = scores.round_means(RUN)
    assert pytest.approx((10 * 0.6 + 20 * 0.7) / 30) == means[0]["accuracy"]
