"""A run in 80 columns, as it is read."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from support.displayed import Displayed
from support.runs import plan
from tasuki.core.model import CheckpointPolicy, EvaluatePolicy, OnSilent, Plan
from tasuki.core.run import EvaluationRequested
from tasuki_cli.display import RunDisplay
from tasuki_controller.news import Update


def run_of(sites: int, *, best: str = "accuracy", mode: str = "max") -> Plan:
    names = tuple(f"site-{number + 1}" for number in range(sites))
    of = plan(sites=names, rounds=4, on_silent=OnSilent.SKIP)
    checkpoint = CheckpointPolicy(best=best, best_mode=mode)
    return replace(of, run="first", checkpoint=checkpoint)


def three() -> Displayed:
    run = Displayed(run_of(3))
    for value in (0.5, 0.55, 0.6, 0.65):
        run.turn(took_s=30, accuracy=value, received_accuracy=value - 0.1)
    run.log(step=30, steps=50, loss=0.3217)
    return run


def eight() -> Displayed:
    evaluated = replace(
        run_of(8, best="loss", mode="min"), evaluate=EvaluatePolicy(every_n_rounds=1)
    )
    run = Displayed(evaluated)
    for round in range(2):
        for hop in range(8):
            run.turn(loss=1 / (1 + round + hop), received_loss=2 / (1 + hop))
        for number, site in enumerate(run.relay.plan.sites[: 8 - round]):
            run.score(site, loss=0.4 + number / 10 - round / 20)
    run.no_score("site-8", detail="no test data")
    run.unchanged(loss=0.3)
    run.fail("CUDA out of memory")
    run.log(epoch=1, batch=7)
    return run


def sixty() -> Displayed:
    run = Displayed(run_of(60))
    for number in range(31):
        if number in {3, 17, 21, 29}:
            run.unchanged(accuracy=0.6)
        else:
            run.turn(accuracy=0.6 + number / 1000)
    return run


def silent() -> Displayed:
    run = Displayed(run_of(3))
    run.log(loss=0.5)
    run.at += 42
    run.see(None)
    return run


THREE = """
first  relaying  round 2 of 4  4 turns accepted
━━━━━━━━━━━━━─────────────────────────── 33%  about 4 min left
             received     trained
   site      accuracy    accuracy
✓  site-1    0.5500 ↑    0.6500 ↑
●  site-2      0.4500      0.5500
○  site-3      0.5000      0.6000
site-2 trains  ━━━━━━━━━━━━────────  step 30 of 50  loss 0.3217
accuracy by round, mean of its turns: 1 0.55 (best)
"""
EIGHT = """
first  relaying  round 3 of 4  17 turns accepted
━━━━━━━━━━━━━━━━━━━━━─────────────────── 53%  about 2 min left
             received    trained    evaluated
   site          loss       loss         loss
✓  site-1      2.0000   0.3000 ↓     0.3500 ↓  unchanged
●  site-2      1.0000   0.3333 ↓     0.4500 ↓  failed
○  site-3      0.6667   0.2500 ↓     0.5500 ↓
○  site-4      0.5000   0.2000 ↓     0.6500 ↓
○  site-5      0.4000   0.1667 ↓     0.7500 ↓
○  site-6      0.3333   0.1429 ↓     0.8500 ↓
○  site-7      0.2857   0.1250 ↓     0.9500 ↓
○  site-8      0.2500   0.1111 ↓       1.1000  left out
site-2 trains  batch 7  epoch 1
round 2 evaluated: loss 0.65 mean, 0.95 worst (site-7), 7 of 8 sites
loss by round, mean of all sites: 1 0.75, 2 0.65 (best)
! site-8 TrainerRaised: no test data (twice, last in round 2)
! site-8 left out of the evaluation: TrainerRaised: no test data (round 2)
! site-1 trained nothing: it handed on exactly what it received (round 3)
! site-2 TrainerRaised: CUDA out of memory (round 3)
"""
SIXTY = """
first  relaying  round 1 of 4  31 turns accepted
━━━━━─────────────────────────────────── 13%  about 30 min left
                       trained
   site               accuracy
✓  site-1               0.6000
✓  site-4               0.6000  unchanged
✓  site-18              0.6000  unchanged
✓  site-22              0.6000  unchanged
✓  site-30              0.6000  unchanged
✓  site-31              0.6300
●  site-32                   -
○  site-33                   -
○  site-34                   -
○  site-35                   -
○  site-36                   -
○  site-37                   -
   ... and 48 more
site-32 has the turn
! site-30, site-22, site-18 and 1 more trained nothing: it handed on exactly
what it received (4 times, last in round 1)
"""
SILENT = """
first  relaying  round 1 of 4  0 turns accepted
──────────────────────────────────────── 0%
   site
●  site-1  silent
○  site-2
○  site-3
site-1 trains  loss 0.5
! site-1 was last heard of 42 s ago (round 1)
"""


@pytest.mark.parametrize(
    ("state", "shown"), [(three, THREE), (eight, EIGHT), (sixty, SIXTY), (silent, SILENT)]
)
def test_it_is_legible_in_80_columns(state: Callable[[], Displayed], shown: str) -> None:
    assert shown.strip("\n").splitlines() == state().drawn()


@pytest.mark.parametrize("sites", [3, 8, 60])
def test_it_fits_a_small_terminal_whatever_happens(sites: int) -> None:
    names = tuple(f"{'long-name-of-a-hospital-' * 2}{number:02}" for number in range(sites))
    of = replace(run_of(3, best="balanced_accuracy_of_all_classes"), sites=names)
    run = Displayed(of)
    for value in (1e-300, 0.5, 1e300):
        run.turn(balanced_accuracy_of_all_classes=value)
    run.happens(EvaluationRequested(weights=run.relay.state.weights, after=None, split="x" * 60))
    for site in names[1:]:
        run.score(site, balanced_accuracy_of_all_classes=-1e300)
    run.fail("no room " * 100)
    run.log(step=1, steps=2, **{"a_name_that_never_ends" * 3: 1.0})
    run.at += 40
    drawn = run.drawn(most_sites=8)
    assert max(map(len, drawn)) <= 80
    assert len(drawn) <= 24


def shown_in_a_terminal(run: Displayed, *, height: int = 24) -> str:
    """All that a terminal got, as text."""
    out = io.StringIO()
    console = Console(file=out, width=80, height=height, force_terminal=True, record=True)
    with RunDisplay(console) as display:
        for what in (None, *run.relay.history):
            display.watch(Update(run=run.relay.state, what=what))
        display.print("site-1", "[red]hello[/red]")
    return console.export_text()


def test_what_the_display_shows_is_no_line_above_it() -> None:
    shown = shown_in_a_terminal(three())
    assert "done in" not in shown
    assert "site-1 [red]hello[/red]\n" in shown
    assert "first  relaying  round 2 of 4" in shown


def test_a_failure_that_takes_lines_is_told_above_and_noted_below() -> None:
    run = three()
    run.fail("boom\n  one line\n  another")
    shown = shown_in_a_terminal(run)
    assert "site-2 TrainerRaised: boom\n  one line\n  another\n" in shown
    assert "! site-2 TrainerRaised: boom ... (round 2)" in shown


def test_a_low_terminal_has_fewer_sites() -> None:
    run = Displayed(run_of(8))
    assert "... and 2 more" in shown_in_a_terminal(run, height=20)
    assert "more" not in shown_in_a_terminal(run, height=24)


def test_a_terminal_that_moves_nothing_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out = io.StringIO()
    run = three()
    with RunDisplay(Console(file=out, force_terminal=True)) as display:
        for what in (None, *run.relay.history):
            display.watch(Update(run=run.relay.state, what=what))
    assert "site-1 round 1 of 4 done in 1.5 s: accuracy 0.5, received_accuracy 0.4\n" in (
        out.getvalue()
    )
    assert "relaying" not in out.getvalue()
