"""Every bad input: its own message, its own exit code, and nothing is lost."""

from __future__ import annotations

import pickle
import resource
import sqlite3
import subprocess
from pathlib import Path

import pytest

from support.simulation import command, environment, simulate, tasuki, write_run
from tasuki import errors

SETTINGS = [
    ({"top": "this is = = not toml"}, errors.SettingsError, "line 7"),
    ({"top": "roundz = 3"}, errors.SettingsError, "did you mean 'rounds'"),
    ({"failure": "lease = 3"}, errors.SettingsError, "did you mean 'lease_s'"),
    ({"failure": "lease_s = inf"}, errors.SettingsError, "finite number"),
    ({"bottom": '[gate]\nnon_finite = "*.mask"'}, errors.SettingsError, "gate.non_finite"),
    ({"order": '"randon"'}, errors.SettingsError, "did you mean 'random'"),
    ({"order": '["site-1", "site-9"]'}, errors.UnknownSite, "'site-9'"),
    ({"sites": 0}, errors.SettingsError, "sites"),
    ({"sites": 1}, errors.TooFewSites, "min_sites = 1"),
    ({"best": "", "bottom": "[lanes]\ncount = 4"}, errors.TooFewSites, "4 lanes and 3 sites"),
    ({"bottom": '[lanes]\ncount = 2\ncover = "al"'}, errors.SettingsError, "did you mean 'all'"),
    ({"order": '[["site-1"], ["site-1"]]'}, errors.SettingsError, "'site-1' in lane 1 and in"),
    (
        {"best": "", "initial": "walk:make_complex", "bottom": "[lanes]\ncount = 2"},
        errors.WeightsError,
        "[weights] initial holds tensors whose type cannot be merged: 'phase' (C64)",
    ),
    ({"initial": "walk:nothing_there"}, errors.SettingsError, "nothing_there"),
    ({"initial": "missing.safetensors"}, errors.SettingsError, "there is no file"),
]


@pytest.mark.parametrize(("changes", "error", "says"), SETTINGS)
def test_wrong_settings_are_explained(
    tmp_path: Path, changes: dict[str, str], error: type[errors.TasukiError], says: str
) -> None:
    ended = simulate(write_run(tmp_path, **changes), "--one-process")
    assert ended.code == error.exit_code, ended.err
    assert says in ended.err


def test_a_missing_run_file_is_named(tmp_path: Path) -> None:
    ended = simulate(tmp_path / "none.toml")
    assert ended.code == errors.SettingsError.exit_code
    assert "none.toml" in ended.err


@pytest.mark.parametrize("trainer", ["no_such_module:train", "walk:no_such_function", "gone.py"])
def test_a_trainer_that_is_not_there_is_named(tmp_path: Path, trainer: str) -> None:
    run = write_run(tmp_path)
    run.write_text(run.read_text().replace("walk:train", trainer))
    ended = simulate(run)
    assert ended.code == errors.TrainerNotFound.exit_code, ended.err
    assert trainer.split(":")[-1].removesuffix(":train") in ended.err + ended.out or (
        "no_such_module" in ended.err
    )


@pytest.mark.parametrize(
    ("bottom", "says"),
    [
        ("", "module 'trains' has no function 'evaluate'; write `def evaluate(turn)"),
        (
            'evaluate = "walk:no_such"',
            "module 'walk' has no function 'no_such', which its settings",
        ),
    ],
)
def test_a_trainer_that_cannot_evaluate_is_refused_before_anything_starts(
    tmp_path: Path, bottom: str, says: str
) -> None:
    run = write_run(tmp_path, bottom=f"{bottom}\n[evaluate]")
    run.write_text(run.read_text().replace("walk:train", "trains:train"))
    (tmp_path / "trains.py").write_text("from walk import train")
    ended = simulate(run)
    assert ended.code == errors.CannotEvaluate.exit_code, ended.err
    assert says in " ".join(ended.err.split())
    assert not (tmp_path / "data").exists()


RESULTS = [
    ("always_raise", errors.TrainerRaised, "the scanner is on fire"),
    ("always_die", errors.TrainerDied, "SIGKILL"),
    ("nan", errors.NonFiniteWeights, "NaN"),
    ("infinite", errors.NonFiniteWeights, "Inf"),
    ("wrong_shape", errors.ManifestMismatch, "w"),
    ("wrong_dtype", errors.ManifestMismatch, "w"),
    ("missing_tensor", errors.ManifestMismatch, "n"),
    ("extra_tensor", errors.ManifestMismatch, "extra"),
    ("prefixed_names", errors.ManifestMismatch, "'_orig_mod.' in them, which torch.compile adds"),
    ("masked_array", errors.WeightsError, "'w' is a numpy.ma.MaskedArray"),
    ("list_of_metrics", errors.TrainerError, "accuracy is a list of 2, not a number"),
    ("half_a_step", errors.ManifestMismatch, "'n', which holds integers, has 0.5 in it"),
    ("no_metrics", errors.GateRejected, "accuracy"),
    ("nothing", errors.TrainerError, "NoneType"),
]


@pytest.mark.parametrize(("trainer", "error", "says"), RESULTS)
def test_a_bad_result_ends_the_run_with_its_reason_and_is_never_handed_on(
    tmp_path: Path, trainer: str, error: type[errors.TasukiError], says: str
) -> None:
    how = "--processes" if trainer == "always_die" else "--one-process"
    ended = simulate(write_run(tmp_path, trainer=trainer), how)
    assert ended.code == error.exit_code, ended.err
    assert ended.last["status"] == "failed"
    assert says in ended.last["reason"]
    assert ended.last["turns"] == 0
    verified = tasuki("ledger", "walk", "--verify", "--data", tmp_path / "data")
    assert verified.code == 0, verified.err


def test_a_result_may_keep_the_infinities_of_the_first_weights_and_add_none(tmp_path: Path) -> None:
    """Also, that turns get the tensors in the order in which the factory listed them."""
    run = write_run(tmp_path, initial="walk:make_masked", trainer="keep_mask")
    ended = simulate(run, "--one-process")
    assert ended.code == 0, ended.err
    assert "the first weights hold infinite values, in 'mask'" in ended.err
    bad = tmp_path / "bad"
    bad.mkdir()
    spreads = simulate(
        write_run(bad, initial="walk:make_masked", trainer="spread_mask"), "--one-process"
    )
    assert spreads.code == errors.NonFiniteWeights.exit_code
    assert "'mask' holds Inf where there was none" in spreads.last["reason"]


def test_first_weights_with_nan_are_refused_unless_the_run_names_the_tensor(tmp_path: Path) -> None:
    changes = {"initial": "walk:make_nan", "trainer": "keep_mask", "rounds": 1}
    ended = simulate(write_run(tmp_path, **changes), "--one-process")
    assert ended.code == errors.NonFiniteWeights.exit_code
    assert "'mask' of the first weights holds NaN" in ended.err
    gate = '[gate]\nnon_finite = ["mask"]'
    ended = simulate(write_run(tmp_path, bottom=gate, **changes), "--one-process")
    assert ended.code == 0, ended.err


def test_a_difference_in_floats_counts_as_the_weights_themselves(tmp_path: Path) -> None:
    ended = simulate(write_run(tmp_path, trainer="a_step", rounds=1), "--one-process")
    assert ended.code == 0, ended.err
    assert ended.last["metrics"]["accuracy"] == 2.0  # the mean of 1, 2 and 3


def test_nan_among_metrics_leaves_json_that_every_reader_takes(tmp_path: Path) -> None:
    run = write_run(tmp_path, trainer="nan_among_metrics", rounds=1)
    ended = simulate(run, "--one-process")
    assert ended.code == 0, ended.err
    assert ended.last["metrics"] == {"accuracy": 2.0, "auc": None}
    for path in (tmp_path / "data").rglob("*.json"):
        assert "NaN" not in path.read_text()
    verified = tasuki("ledger", "walk", "--verify", "--data", tmp_path / "data")
    assert verified.code == 0, verified.err


def test_a_module_that_the_standard_library_has_is_told_as_that(tmp_path: Path) -> None:
    run = write_run(tmp_path, rounds=1)
    (tmp_path / "site.py").write_text((tmp_path / "walk.py").read_text())
    text = run.read_text()
    for old, new, error in (
        ("walk:make", "site:make", errors.SettingsError),
        ("walk:train", "site:train", errors.TrainerNotFound),
    ):
        run.write_text(text.replace(old, new))
        ended = simulate(run)
        assert ended.code == error.exit_code, ended.err
        assert "site.py has the name of a module of Python's standard library" in ended.err


def test_a_file_beside_the_trainer_that_hides_one_of_the_standard_library_is_named(
    tmp_path: Path,
) -> None:
    run = write_run(tmp_path, rounds=1)
    (tmp_path / "queue.py").write_text("Sample = int\n")
    ended = simulate(run, "--processes")
    assert ended.code == 0, ended.err  # nobody needs it: the trainer's process has Python's own
    walk = (tmp_path / "walk.py").read_text()
    (tmp_path / "walk.py").write_text(f"{walk}\nfrom queue import Sample\n")
    run.write_text(run.read_text().replace("walk:make", "again:make"))
    (tmp_path / "again.py").write_text(walk)
    ended = tasuki("simulate", run, "--data", tmp_path / "other", "--json", "--processes")
    assert ended.code == errors.TrainerNotFound.exit_code, ended.err
    assert f"{tmp_path / 'queue.py'} has the name of a module" in ended.last["reason"]


def test_a_pickle_as_first_weights_is_never_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return Path.touch, (marker,)  # type: ignore[return-value]  # what a pickle would call

    for name in ("evil.pt", "evil.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Evil()))
        ended = simulate(write_run(tmp_path, initial=name), "--one-process")
        assert ended.code == errors.BadWeights.exit_code, ended.err
        assert not marker.exists()


def test_truncated_first_weights_are_refused(tmp_path: Path) -> None:
    good = tmp_path / "whole"
    good.mkdir()
    simulate(write_run(good, rounds=1), "--one-process")
    tasuki("export", "walk", "-o", tmp_path / "cut.safetensors", "--data", good / "data")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(cut.read_bytes()[:-5])
    ended = simulate(write_run(tmp_path, initial="cut.safetensors"), "--one-process")
    assert ended.code == errors.BadWeights.exit_code, ended.err


def test_a_second_run_of_one_name_leaves_the_first_alone(tmp_path: Path) -> None:
    first = simulate(write_run(tmp_path, rounds=1), "--one-process")
    assert first.code == 0, first.err
    second = simulate(write_run(tmp_path, rounds=1), "--one-process")
    assert second.code == errors.RunExists.exit_code
    assert "--resume" in second.err
    other = simulate(write_run(tmp_path, rounds=1, order='"fixed"'), "--one-process", "--resume")
    assert other.code == errors.RunExists.exit_code
    assert "other settings" in other.err
    runs = tasuki("runs", "--json", "--data", tmp_path / "data").last["runs"]
    assert [run["digest"] for run in runs] == [first.last["digest"]]


def test_a_data_folder_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path, rounds=1)
    simulate(run, "--one-process")
    database = sqlite3.connect(tmp_path / "data" / "ledger.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    ended = simulate(run, "--one-process", "--resume")
    assert ended.code == errors.NewerData.exit_code
    assert "upgrade" in ended.err


def test_an_unknown_run_is_answered_with_those_that_are_known(tmp_path: Path) -> None:
    simulate(write_run(tmp_path, rounds=1), "--one-process")
    for words in (["ledger", "wolk"], ["export", "wolk", "-o", str(tmp_path / "m.pt")]):
        ended = tasuki(*words, "--data", tmp_path / "data")
        assert ended.code == errors.UnknownRun.exit_code
        assert "walk" in ended.err


@pytest.mark.parametrize("file", ["ledger.sqlite", "runs/walk/round-0001.safetensors"])
def test_one_changed_byte_is_found_and_named(tmp_path: Path, file: str) -> None:
    simulate(write_run(tmp_path, rounds=2), "--one-process")
    path = tmp_path / "data" / file
    content = bytearray(path.read_bytes())
    # In the ledger: a byte of the plan, which is in the first row.
    at = content.index(b"random_without") if file == "ledger.sqlite" else len(content) // 2
    content[at] ^= 1
    path.write_bytes(content)
    ended = tasuki("ledger", "walk", "--verify", "--data", tmp_path / "data")
    assert ended.code == errors.LedgerBroken.exit_code
    assert ("row 1" if file == "ledger.sqlite" else "round-0001") in ended.err


def test_a_full_disk_says_so_and_the_run_goes_on_once_there_is_room(tmp_path: Path) -> None:
    """A file-size limit stands in for a full disk: the kernel refuses the write either way."""
    run = write_run(tmp_path, rounds=1, initial="walk:make_large")
    words = command("simulate", run, "--data", tmp_path / "data", "--json", "--one-process")
    limited = subprocess.run(
        words,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**30)),
    )
    assert limited.returncode == errors.DiskFull.exit_code, limited.stderr
    ended = simulate(run, "--one-process", "--resume")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("trainer", ["full_disk_once", "own_file_fills_the_disk_once"])
def test_a_run_whose_disk_was_full_in_a_turn_goes_on_where_it_was(
    tmp_path: Path, trainer: str
) -> None:
    """Bug: the run had failed after three attempts, and --resume only showed how it had ended."""
    (tmp_path / "calm").mkdir()
    undisturbed = simulate(write_run(tmp_path / "calm"), "--one-process")
    run = write_run(tmp_path, trainer=trainer, attempts=3)
    full = simulate(run, "--processes")
    assert full.code == errors.DiskFull.exit_code, full.err
    assert full.last["error"] == "DiskFull"
    resumed = simulate(run, "--processes", "--resume")
    assert (resumed.code, resumed.last["turns"]) == (0, 9), resumed.err
    assert resumed.last["digest"] == undisturbed.last["digest"]
