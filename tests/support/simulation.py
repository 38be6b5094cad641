"""Runs `tasuki simulate` as an operator does: a run file, a process, an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRAINERS = Path(__file__).parent.parent / "e2e" / "trainers"

RUN = """
name = "walk"
rounds = {rounds}
order = {order}
seed = 7
trainer = "walk"
{top}
[weights]
initial = "{initial}"
[params]
flag = "{flag}"
pause_s = {pause_s}
{params}
[failure]
max_attempts = {attempts}
min_sites = {min_sites}
{failure}
[checkpoint]
{best}
[simulate]
sites = {sites}
trainer = "walk:{trainer}"
{bottom}
"""

DEFAULTS: Mapping[str, Any] = {  # Any: whatever goes into the file
    "rounds": 3,
    "order": '"random_without_same_in_a_row"',
    "initial": "walk:make",
    "pause_s": 0,
    "attempts": 1,
    "min_sites": 2,
    "sites": 3,
    "trainer": "train",
    "top": "",
    "params": "",
    "failure": "",
    "best": 'best = "accuracy"',
    "bottom": "",
}


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> dict[str, Any]:  # Any: JSON
        """The object on the last line."""
        return json.loads(self.out.strip().splitlines()[-1])  # type: ignore[no-any-return]


def write_run(folder: Path, **changes: object) -> Path:
    """A run file beside copies of the test trainers."""
    for source in TRAINERS.glob("*.py"):
        (folder / source.name).write_text(source.read_text())
    path = folder / "run.toml"
    path.write_text(RUN.format(**{**DEFAULTS, "flag": folder, **changes}))
    return path


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "tasuki_cli.main", *map(str, words)]


def tasuki(*words: str | Path, timeout_s: float = 110) -> Outcome:
    """Run the command to its end."""
    done = subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment(),
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}


def simulate(run_toml: Path, *options: str | Path, timeout_s: float = 110) -> Outcome:
    data = run_toml.parent / "data"
    return tasuki("simulate", run_toml, "--data", data, "--json", *options, timeout_s=timeout_s)
