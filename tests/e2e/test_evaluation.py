"""All sites score what a round ends with: numbers, best round and end are those of a plain loop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.judged import JUDGE, evaluate, is_as_judged, scoring, stop
from support.plain import judged_loop, plain_loop
from support.simulation import command, environment, simulate, tasuki, write_run
from support.waiting import wait_until
from tasuki import errors

ROUND = ["site-2", "site-1", "site-3"]
FIXED = '["site-2", "site-1", "site-3"]'
SITES = ["site-1", "site-2", "site-3"]

HOLDS_TWO = 'stamps = 1\nhold_scores = { site-1 = "go", site-2 = "go" }'


def written(
    folder: Path, *tables: str, judge: str = JUDGE, **changes: Any
) -> Path:  # Any: settings
    """A run file with these tables, whose sites score by themselves."""
    bottom = "\n".join([judge, *tables])
    return write_run(folder, **{"order": FIXED, "rounds": 6, "bottom": bottom, **changes})


def scores_of(folder: Path) -> dict[str, Any]:  # Any: JSON
    return tasuki("scores", "walk", "--data", folder / "data", "--json").last


@pytest.mark.parametrize(
    ("how", "every", "at_end", "of", "split"),
    [
        ("--one-process", 1, True, "mean", ""),
        ("--processes", 4, True, "worst", "test"),
        ("--one-process", 2, False, "mean", ""),
    ],
)
def test_scores_and_the_best_round_are_those_of_a_plain_loop(
    tmp_path: Path, how: str, every: int, at_end: bool, of: str, split: str
) -> None:
    table = evaluate(every_n_rounds=every, at_end=at_end, of=of, split=split)
    ended = simulate(written(tmp_path, table), how)
    assert ended.code == 0, ended.err
    settings = {"every": every, "at_end": at_end, "of": of, "split": split}
    judged = judged_loop([ROUND] * 6, SITES, **settings)  # type: ignore[arg-type]
    is_as_judged(ended.last, scores_of(tmp_path), judged, of=of)
    assert plain_loop([ROUND] * 6) == judged.digest
    data: list[str | Path] = ["--data", tmp_path / "data", "--json"]
    exported = tasuki("export", "walk", "-o", tmp_path / "m.safetensors", *data)
    assert judged.best is not None
    assert judged.best[0] == exported.last["round"]
    assert tasuki("ledger", "walk", "--verify", "--data", tmp_path / "data").code == 0


def test_sites_that_share_two_processes_score_at_once_each_where_it_trains(tmp_path: Path) -> None:
    """Neither can score before the other has begun to."""
    judge = f"{JUDGE}\nprocesses = 2"
    run = written(
        tmp_path,
        evaluate(every_n_rounds=1),
        judge=judge,
        params=HOLDS_TWO,
        rounds=2,
        sites=2,
        order='"fixed"',
    )
    words = command("simulate", run, "--data", tmp_path / "data", "--json")
    simulated = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        for site in ("site-1", "site-2"):
            wait_until(partial(scoring, tmp_path, "walk", site), what=f"{site} scores", within_s=60)
        (tmp_path / "go").touch()
        told, _ = simulated.communicate(timeout=60)
    finally:
        simulated.kill()
    is_as_judged(
        json.loads(told.splitlines()[-1]),
        scores_of(tmp_path),
        judged_loop([["site-1", "site-2"]] * 2, ["site-1", "site-2"]),
        of="mean",
    )
    stamps = map(json.loads, (tmp_path / "stamps").read_text().splitlines())
    assert 2 == len({(stamp["site"], stamp["pid"]) for stamp in stamps})


def test_the_random_order_of_a_run_that_evaluates_is_that_of_one_that_does_not(
    tmp_path: Path,
) -> None:
    digests = set()
    for name, tables in (("with", [evaluate(every_n_rounds=1)]), ("without", [])):
        folder = tmp_path / name
        folder.mkdir()
        order = '"random_without_same_in_a_row"'
        ended = simulate(written(folder, *tables, order=order, flag=folder), "--one-process")
        digests.add(ended.last["digest"])
    assert 1 == len(digests)


@pytest.mark.parametrize(
    ("of", "settings"),
    [
        ("mean", {"patience": 2, "min_delta": 0.01}),
        ("worst", {"patience": 1}),
        ("mean", {"target": 0.81}),
    ],
)
def test_a_run_has_enough_where_a_plain_loop_has(
    tmp_path: Path, of: str, settings: dict[str, Any]
) -> None:
    tables = [evaluate(every_n_rounds=1, of=of), stop(metric="accuracy", **settings)]
    run = written(tmp_path, *tables, rounds=12)
    ended = simulate(run, "--one-process")
    assert ended.code == 0, ended.err
    judged = judged_loop([ROUND] * 12, SITES, of=of, **settings)
    assert judged.rounds < 12
    is_as_judged(ended.last, scores_of(tmp_path), judged, of=of)
    assert "finished" == ended.last["status"]
    assert ended.last["reason"].startswith(f"enough: {of} of accuracy by evaluation (3 of 3 sites)")
    rows = tasuki("ledger", "walk", "--data", tmp_path / "data", "--json").last["rows"]
    assert any(ended.last["reason"] in led for led in rows[-1]["led_to"]), rows[-1]
    shown = tasuki("simulate", run, "--resume", "--data", tmp_path / "data")
    assert shown.code == 0
    assert ended.last["reason"] in shown.out


def test_a_run_without_evaluation_has_enough_by_its_turns(tmp_path: Path) -> None:
    """The test trainer says as accuracy how many turns the weights have had: 1 2 3, 4 5 6."""
    run = written(tmp_path, stop(metric="accuracy", target=5.0), rounds=4)
    ended = simulate(run, "--one-process")
    assert (0, 2) == (ended.code, ended.last["rounds"])
    said = "enough: mean of accuracy by the round's turns is 5, the target 5 is reached"
    assert said == ended.last["reason"]
    assert plain_loop([ROUND] * 2) == ended.last["digest"]


def test_a_run_whose_hours_are_over_ends_with_its_round(tmp_path: Path) -> None:
    ended = simulate(written(tmp_path, evaluate(), stop(hours=1e-9)), "--one-process")
    assert (0, 1) == (ended.code, ended.last["rounds"])
    assert "enough: its 1e-09 hours are over" == ended.last["reason"]
    assert [1] == [each["round"] for each in scores_of(tmp_path)["evaluations"]]


@pytest.mark.parametrize("how", ["--one-process", "--processes"])
def test_a_simulation_killed_while_its_sites_score_goes_on(tmp_path: Path, how: str) -> None:
    params = 'stamps = 1\nhold_scores = { site-3 = "go" }'
    run = written(tmp_path, evaluate(every_n_rounds=1), params=params, rounds=3)
    words = command("simulate", run, "--data", tmp_path / "data", "--json", how)
    first = subprocess.Popen(words, env=environment(), stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: scoring(tmp_path, "walk", "site-3"), what="site-3 scores", within_s=60)
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    (tmp_path / "go").touch()
    ended = simulate(run, "--resume", how)
    assert ended.code == 0, ended.err
    judged = judged_loop([ROUND] * 3, SITES)
    is_as_judged(ended.last, scores_of(tmp_path), judged, of="mean")


def test_a_site_that_fails_is_left_out_and_the_others_count(tmp_path: Path) -> None:
    run = written(tmp_path, evaluate(every_n_rounds=1), params='broken = "site-1"', rounds=2)
    ended = simulate(run, "--one-process")
    assert ended.code == 0, ended.err
    judged = judged_loop([ROUND] * 2, ["site-2", "site-3"])
    scores = scores_of(tmp_path)
    is_as_judged(ended.last, scores, judged, of="mean")
    for each in scores["evaluations"]:
        (left_out,) = each["left_out"]
        assert ("site-1", "TrainerRaised") == (left_out["site"], left_out["reason"])
        assert "site-1 has no data to judge by" in left_out["detail"]
    shown = tasuki("scores", "walk", "--data", tmp_path / "data").out
    assert "no score of round 1, 2 by site-1: TrainerRaised" in shown
    assert "site-1 has no data to judge by" in shown


def test_what_an_evaluation_does_to_its_weights_is_done_to_no_others(tmp_path: Path) -> None:
    run = written(
        tmp_path, evaluate(every_n_rounds=1), judge='evaluate = "walk:judge_in_place"', rounds=2
    )
    ended = simulate(run, "--one-process")
    is_as_judged(ended.last, scores_of(tmp_path), judged_loop([ROUND] * 2, SITES), of="mean")


# What is wrong with an evaluation.


@pytest.mark.parametrize(
    ("function", "error", "said"),
    [
        ("judge_nan", "TrainerError", "the score 'accuracy' is nan"),
        ("judge_by_training", "TrainerError", "evaluate returned weights"),
        ("judge", "TrainerRaised", "there is no split 'validation' at site-"),
    ],
)
def test_what_is_no_score_leaves_its_site_out_and_the_run_says_that_nobody_scored(
    tmp_path: Path, function: str, error: str, said: str
) -> None:
    judge, split = f'evaluate = "walk:{function}"', "validation" if function == "judge" else ""
    run = written(tmp_path, evaluate(every_n_rounds=1, split=split), judge=judge, rounds=1)
    ended = simulate(run, "--one-process")
    assert ended.code == errors.NoScores.exit_code, ended.err
    assert ("finished", "accuracy") == (ended.last["status"], ended.last["unjudged"])
    assert "no site has scored by accuracy" in ended.last["reason"]
    (evaluation,) = scores_of(tmp_path)["evaluations"]
    assert SITES == sorted(each["site"] for each in evaluation["left_out"])
    for each in evaluation["left_out"]:
        assert said in each["detail"], each
        assert error == each["reason"], each


def test_a_metric_that_no_site_scores_by_is_named(tmp_path: Path) -> None:
    run = written(tmp_path, evaluate(every_n_rounds=1), rounds=1)
    run.write_text(run.read_text().replace('best = "accuracy"', 'best = "dice"'))
    ended = simulate(run, "--one-process")
    assert ended.code == errors.NoScores.exit_code, ended.err
    assert ("finished", "dice") == (ended.last["status"], ended.last["unjudged"])
    (evaluation,) = scores_of(tmp_path)["evaluations"]
    assert all("has no score 'dice'" in each["detail"] for each in evaluation["left_out"])
    shown = tasuki("simulate", run, "--resume", "--data", tmp_path / "data")
    assert errors.NoScores.exit_code == shown.code
    assert "no site has scored by dice" in shown.out


def test_patience_without_a_metric_is_refused_before_anything_starts(tmp_path: Path) -> None:
    ended = simulate(written(tmp_path, stop(patience=2)))
    assert ended.code == errors.SettingsError.exit_code
    assert "patience is of a metric: name it" in ended.err
    assert not (tmp_path / "data" / "runs").exists()


def test_the_sites_of_a_simulation_that_is_over_are_asked_again(tmp_path: Path) -> None:
    run = written(tmp_path, rounds=2)
    assert simulate(run).code == 0
    data: list[str | Path] = ["--data", tmp_path / "data"]
    judged = judged_loop([ROUND] * 2, SITES, every=1, at_end=True, of="mean", split="test")
    asked = tasuki("evaluate", "walk", "--weights", "round-1", "--split", "test", *data, "--json")
    assert asked.code == 0, asked.err
    (table,) = asked.last["evaluated"]
    (row,) = table["rows"]
    assert ("test", 1, judged.mean[1]) == (table["split"], row["round"], row["mean"])
    exported = tmp_path / "m.safetensors"
    assert tasuki("export", "walk", "-o", exported, *data).code == 0
    run.rename(tmp_path / "moved.toml")
    unknown = tasuki("evaluate", "walk", *data)
    assert errors.SettingsError.exit_code == unknown.code
    assert "--run-file" in unknown.err
    data += ["--weights", exported, "--run-file", tmp_path / "moved.toml", "--split", "test"]
    again = tasuki("evaluate", "walk", *data, "--json")
    assert again.code == 0, again.err
    assert (None, judged.mean[2]) == (
        again.last["evaluations"][0]["round"],
        again.last["evaluated"][0]["rows"][0]["mean"],
    )
