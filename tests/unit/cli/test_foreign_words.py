"""What a site says of itself is shown to operators as text: it steers neither terminal nor rich."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from support.runs import Relay, plan
from tasuki.core.report import TurnProgressed
from tasuki.core.run import Skip, TurnFailed
from tasuki.errors import SettingsError
from tasuki_cli import main, records
from tasuki_cli.display import RunDisplay, turns_table
from tasuki_controller import views
from tasuki_controller.checkpoints import Kept
from tasuki_controller.controller import Update

HOSTILE = "\x1b[2J\x9b31m\u202e[/red][link=file:///]"
SPELLED = r"\x1b[2J\x9b31m\u202e[/red][link=file:///]"


class Archive:
    """Of one run, whose site chose its words."""

    def runs(self) -> Sequence[views.View]:
        keys = ("run", "status", "rounds", "turns", "skipped", "digest")
        return [{**dict.fromkeys(keys, "1"), "reason": HOSTILE}]

    def rows(self, run: str) -> Sequence[views.View]:
        keys = ("seq", "at", "outcome", "hash")
        return [{**dict.fromkeys(keys, "1"), "run": run, "what": HOSTILE, "led_to": [HOSTILE]}]

    def verify(self, run: str) -> tuple[int, int]:
        raise NotImplementedError(run)

    def copy_weights(self, run: str, folder: Path, *, round: int | None) -> Kept:
        raise NotImplementedError(run, folder, round)


def is_spelled(shown: str, *, times: int = 1) -> bool:
    """Whatever the width at which it was folded."""
    joined = "".join(shown.split())
    return joined.count(SPELLED) >= times and not set(HOSTILE[:1] + "\x9b\u202e") & set(joined)


def test_in_the_list_of_runs(capsys: pytest.CaptureFixture[str]) -> None:
    records.show_runs(Archive(), as_json=False)
    shown = capsys.readouterr().out
    assert is_spelled(shown)


def test_in_a_ledger(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: an error called `[/red]` ended `tasuki ledger` with a traceback of rich's."""
    monkeypatch.setenv("COLUMNS", "200")
    records.show_ledger("r", Archive(), as_json=False)
    assert is_spelled(capsys.readouterr().out, times=2)


def test_in_the_table_of_turns() -> None:
    out = io.StringIO()
    skip = Skip(round=0, hop=0, site="a", reason=HOSTILE)
    Console(file=out, width=200).print(turns_table([], [skip], "accuracy"))
    assert is_spelled(out.getvalue())


def test_while_a_run_is_watched() -> None:
    out = io.StringIO()
    relay = Relay(plan())
    id = relay.state.expected
    display = RunDisplay(Console(file=out, width=200))
    with display:
        state = replace(relay.state, reason=HOSTILE)
        failed = TurnFailed(id=id, site="a", error="X", detail=HOSTILE)
        logged = TurnProgressed(id=id, site="a", phase="training", values={HOSTILE: 1.0})
        for what in (failed, logged):
            display.watch(Update(run=state, what=what))
    assert is_spelled(out.getvalue(), times=4)


def test_in_an_error_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise SettingsError(HOSTILE)

    monkeypatch.setattr(main, "app", fail)
    monkeypatch.setattr(sys, "argv", ["tasuki"])
    with pytest.raises(SystemExit):
        main.main()
    assert is_spelled(capsys.readouterr().err)
