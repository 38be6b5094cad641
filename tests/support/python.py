"""Scripts that call `tasuki.simulate`, as a person runs them: `python script.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.simulation import TRAINERS, Outcome, environment

WALK = (TRAINERS / "walk.py").read_text()
"""The code of the test trainer: in front of a script, it is defined where that runs."""

SIMULATE = """
import sys
import tasuki

def simulate(trainer=train, **changes):
    settings = dict(
        initial=make, sites=3, rounds=3, order=["site-2", "site-1", "site-3"], seed=7,
        params={"flag": "."}, failure={"max_attempts": 1}, checkpoint={"best": "accuracy"},
        data="data",
    )
    return tasuki.simulate(trainer, **{**settings, **changes})
"""


def written(folder: Path, text: str) -> Path:
    """A script that defines the test trainer and then does this."""
    path = folder / "script.py"
    path.write_text(f"{WALK}{SIMULATE}{text}")
    return path


def ran(script: Path, *arguments: str, timeout_s: float = 110) -> Outcome:
    """Run it to its end, in its own folder."""
    done = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment(),
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def python(folder: Path, text: str) -> Outcome:
    return ran(written(folder, text))
