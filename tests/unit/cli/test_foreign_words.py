"""What a site says of itself is shown to operators as text: it steers neither terminal nor rich."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from support.displayed import Displayed
from support.runs import Relay, plan
from tasuki.core.model import EvaluatePolicy
from tasuki.core.report import TurnProgressed
from tasuki.core.run import Skip, Status, TurnFailed
from tasuki.errors import SettingsError
from tasuki.ledger.sqlite import Row
from tasuki.observe.printable import headline
from tasuki_cli import main, records, turns
from tasuki_cli.display import RunDisplay, turns_table
from tasuki_controller.checkpoints import Kept
from tasuki_controller.documents import (
    LedgerRow,
    RemovedRun,
    RunRow,
    Scores,
    TurnRow,
    TurnTable,
    VerifiedLedger,
)
from tasuki_controller.news import Update

HOSTILE = "\x1b[2J\x9b31m\u202e[/red][link=file:///]"
SPELLED = r"\x1b[2J\x9b31m\u202e[/red][link=file:///]"


RUN = RunRow(
    run="1",
    status=Status.FAILED,
    rounds="1",
    turns=1,
    skipped=1,
    digest="1",
    reason=HOSTILE,
    phase="",
    still_s=0.0,
)
ROW = LedgerRow(
    seq=1,
    at=datetime(2026, 1, 1, tzinfo=UTC),
    event="1",
    turn=None,
    what=HOSTILE,
    detail=HOSTILE,
    led_to=[HOSTILE],
    skipped=[],
    outcome="1",
    hash="1",
)


class Archive:
    """Of one run, whose site chose its words."""

    def runs(self, *, even_removed: bool = False) -> Sequence[RunRow]:
        return [RUN]

    def rows(self, run: str) -> Sequence[LedgerRow]:
        assert run == "r"
        return [ROW]

    def kept_rows(self, run: str) -> Iterator[Row]:
        raise NotImplementedError(run)

    def turns(self, run: str) -> TurnTable:
        skipped = TurnRow(round=1, turn=1, site="a", skipped=HOSTILE)
        metrics: dict[str, float | None] = {HOSTILE: 0.5, "accuracy": 0.5}
        return TurnTable(
            run=run, best=None, turns=[skipped, TurnRow(round=1, turn=2, site="b", metrics=metrics)]
        )

    def scores(self, run: str, *, metric: str | None, mode: str | None) -> Scores:
        raise NotImplementedError(run, metric, mode)

    def verify(self, run: str) -> VerifiedLedger:
        raise NotImplementedError(run)

    def remove(self, run: str, *, stop: bool) -> RemovedRun:
        raise NotImplementedError(run, stop)

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
    assert is_spelled(capsys.readouterr().out, times=3)


def test_in_the_table_of_turns() -> None:
    out = io.StringIO()
    skip = Skip(round=0, hop=0, site="a", reason=HOSTILE)
    Console(file=out, width=200).print(turns_table([], [skip], "accuracy"))
    assert is_spelled(out.getvalue())


def test_in_every_turn_as_a_table_and_as_csv(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    turns.show("r", Archive(), as_csv=True, output=None, as_json=False)
    assert is_spelled(capsys.readouterr().out, times=2)
    turns.show("r", Archive(), as_csv=False, output=None, as_json=False)
    shown = capsys.readouterr().out
    assert rf"skipped: {SPELLED[:23]}…" in shown  # a reason is cut there
    assert not {"\x1b", "\x9b", "\u202e"} & set(shown)


def test_while_a_run_is_watched() -> None:
    out = io.StringIO()
    relay = Relay(plan())
    id = relay.state.lanes[0].relay.expected
    console = Console(file=out, width=200)
    display = RunDisplay(console)
    state = replace(relay.state, reason=HOSTILE)
    failed = TurnFailed(id=id, site="a", error="X", detail=HOSTILE)
    logged = TurnProgressed(id=id, site="a", phase="training", values={HOSTILE: 1.0})
    for what in (failed, logged):
        display.watch(Update(run=state, what=what))
    display.print("a", HOSTILE)
    console.print(display.render())
    assert is_spelled(out.getvalue(), times=6)


def test_a_metric_that_a_site_named_is_no_markup_of_the_display() -> None:
    of = replace(plan(sites=("a",), min_sites=1), evaluate=EvaluatePolicy(every_n_rounds=1))
    run = Displayed(of)
    named: dict[str, Any] = {HOSTILE: 0.5}  # Any: it stands for each of the arguments
    run.turn(**named, **{f"received_{HOSTILE}": 0.4})
    run.score("a", **named)
    out = io.StringIO()
    console = Console(file=out, width=200)
    console.print(Text("\n".join(run.said)))
    console.print("\n".join(run.drawn(width=200)), markup=False)
    assert is_spelled(out.getvalue(), times=5)


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


TRACEBACK = 'RuntimeError: on fire\nTraceback (most recent call last):\n  File "train.py", line 3'


def test_a_failure_that_repeats_itself_is_told_whole_once() -> None:
    """Bug: `watch` showed the same traceback four times."""
    out = io.StringIO()
    relay = Relay(plan())
    display = RunDisplay(Console(file=out, width=200))
    for _ in range(3):
        failed = TurnFailed(
            id=relay.state.lanes[0].relay.expected,
            site="a",
            error="TrainerRaised",
            detail=TRACEBACK,
        )
        display.watch(Update(run=relay.state, what=failed))
    shown = out.getvalue()
    assert (1, 2) == (
        shown.count("Traceback"),
        shown.count("RuntimeError: on fire ... (as before)"),
    )


class Failed(Archive):
    """A run whose site raised the same twice."""

    def runs(self, *, even_removed: bool = False) -> Sequence[RunRow]:
        return [RUN.model_copy(update={"reason": f"a: {TRACEBACK} (2 attempts)"})]

    def rows(self, run: str) -> Sequence[LedgerRow]:
        failed = {"outcome": "", "what": "a failed", "detail": TRACEBACK}
        led_to = ["issued to a"], [f"failed: a: {TRACEBACK}"]
        return [
            row.model_copy(update={**failed, "seq": seq, "led_to": led})
            for row in super().rows(run)
            for seq, led in zip((4, 5), led_to, strict=True)
        ]


def test_no_traceback_is_folded_into_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: one failed run took 27 lines of a column 19 wide."""
    monkeypatch.setenv("COLUMNS", "80")
    records.show_runs(Failed(), as_json=False)
    shown = capsys.readouterr().out
    assert ("Traceback" in shown, len(shown.splitlines()) < 6) == (False, True)
    records.show_ledger("r", Failed(), as_json=False)
    table, _, below = capsys.readouterr().out.partition("row 4, 5:")
    assert (0, 1) == (table.count("Traceback"), below.count(TRACEBACK))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("one line", "one line"),
        ("a\nb", "a ..."),
        ("a: Traceback (most recent call last):\n  File x\nKeyError: 'b'", "a: KeyError: 'b' ..."),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
    ],
)
def test_of_a_long_text_the_line_that_says_it_best_is_shown(text: str, line: str) -> None:
    assert line == headline(text)
