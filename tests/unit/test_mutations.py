"""Tests of the tests: break a promise by hand, and the suite must turn red.

Each mutation takes one check out of a copy of the package and runs the tests that are there for
it. Tests that stay green without the check would not notice if somebody removed it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import tasuki

TESTS = Path(__file__).parent
ALL_GREEN, SOME_RED = 0, 1
"""pytest's exit codes; 2 and above would mean that it could not run them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """Text that is replaced in a file of the package, and the tests that must notice."""

    file: str
    text: str
    becomes: str
    tests: str


FENCING = Mutation(
    file="core/run/machine.py",
    text="if record.id.term != expected.term or state.status is not Status.RELAYING:",
    becomes="if state.status is not Status.RELAYING:",
    tests="core/test_run.py",
)
MUTATIONS = {
    "a result of an old term is accepted": FENCING,
    "a result of another site is accepted": Mutation(
        file="core/run/machine.py",
        text="if record.site != state.itinerary[record.id.hop]:",
        becomes="if False:",
        tests="core/test_run.py",
    ),
    "a site takes a turn of a fenced term": Mutation(
        file="core/turn/machine.py",
        text="if turn.id.term < state.fenced.get(lane, 0):",
        becomes="if False:",
        tests="core/test_turn.py",
    ),
    "a result that was given up stays on record as sent": Mutation(
        file="core/turn/machine.py",
        text="phase=Phase.DONE, record=None))",
        becomes="phase=Phase.DONE))",
        tests="core/test_turn.py",
    ),
    "a fenced result is sent on": Mutation(
        file="core/turn/machine.py",
        text="abort = AbortHandOver if is_trained else AbortTrainer",
        becomes="abort = AbortTrainer",
        tests="core/test_turn.py",
    ),
    "a turn that stands still is kept alive by its site's being alive": Mutation(
        file="core/run/lease.py",
        text="moved_at=now - still_s",
        becomes="moved_at=now",
        tests="core/test_lease.py",
    ),
    "wrong bytes are accepted": Mutation(
        file="wire/spool.py",
        text="if growing.hasher.digest() != weights.digest:",
        becomes="if False:",
        tests="wire/test_spool.py",
    ),
    "a changed row is accepted": Mutation(
        file="ledger/sqlite.py",
        text="if row.hash != _hash_of(row, previous):",
        becomes="if False:",
        tests="ledger/test_ledger.py",
    ),
}


def mutated(folder: Path, mutation: Mutation) -> Path:
    """A copy of the package without one of its checks; returns what goes onto the path."""
    source = Path(tasuki.__file__).parent
    copy = folder / "tasuki"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    file = copy / mutation.file
    text = file.read_text()
    assert 1 == text.count(mutation.text), f"{mutation.file} has changed: find its check again"
    file.write_text(text.replace(mutation.text, mutation.becomes))
    return folder


def outcome(path: Path, tests: str) -> tuple[int, str]:
    """Run tests against the package at `path` as the suite would; stops at the first failure."""
    inherited = [entry for entry in sys.path if entry]
    environment = {
        **os.environ,
        "CI": "",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(path / "hypothesis"),
        "PYTHONPATH": os.pathsep.join([str(path), *inherited]),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
    ]
    ended = subprocess.run(
        [*command, str(TESTS / tests)],
        env=environment,
        cwd=TESTS.parent.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_the_suite_turns_red_when(name: str, tmp_path: Path) -> None:
    mutation = MUTATIONS[name]
    code, output = outcome(mutated(tmp_path, mutation), mutation.tests)
    assert SOME_RED == code, output
    assert "AssertionError" in output or "DID NOT RAISE" in output, output


def test_the_suite_is_green_for_a_copy_of_which_nothing_was_taken(tmp_path: Path) -> None:
    """Or the tests above would be red for another reason."""
    unharmed = Mutation(
        file=FENCING.file,
        text=FENCING.text,
        becomes=f"{FENCING.text}  # a copy",
        tests=FENCING.tests,
    )
    code, output = outcome(mutated(tmp_path, unharmed), unharmed.tests)
    assert ALL_GREEN == code, output
