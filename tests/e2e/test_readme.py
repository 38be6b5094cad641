"""The first five minutes work as the README tells them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasuki_site.tensors import load_state, save_state

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TASUKI = Path(sys.executable).with_name("tasuki")


def _block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return str(found)


@pytest.mark.timeout(300)  # the first import of torch on a busy machine
def test_every_command_that_the_readme_shows_does_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(_block("python"))
    (tmp_path / "run.toml").write_text(_block("toml"))
    alone = README.partition("## Several machines")[0]
    simulate, turns, report, ledger, export = re.findall(r"^    tasuki (.*)$", alone, re.MULTILINE)

    ended = _tasuki(tmp_path, simulate)
    reported = _tasuki(tmp_path, turns)
    page = _tasuki(tmp_path, report)
    verified = _tasuki(tmp_path, ledger)
    exported = _tasuki(tmp_path, export)

    assert (ended["status"], ended["rounds"], ended["turns"]) == ("finished", 2, 6)
    assert ended["metrics"]["loss"] < 0.1
    assert [{"received_loss", "loss"}] * 6 == [set(turn["metrics"]) for turn in reported["turns"]]
    assert "<html" in (tmp_path / page["path"]).read_text()[:200]
    assert verified["verified"] is True
    assert (tmp_path / exported["path"]).exists()


def test_the_trainer_for_scikit_learn_that_its_page_shows_trains(tmp_path: Path) -> None:
    page = (ROOT / "docs/frameworks.md").read_text()
    (run_toml,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    linear, keras, _ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "linear.py").write_text(linear)
    (tmp_path / "run.toml").write_text(run_toml)

    ended = _tasuki(tmp_path, "simulate run.toml")

    assert (ended["status"], ended["turns"]) == ("finished", 9)
    assert ended["metrics"]["accuracy"] > 0.8
    compile(keras, "keras.py", "exec")


def test_a_list_of_arrays_as_keras_gives_it_comes_back_as_one(tmp_path: Path) -> None:
    """What the page on Keras relies on; Keras itself is not installed here."""
    weights = [np.zeros((3, 2), np.float32), np.ones(2, np.float32)]
    save_state(tmp_path / "w", {"model": weights})
    loaded = load_state(tmp_path / "w", framework="numpy")
    assert ["model"] == list(loaded)
    assert [array.tolist() for array in weights] == [array.tolist() for array in loaded["model"]]


def _tasuki(folder: Path, arguments: str) -> dict[str, Any]:  # Any: JSON
    done = subprocess.run(
        [TASUKI, *arguments.split(), "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))
