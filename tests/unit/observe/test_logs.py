"""What a service logs, and what it must not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tasuki.observe import logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def fail(password: str) -> None:
    raise RuntimeError(f"no entry with {len(password)} letters")


def fail_with(words: str) -> None:
    raise RuntimeError(words)


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_shows_no_values(form: logs.Form, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(form)
    try:
        fail("".join(["hun", "ter", "2"]))  # so that the source line does not say it
    except RuntimeError:
        structlog.get_logger().exception("it failed", site="a")
    shown = capsys.readouterr().err
    assert "no entry with 7 letters" in shown
    assert "hunter2" not in shown


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    structlog.get_logger().info("turn taken", turn="r/0", hop=1)
    line = json.loads(capsys.readouterr().err)
    del line["timestamp"]
    assert line == {"event": "turn taken", "turn": "r/0", "hop": 1, "level": "info"}


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    structlog.get_logger().info("a turn's values", loss=float("nan"), path=Path("a"))
    line = capsys.readouterr().err
    assert "NaN" not in line
    assert json.loads(line)["loss"] is None


def test_what_others_say_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("console")
    log = structlog.get_logger()
    log.warning("turn failed", detail="a\x1b[2Jb", error="X\n2026-01-01 [info] made up")
    try:
        fail_with("\x1b]0;title\x07")
    except RuntimeError:
        log.exception("it failed")
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert r"a\x1b[2Jb" in shown
    assert r"\x1b]0;title\x07" in shown
    assert not any("made up" in line and "turn failed" not in line for line in shown.splitlines())
