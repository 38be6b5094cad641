"""The first five minutes work as the README tells them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()
TASUKI = Path(sys.executable).with_name("tasuki")


def _block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return str(found)


@pytest.mark.timeout(300)  # the first import of torch on a busy machine
def test_every_command_that_the_readme_shows_does_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(_block("python"))
    (tmp_path / "run.toml").write_text(_block("toml"))
    alone = README.partition("## Several machines")[0]
    simulate, ledger, export = re.findall(r"^    tasuki (.*)$", alone, re.MULTILINE)

    ended = _tasuki(tmp_path, simulate)
    verified = _tasuki(tmp_path, ledger)
    exported = _tasuki(tmp_path, export)

    assert (ended["status"], ended["rounds"], ended["turns"]) == ("finished", 2, 6)
    assert ended["metrics"]["loss"] < 0.1
    assert verified["verified"] is True
    assert (tmp_path / exported["path"]).exists()


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
