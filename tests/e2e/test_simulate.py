"""`tasuki simulate` end to end: the same weights whatever happens on the way (P1, P2, P4, P8)."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from support.plain import plain_loop, plain_torch_loop
from support.simulation import command, environment, simulate, tasuki, write_run
from tasuki import errors
from tasuki.weights.digest import verify_digest

FIXED = '["site-2", "site-1", "site-3"]'
KILLS = 12  # at moments that each build draws anew


@pytest.mark.parametrize("how", ["--one-process", "--processes"])
def test_the_final_weights_are_those_of_a_plain_loop(tmp_path: Path, how: str) -> None:
    ended = simulate(write_run(tmp_path, order=FIXED), how)
    assert ended.code == 0, ended.err
    assert ended.last["status"] == "finished"
    assert ended.last["digest"] == plain_loop([["site-2", "site-1", "site-3"]] * 3)


@pytest.mark.parametrize("how", ["--one-process", "--processes"])
def test_a_network_trained_with_torch_is_that_of_a_plain_loop_too(tmp_path: Path, how: str) -> None:
    run = write_run(tmp_path, order=FIXED, rounds=2, initial="sgd:net")
    run.write_text(run.read_text().replace("walk:train", "sgd:train"))
    ended = simulate(run, how)
    assert ended.code == 0, ended.err
    assert ended.last["digest"] == plain_torch_loop([["site-2", "site-1", "site-3"]] * 2)


def test_a_client_api_script_runs_with_only_its_import_changed(tmp_path: Path) -> None:
    run = write_run(tmp_path, order=FIXED, rounds=2, initial="client_api:make")
    run.write_text(run.read_text().replace("walk:train", "client_api.py"))
    ended = simulate(run)
    assert ended.code == 0, ended.err
    assert ended.last["turns"] == 6
    assert "site-1: round 1 of 2" in ended.err


@pytest.mark.parametrize("order", ["fixed", "random", "random_without_same_in_a_row"])
def test_a_run_gives_the_same_weights_twice_and_in_either_kind_of_process(
    tmp_path: Path, order: str
) -> None:
    run = write_run(tmp_path, order=f'"{order}"', rounds=2)
    digests = {
        tasuki("simulate", run, "--data", tmp_path / str(index), "--json", how).last["digest"]
        for index, how in enumerate(["--one-process", "--one-process", "--processes"])
    }
    assert len(digests) == 1


def test_one_site_alone_trains_when_it_is_allowed_to(tmp_path: Path) -> None:
    ended = simulate(write_run(tmp_path, sites=1, min_sites=1), "--one-process")
    assert ended.last["digest"] == plain_loop([["site-1"]] * 3)


def test_a_list_may_name_a_site_twice(tmp_path: Path) -> None:
    order = '["site-1", "site-2", "site-1"]'
    ended = simulate(write_run(tmp_path, order=order, rounds=2), "--one-process")
    assert ended.last["digest"] == plain_loop([["site-1", "site-2", "site-1"]] * 2)
    assert ended.last["turns"] == 6


@pytest.mark.parametrize("trainer", ["raise_once", "die_once"])
def test_a_trainer_that_fails_once_costs_nothing_but_time(tmp_path: Path, trainer: str) -> None:
    run = write_run(tmp_path, order=FIXED, trainer=trainer, attempts=2, rounds=1)
    ended = simulate(run, "--processes")
    assert ended.code == 0, ended.err
    assert ended.last["digest"] == plain_loop([["site-2", "site-1", "site-3"]])
    assert tasuki("ledger", "walk", "--verify", "--data", tmp_path / "data").code == 0


def test_a_mistake_in_a_trainer_is_not_tried_a_third_time(tmp_path: Path) -> None:
    run = write_run(tmp_path, order=FIXED, trainer="always_raise", attempts=9)
    ended = simulate(run, "--one-process")
    assert ended.code == errors.TrainerRaised.exit_code, ended.err
    assert ended.last["reason"].endswith("(the same failure twice: not tried again)")
    ledger = tasuki("ledger", "walk", "--json", "--data", tmp_path / "data").last["rows"]
    assert ["TurnFailed"] * 2 == [row["event"] for row in ledger if row["event"] == "TurnFailed"]


def test_a_trainer_that_dies_keeps_its_attempts(tmp_path: Path) -> None:
    run = write_run(tmp_path, order=FIXED, trainer="always_die", attempts=3)
    ended = simulate(run, "--processes")
    assert ended.code == errors.TrainerDied.exit_code, ended.err
    assert ended.last["reason"].endswith("(3 attempts)")


def test_a_turn_that_could_not_be_sent_on_ends_the_run_untrained(tmp_path: Path) -> None:
    run = write_run(tmp_path, order=FIXED, trainer="large_record", attempts=3, params="stamps = 1")
    ended = simulate(run, "--one-process")
    assert ended.code == errors.TurnTooLarge.exit_code, ended.err
    assert ended.last["reason"].startswith("site-3: the records of this round do not fit")
    assert ended.last["reason"].endswith("(another attempt cannot change that: not tried again)")
    assert ["site-2", "site-1"] == began(tmp_path)


def test_sites_that_no_round_has_room_for_are_named_if_they_are_skipped(tmp_path: Path) -> None:
    run = write_run(
        tmp_path,
        order=FIXED,
        trainer="large_record",
        attempts=3,
        rounds=2,
        params="stamps = 1",
        failure='on_silent = "skip"',
    )
    ended = simulate(run, "--one-process")
    assert ended.code == errors.SitesLeftOut.exit_code, ended.err
    assert ("finished", ["site-3"]) == (ended.last["status"], ended.last["left_out"])
    assert ["TurnTooLarge"] * 2 == [skip["reason"] for skip in ended.last["skips"]]
    assert ["site-2", "site-1"] * 2 == began(tmp_path)


def test_a_round_that_cannot_be_sent_is_refused_before_anything_starts(tmp_path: Path) -> None:
    ended = simulate(write_run(tmp_path), "--sites", "20000")
    assert ended.code == errors.TooManySites.exit_code
    assert "Have fewer sites" in ended.err
    assert not (tmp_path / "data" / "runs").exists()


def began(folder: Path) -> list[str]:
    """The sites that trained, turn by turn."""
    stamps = map(json.loads, (folder / "stamps").read_text().splitlines())
    return [stamp["site"] for stamp in stamps if stamp["what"] == "start"]


def test_a_skipped_site_shows_in_the_summary(tmp_path: Path) -> None:
    run = write_run(
        tmp_path, order=FIXED, trainer="raise_once", rounds=2, failure='on_silent = "skip"'
    )
    ended = simulate(run, "--one-process")
    assert ended.code == 0, ended.err
    assert ended.last["skipped"] == 1
    assert ended.last["turns"] == 5
    assert ended.last["left_out"] == []


def test_a_site_that_was_skipped_in_every_round_is_named_and_the_end_is_no_success(
    tmp_path: Path,
) -> None:
    run = write_run(
        tmp_path, order=FIXED, trainer="raise_once", rounds=1, failure='on_silent = "skip"'
    )
    ended = tasuki("simulate", run, "--data", tmp_path / "data", "--one-process")
    assert ended.code == errors.SitesLeftOut.exit_code, ended.err
    reason = "every round is done, and no turn of site-1 was accepted in any"
    assert f"reason: {reason}" in ended.out
    again = simulate(run, "--resume")
    assert (again.code, again.last["status"]) == (errors.SitesLeftOut.exit_code, "finished")
    assert (again.last["left_out"], again.last["reason"]) == (["site-1"], reason)
    assert reason in tasuki("runs", "--data", tmp_path / "data").out


@pytest.mark.timeout(600)
def test_a_simulation_killed_at_any_moment_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    seconds = simulate(write_run(whole, rounds=4, pause_s=0.04), "--one-process").last["wall_s"]
    expected = tasuki("runs", "--json", "--data", whole / "data").last["runs"][0]["digest"]
    seed = random.randrange(2**32)
    draws = random.Random(seed)
    for attempt in range(KILLS):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        run = write_run(folder, rounds=4, pause_s=0.04)
        how = "--one-process" if attempt % 4 else "--processes"
        kill_after(run, draws.uniform(0.3, (1.0 if attempt % 4 else 6.0) + seconds), how)
        ended = simulate(run, how, "--resume")
        assert ended.code == 0, ended.err
        assert ended.last["digest"] == expected
        verified = tasuki("ledger", "walk", "--verify", "--data", folder / "data")
        assert verified.code == 0, verified.err


def kill_after(run: Path, seconds: float, how: str) -> None:
    """kill -9 a simulation after so long, wherever it is then; its trainers end by themselves."""
    words = command("simulate", run, "--data", run.parent / "data", "--json", how)
    process = subprocess.Popen(
        words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path, rounds=1)
    first = simulate(run, "--one-process")
    again = simulate(run, "--one-process", "--resume")
    assert again.code == 0
    assert again.last["digest"] == first.last["digest"]


def test_a_run_is_exported_to_safetensors_and_to_pt(tmp_path: Path) -> None:
    simulate(write_run(tmp_path, rounds=1), "--one-process")
    for name in ("model.safetensors", "model.pt"):
        done = tasuki("export", "walk", "-o", tmp_path / name, "--data", tmp_path / "data")
        assert done.code == 0, done.err
        assert (tmp_path / name).stat().st_size > 8000


def test_without_a_terminal_each_turn_that_is_over_is_a_line(tmp_path: Path) -> None:
    """Bug: there was nothing before the final table."""
    ended = tasuki("simulate", write_run(tmp_path), "--data", tmp_path / "d", "--one-process")
    lines = [line for line in ended.out.splitlines() if "done in" in line]
    assert 9 == len(lines)
    assert "round 1 of 3 done in" in lines[0]
    assert "accuracy 1" in lines[0]


def test_it_ends_with_one_file_its_digest_and_what_it_is(tmp_path: Path) -> None:
    """Bug: the digest was the last weights', and the path below it the best ones'."""
    run = write_run(tmp_path, order=FIXED)
    run.write_text(
        run.read_text().replace('best = "accuracy"', 'best = "accuracy"\nbest_mode = "min"')
    )
    ended = tasuki("simulate", run, "--data", tmp_path / "data", "--one-process")
    *_, which, weights, digest = ended.out.splitlines()
    assert "these are the best, the end of round 1:" == which
    assert verify_digest(Path(weights.removeprefix("weights "))) == digest.removeprefix("digest ")


def test_a_simulation_goes_on_when_nobody_reads_it_any_more(tmp_path: Path) -> None:
    """Bug: `tasuki simulate | grep -m1 ...` ended the run with a traceback."""
    run = write_run(tmp_path, order=FIXED)
    words = command("simulate", run, "--data", tmp_path / "data", "--one-process")
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "done in" in process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert (0, "") == (process.returncode, said)
    (row,) = tasuki("runs", "--json", "--data", tmp_path / "data").last["runs"]
    assert row["digest"] == plain_loop([["site-2", "site-1", "site-3"]] * 3)


def test_the_weights_of_each_round_that_is_kept_can_be_exported(tmp_path: Path) -> None:
    run, data, out = write_run(tmp_path, order=FIXED), tmp_path / "data", tmp_path / "m.safetensors"
    simulate(run, "--one-process")
    for rounds in (1, 2, 3):
        ended = tasuki(
            "export", "walk", "--round", str(rounds), "-o", out, "--data", data, "--json"
        )
        expected = plain_loop([["site-2", "site-1", "site-3"]] * rounds)
        assert expected == ended.last["digest"] == verify_digest(out)
    ended = tasuki("export", "walk", "--round", "4", "-o", out, "--data", data)
    assert errors.UnknownRun.exit_code == ended.code
    assert "keeps no weights of round 4, only of 0, 1, 2, 3" in ended.err


@pytest.mark.parametrize(
    "words", [["export", "walk", "-o", "m.pt"], ["ledger", "walk", "--verify"]]
)
def test_checkpoints_that_were_deleted_are_said_to_be_gone(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: there were none yet, said export, and verify was content with none."""
    simulate(write_run(tmp_path), "--one-process")
    shutil.rmtree(tmp_path / "data/runs/walk")
    monkeypatch.chdir(tmp_path)
    ended = tasuki(*words, "--data", tmp_path / "data")
    assert errors.LedgerBroken.exit_code == ended.code
    assert "are gone from" in ended.err


def test_every_turn_is_on_record_whatever_checkpoints_are_kept(tmp_path: Path) -> None:
    """Bug: only `round-*.json` had metrics, and `keep` prunes those."""
    run, data = write_run(tmp_path, order=FIXED, trainer="judge_first"), tmp_path / "data"
    run.write_text(run.read_text().replace('best = "accuracy"', 'best = "accuracy"\nkeep = 1'))
    best = simulate(run, "--one-process").last["best_round"]
    chosen = {"round": 3, "metric": "accuracy", "mode": "max", "value": (14 + 8 + 27) / 6}
    assert {**chosen, "by": "rolling", "of": "mean", "sites": 0, "of_sites": 0} == best
    assert 1 == len(list((data / "runs/walk").glob("round-*.json")))
    assert "round-0003.safetensors" == (data / "runs/walk/best").readlink().name
    turns = tasuki("turns", "walk", "--data", data, "--json").last["turns"]
    assert [(n, n + 1) for n in range(9)] == [
        (turn["metrics"]["received_accuracy"], turn["metrics"]["accuracy"]) for turn in turns
    ]
    assert [turn["sent"] for turn in turns[:-1]] == [turn["received"] for turn in turns[1:]]
    written = tasuki("turns", "walk", "--data", data, "--csv").out
    rows = list(csv.DictReader(io.StringIO(written)))
    assert [str(float(n)) for n in range(1, 10)] == [row["accuracy"] for row in rows]
    tasuki("turns", "walk", "--data", data, "-o", tmp_path / "turns.csv")
    assert written == (tmp_path / "turns.csv").read_text()


def test_a_metric_that_no_site_sends_has_no_scores(tmp_path: Path) -> None:
    simulate(write_run(tmp_path, rounds=1), "--one-process")
    ended = tasuki("scores", "walk", "--data", tmp_path / "data", "--metric", "dice")
    assert errors.SettingsError.exit_code == ended.code
    assert "no site reports received_dice" in ended.err
    none = tasuki("scores", "walk", "--data", tmp_path / "data")
    assert (0, True) == (none.code, "report received_accuracy" in none.out)
