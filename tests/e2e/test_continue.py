"""What comes after a run's end: more rounds, another run from its weights, its removal."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.plain import plain_loop
from support.simulation import Outcome, command, environment, simulate, tasuki, write_run
from tasuki import errors
from tasuki.core.run import LeaseExpired, Status
from tasuki.weights.digest import verify_digest
from tasuki.wire.messages import encode
from tasuki_controller.data_folder import DataFolder

ORDER = ["site-2", "site-1", "site-3"]
FIXED = '["site-2", "site-1", "site-3"]'

Row = dict[str, Any]  # Any: JSON


def rows_of(run: Path, name: str = "walk") -> list[Row]:
    shown = tasuki("ledger", name, "--json", "--data", run.parent / "data")
    rows: list[Row] = shown.last["rows"]
    return rows


def renamed(run: Path, name: str, **changes: object) -> Path:
    """Another run of the same folder."""
    other = write_run(run.parent, **changes).rename(run.parent / f"{name}.toml")
    other.write_text(other.read_text().replace('name = "walk"', f'name = "{name}"'))
    write_run(run.parent)
    return other


# More rounds.


@pytest.mark.parametrize("order", ['"random_without_same_in_a_row"', FIXED])
def test_a_finished_simulation_goes_on_to_the_weights_of_one_that_had_the_rounds_from_the_start(
    tmp_path: Path, order: str
) -> None:
    (tmp_path / "whole").mkdir()
    whole = simulate(write_run(tmp_path / "whole", rounds=5, order=order), "--one-process")
    run = write_run(tmp_path, rounds=2, order=order)
    assert simulate(run, "--one-process").last["turns"] == 6
    more = simulate(run, "--one-process", "--resume", "--rounds", "5")
    assert (more.code, more.last["turns"], more.last["status"]) == (0, 15, "finished"), more.err
    assert more.last["digest"] == whole.last["digest"]
    (added,) = [row for row in rows_of(run) if row["event"] == "RoundsAdded"]
    assert added["what"] == "an operator asked for 5 rounds in all"
    verified = tasuki("ledger", "walk", "--verify", "--data", tmp_path / "data")
    assert (verified.code, "5 checkpoints" in verified.out) == (0, True), verified.err


def test_more_rounds_in_the_file_are_more_rounds_of_the_run(tmp_path: Path) -> None:
    """Friction: `rounds` was raised, and --resume said that it was another run."""
    simulate(write_run(tmp_path, rounds=1, order=FIXED), "--one-process")
    more = simulate(write_run(tmp_path, rounds=2, order=FIXED), "--one-process", "--resume")
    assert (more.code, more.last["digest"]) == (0, plain_loop([ORDER] * 2)), more.err


def test_a_file_that_knows_of_fewer_rounds_takes_none_back(tmp_path: Path) -> None:
    run = write_run(tmp_path, rounds=1, order=FIXED)
    assert simulate(run, "--one-process", "--rounds", "2").last["turns"] == 6
    again = simulate(run, "--one-process", "--resume")
    assert (again.code, again.last["turns"]) == (0, 6)
    fewer = simulate(run, "--one-process", "--resume", "--rounds", "1")
    assert fewer.code == errors.FewerRounds.exit_code
    assert "walk has 2 rounds already: 1 is fewer" in fewer.err


def test_a_simulation_that_is_killed_in_its_further_rounds_goes_on_with_them(
    tmp_path: Path,
) -> None:
    run = write_run(tmp_path, rounds=1, order=FIXED, pause_s=0.1)
    assert simulate(run, "--one-process").code == 0
    more = ("--one-process", "--resume", "--rounds", "4")
    words = command("simulate", run, "--data", tmp_path / "data", "--json", *more)
    process = subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stderr is not None
        next(line for line in process.stderr if "round 2" in line)
        process.kill()
    ended = simulate(run, "--one-process", "--resume")
    assert (ended.code, ended.last["digest"]) == (0, plain_loop([ORDER] * 4)), ended.err
    assert "goes on to 4 rounds" in ended.err


def test_a_simulation_that_waited_for_its_sites_goes_on_since_all_are_here(tmp_path: Path) -> None:
    """Bug: it paused again before its sites were heard of, and ended with 0 and half its turns."""
    failure = 'on_silent = "skip"'
    changes = {"rounds": 2, "order": FIXED, "failure": failure, "min_sites": 3, "pause_s": 0.2}
    run = write_run(tmp_path, **changes)
    words = command("simulate", run, "--data", tmp_path / "data", "--one-process", "--json")
    process = subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stderr is not None
        next(line for line in process.stderr if "round 1" in line)
        process.kill()
    data = DataFolder(tmp_path / "data")
    with closing(data.ledger()) as ledger:
        silent = LeaseExpired(id=data.runs()["walk"].lanes[0].relay.expected)
        ledger.append("walk", encode(silent), at=0.0)
    assert data.runs()["walk"].status is Status.PAUSED
    ended = simulate(run, "--one-process", "--resume")
    assert (ended.code, ended.last["digest"]) == (0, plain_loop([ORDER] * 2)), ended.err


KILLED_AS_IT_SAVES = """
import os, sys
from tasuki_cli.main import main
from tasuki_controller.checkpoints import Checkpoints
save = Checkpoints.save
def killed(self, source, content, policy):
    return os._exit(9) if content["round"] == 2 else save(self, source, content, policy)
Checkpoints.save = killed
sys.argv = ["tasuki", *sys.argv[1:]]
main()
"""


def test_a_simulation_that_is_killed_as_it_saves_its_last_weights_has_them_after_all(
    tmp_path: Path,
) -> None:
    """Bug: it was over, so that nothing was done, and the round before passed for its end."""
    run = write_run(tmp_path, rounds=2, order=FIXED)
    words = ["simulate", str(run), "--data", str(tmp_path / "data"), "--one-process"]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AS_IT_SAVES, *words], env=environment(), check=False
    )
    assert 9 == killed.returncode
    assert "finished" == rows_of(run)[-1]["led_to"][-1].partition(":")[0]
    ended = simulate(run, "--one-process", "--resume")
    assert (ended.code, ended.last["digest"]) == (0, plain_loop([ORDER] * 2)), ended.err
    copied = tasuki("export", "walk", "-o", tmp_path / "w.safetensors", "--data", tmp_path / "data")
    assert (0, ended.last["digest"]) == (copied.code, verify_digest(tmp_path / "w.safetensors"))


def test_a_failed_run_gets_no_more_rounds_and_its_weights_are_offered(tmp_path: Path) -> None:
    run = write_run(tmp_path, rounds=2, trainer="always_raise")
    assert simulate(run, "--one-process").code == errors.TrainerRaised.exit_code
    more = simulate(run, "--one-process", "--resume", "--rounds", "5")
    assert simulate(run, "--one-process", "--resume").last["status"] == "failed"
    assert more.code == errors.NotExtended.exit_code
    assert 'initial = "run:walk"' in more.err


# A run from the weights of another.


def test_a_run_that_begins_from_another_has_the_weights_of_both(tmp_path: Path) -> None:
    run = write_run(tmp_path, rounds=2, order=FIXED)
    first = simulate(run, "--one-process")
    rows = {}
    for number, which in enumerate(("run:walk", "run:walk/best", "run:walk/round-1")):
        other = renamed(run, f"other-{number}", rounds=1, order=FIXED, initial=which)
        assert simulate(other, "--one-process").code == 0
        rows[which] = rows_of(run, f"other-{number}")[0]["what"]
    assert rows["run:walk"].startswith("the run as it was submitted, from round 2 of walk, ")
    assert first.last["digest"].split(":")[1][:8] in rows["run:walk"]
    assert "from round 1 of walk" in rows["run:walk/round-1"]
    start = tmp_path / "start.safetensors"
    for name, kept in (("other-0", "0"), ("walk", "2")):
        words = ("export", name, "--round", kept, "-o", start, "--json")
        assert first.last["digest"] == tasuki(*words, "--data", tmp_path / "data").last["digest"]


MISSING = [
    ("run:wolk", errors.UnknownRun, "it has walk"),
    ("run:walk/round-1", errors.UnknownRun, "no weights of round 1, only of 2, 3"),
    ("run:walk/round-9", errors.UnknownRun, "no weights of round 9, only of 2, 3"),
    ("run:plain/best", errors.UnknownRun, "has chosen no best weights"),
    ("run:walk/last", errors.SettingsError, "/round-7"),
    ("run:walk/", errors.SettingsError, "/round-7"),
    ("run:Net", errors.SettingsError, "a module run.py with a factory needs another name"),
]


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    run = write_run(folder, bottom="", order=FIXED)
    run.write_text(run.read_text().replace('best = "accuracy"', "keep = 2"))
    assert simulate(run, "--one-process").code == 0
    run.write_text(run.read_text().replace('name = "walk"', 'name = "plain"'))
    assert simulate(run, "--one-process").code == 0
    return folder


@pytest.mark.parametrize(("initial", "error", "says"), MISSING)
def test_weights_of_a_run_that_are_not_there_are_answered_with_those_that_are(
    two_runs: Path, initial: str, error: type[errors.TasukiError], says: str
) -> None:
    other = renamed(two_runs / "run.toml", "other", initial=initial)
    ended = simulate(other, "--one-process")
    assert (ended.code, says in ended.err) == (error.exit_code, True), ended.err


def test_a_checkpoint_with_one_changed_byte_starts_no_run(tmp_path: Path) -> None:
    run = write_run(tmp_path, rounds=1)
    assert simulate(run, "--one-process").code == 0
    kept = tmp_path / "data/runs/walk/round-0001.safetensors"
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    ended = simulate(renamed(run, "other", initial="run:walk"), "--one-process")
    assert (ended.code, "round-0001" in ended.err) == (errors.LedgerBroken.exit_code, True)
    assert [row["run"] for row in listed(tmp_path)] == ["walk"]


# Removal.


def listed(folder: Path, *options: str) -> list[Row]:
    shown = tasuki("runs", *options, "--json", "--data", folder / "data")
    rows: list[Row] = shown.last["runs"]
    return rows


def remove(folder: Path, *options: str, run: str = "walk") -> Outcome:
    return tasuki("remove", run, *options, "--json", "--data", folder / "data")


def test_a_removed_run_leaves_its_rows_and_nothing_else(tmp_path: Path) -> None:
    run, data = write_run(tmp_path, rounds=2, initial="walk:make_large"), tmp_path / "data"
    simulate(run, "--one-process")
    rows = rows_of(run)
    removed = remove(tmp_path, "--yes")
    assert (removed.code, removed.last["removed"], removed.last["outcome"]) == (0, True, "")
    assert removed.last["freed"] > 3 * 2 * 2**20
    assert not (data / "runs/walk").exists()
    assert rows_of(run)[:-1] == rows
    assert rows_of(run)[-1]["what"] == "an operator removed it with its weights"
    verified = tasuki("ledger", "walk", "--verify", "--data", data)
    assert (verified.code, "its weights were removed" in verified.out) == (0, True), verified.err

    assert ([], ["walk"]) == (listed(tmp_path), [row["run"] for row in listed(tmp_path, "--all")])
    for options in ((), ("--resume",)):
        again = simulate(run, "--one-process", *options)
        assert (again.code, "its name is taken" in again.err) == (errors.RunExists.exit_code, True)
    gone = tasuki("export", "walk", "-o", tmp_path / "m.safetensors", "--data", data)
    assert gone.code == errors.WeightsRemoved.exit_code
    other = simulate(renamed(run, "other", initial="run:walk"), "--one-process")
    assert (other.code, "was removed" in other.err) == (errors.WeightsRemoved.exit_code, True)
    twice = remove(tmp_path, "--yes")
    assert (twice.code, twice.last["outcome"]) == (0, "removed_already")
    assert len(rows_of(run)) == len(rows) + 1


def test_nobody_is_asked_where_nobody_can_answer(tmp_path: Path) -> None:
    run = write_run(tmp_path, rounds=1)
    simulate(run, "--one-process")
    refused = remove(tmp_path)
    assert (refused.code, "--yes" in refused.err) == (errors.SettingsError.exit_code, True)
    assert remove(tmp_path, run="wolk").code == errors.UnknownRun.exit_code


def test_a_run_that_is_not_over_is_removed_only_if_it_is_to_end(tmp_path: Path) -> None:
    run = write_run(tmp_path, trainer="full_disk_once", attempts=3)
    assert simulate(run, "--processes").code == errors.DiskFull.exit_code
    refused = remove(tmp_path, "--yes")
    assert (refused.code, "--stop" in refused.err) == (errors.RunUnderWay.exit_code, True)
    assert remove(tmp_path, "--yes", "--stop").code == 0
    assert [row["event"] for row in rows_of(run)][-2:] == ["StopRequested", "RunRemoved"]


def test_what_another_run_began_from_stays_when_the_first_is_removed(tmp_path: Path) -> None:
    run = write_run(tmp_path, rounds=1, order=FIXED)
    digest = simulate(run, "--one-process").last["digest"]
    simulate(renamed(run, "other", rounds=1, order=FIXED, initial="run:walk"), "--one-process")
    assert remove(tmp_path, "--yes").code == 0
    words = ("export", "other", "--round", "0", "-o", tmp_path / "m.safetensors", "--json")
    assert tasuki(*words, "--data", tmp_path / "data").last["digest"] == digest


def test_a_folder_that_was_removed_by_hand_can_be_removed_as_it_should(tmp_path: Path) -> None:
    simulate(write_run(tmp_path, rounds=1), "--one-process")
    shutil.rmtree(tmp_path / "data/runs/walk")
    assert remove(tmp_path, "--yes").code == 0
    verified = tasuki("ledger", "walk", "--verify", "--data", tmp_path / "data")
    assert verified.code == 0, verified.err
