"""What `tasuki scores` shows."""

from __future__ import annotations

import json
import math

import pytest

from support.archives import Archive
from support.runs import turn
from tasuki_cli import scores
from tasuki_controller.documents import Scores

RUN = (
    turn("a", received_accuracy=0.1, accuracy=0.6),
    turn("b", hop=1, received_accuracy=0.3, accuracy=0.7),
    turn("b", round=1, received_accuracy=0.65, accuracy=0.8),
    turn("a", round=1, hop=1, received_accuracy=0.5, accuracy=0.9, received_loss=1.0),
)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def shown(
    archive: Archive,
    capsys: pytest.CaptureFixture[str],
    *,
    metric: str | None = None,
    mode: str | None = None,
) -> str:
    scores.show("r", archive, metric=metric, mode=mode, as_json=False)
    return capsys.readouterr().out


def test_each_round_has_its_sites_mean_worst_and_spread(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(Archive(*RUN), capsys)
    rows = [line.split() for line in said.splitlines()]
    assert ["1", "0.1000", "0.3000", "0.2000", "0.1000", "a", "0.2000"] in rows
    assert ["2", "0.5000", "0.6500", "0.5750", "0.5000", "a", "0.1500"] in rows
    assert "(a 0.1000, b 0.0500)" in " ".join(said.split())
    assert "monotonicity of the means: 1.0000" in said


def test_they_are_said_to_be_rolling_ones_which_judge_no_one_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = " ".join(shown(Archive(*RUN), capsys).split())
    assert "rolling scores of r by accuracy (more is better)" in said
    assert "different weights: no mean here judges one model" in said
    assert "--metric shows another: loss" in said


def test_a_site_that_trains_in_several_lanes_has_their_mean_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lanes = [
        turn("a", lane=0, samples=10, received_accuracy=0.2),
        turn("a", lane=1, samples=30, received_accuracy=0.6),
    ]
    said = " ".join(shown(Archive(*lanes), capsys).split())
    assert " 1 0.5000 0.5000 0.5000 a 0.0000 " in said
    assert "up to 2 lanes in a round: what it says is their mean, weighted by samples" in said
    assert "lanes" not in shown(Archive(*lanes[:1]), capsys)


def test_one_round_is_too_few_to_say_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert "swing of the last 1 means: -; monotonicity of the means: -" in shown(
        Archive(*RUN[:2]), capsys
    )


def test_another_metric_and_its_mode_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(Archive(*RUN), capsys, metric="loss")
    assert "by loss (less is better)" in said
    assert "by loss (more is better)" in shown(Archive(*RUN), capsys, metric="loss", mode="max")


def test_a_run_whose_trainers_judge_nothing_says_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = shown(Archive(turn(accuracy=0.5)), capsys)
    assert "report received_accuracy" in said
    assert "docs/scores.md" in said


def test_many_sites_leave_room_for_what_they_say_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    records = [turn(f"site-{n}", hop=n, received_accuracy=n / 50) for n in range(50)]
    said = shown(Archive(*records), capsys)
    assert max(map(len, said.splitlines())) <= 80
    assert "spread" in said
    assert "more sites; --json has all" in said


def test_what_is_no_number_is_shown_as_that(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(Archive(turn(received_accuracy=math.nan), turn("b", hop=1)), capsys)
    assert ["1", "NaN", "NaN", "NaN", "a", "NaN"] in [line.split() for line in said.splitlines()]


def test_a_metric_s_name_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    records = [turn(named={"received_\x1b[2J": 0.5, "received_accuracy": 0.5})]
    assert "\x1b" not in shown(Archive(*records), capsys)


def test_a_metric_that_is_called_received_twice_is_shown_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive = Archive(turn(received_received_dice=0.25))
    for metric in (None, "received_dice", "received_received_dice"):
        said = shown(archive, capsys, metric=metric)
        assert "0.2500" in said


def test_json_has_every_metric(capsys: pytest.CaptureFixture[str]) -> None:
    scores.show("r", Archive(*RUN), metric=None, mode=None, as_json=True)
    told = Scores.model_validate(json.loads(capsys.readouterr().out))
    assert ["accuracy", "loss"] == [each.metric for each in told.rolling]
    assert told == Archive(*RUN).scores("r", metric=None, mode=None)
