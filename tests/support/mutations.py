"""Copies of the package with one of its checks taken out, and the suite run against them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tasuki

TESTS = Path(__file__).parent.parent
ALL_GREEN, SOME_RED = 0, 1
"""pytest's exit codes; 2 and above would mean that it could not run them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """Text that is replaced in a file of the package, and the tests that must notice.

    Attributes:
        tests: a file or a single test, seen from the folder of all tests.
    """

    file: str
    text: str
    becomes: str
    tests: str


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


def outcome(path: Path, tests: str, *, within_s: float = 60) -> tuple[int, str]:
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
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=within_s,
    )
    return ended.returncode, ended.stdout + ended.stderr
