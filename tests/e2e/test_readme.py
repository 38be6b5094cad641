"""The first five minutes work as the README tells them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()
TASUKI = Path(sys.executable).with_name("tasuki")


def _block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return str(found)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(_block("python"))
    (tmp_path / "run.toml").write_text(_block("toml"))
    return tmp_path


def test_every_command_that_the_readme_shows_succeeds(project: Path) -> None:
    commands = re.findall(r"^    tasuki (.*)$", README, re.MULTILINE)

    assert commands[0] == "simulate run.toml"
    for command in commands:
        _tasuki(project, *command.split())
    assert (project / "model.safetensors").exists()


def test_the_sites_of_the_readme_learn(project: Path) -> None:
    output = _tasuki(project, "simulate", "run.toml", "--json")

    ended = json.loads(output.splitlines()[-1])
    assert (ended["status"], ended["rounds"], ended["turns"]) == ("finished", 2, 6)
    assert ended["metrics"]["loss"] < 0.1


def _tasuki(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [TASUKI, *arguments], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
