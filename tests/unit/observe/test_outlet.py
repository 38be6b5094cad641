"""A log or a display that cannot be written costs lines, and nothing else."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import structlog

from tasuki.observe import logs
from tasuki.observe.outlet import Outlet, let_go


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def full() -> Iterator[IO[str]]:
    """A disk that is always full, line by line as stderr is."""
    with Path("/dev/full").open("w", buffering=1) as stream:
        yield stream
        let_go(stream)  # or closing it would fail as well


def test_lines_that_find_no_room_are_counted(full: IO[str]) -> None:
    """Bug: a site whose log partition was full died of the next line."""
    outlet = Outlet(full)
    for number in range(3):
        print(f"step {number}", file=outlet, flush=True)
    assert 3 == outlet.lost


def test_the_next_line_that_is_written_says_how_many_were_lost(
    monkeypatch: pytest.MonkeyPatch, full: IO[str]
) -> None:
    monkeypatch.setattr("sys.stderr", full)
    outlet = logs.configure("json")
    log = structlog.get_logger()
    log.info("trainer said", line="a")
    log.info("trainer said", line="b")
    there = io.StringIO()
    monkeypatch.setattr(outlet, "_stream", there)
    log.info("handed over")
    log.info("turn taken")
    first, second = map(json.loads, there.getvalue().splitlines())
    assert (2, None) == (first.get("lines_lost_before"), second.get("lines_lost_before"))


def test_letters_that_a_terminal_does_not_know_are_spelled_out() -> None:
    below = io.BytesIO()
    outlet = Outlet(io.TextIOWrapper(below, encoding="ascii"))
    outlet.write("● site-1\n")
    outlet.flush()
    assert b"\\u25cf site-1\n" == below.getvalue()


def test_a_stream_that_was_closed_fails_nobody() -> None:
    stream = io.StringIO()
    stream.close()
    outlet = Outlet(stream)
    outlet.write("a\n")
    outlet.flush()
    assert 1 == outlet.lost


SCRIPT = """
import sys
from tasuki.observe import logs
from tasuki.observe.outlet import let_go
import structlog
logs.configure()
structlog.get_logger().info("it works")
let_go(sys.stderr)
sys.exit(7)
"""


def test_a_process_ends_with_its_own_exit_code_all_the_same() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], stderr=full, timeout=60, check=False, env=os.environ
        )
    assert 7 == done.returncode
