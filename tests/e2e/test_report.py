"""A report, opened in a browser: nothing is logged or fetched, and what others wrote is text."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.browser import Page, browser, found
from support.reports import OnRecord, closes, trains
from support.runs import Relay, plan
from support.simulation import simulate, tasuki, write_run
from tasuki import errors
from tasuki.core import run
from tasuki.core.model import OnSilent, Task
from tasuki.core.run import StopRequested

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    '<a href="javascript:alert(3)">metric</a>',
    "{{ 7 * 7 }}",
    "%{customdata} $x^2$",
    "\x1b[2J\u202e",
)


@pytest.fixture(scope="module")
def opened() -> Iterator[Page]:
    """A browser; skips where there is none, unless this is a build."""
    if found() is None:
        missing = "no browser is installed: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with browser() as page:
        yield page


@pytest.fixture(autouse=True)
def quiet(opened: Page) -> Iterator[None]:
    """Whatever a page logs is an error here."""
    opened.complaints.clear()
    yield
    assert [] == opened.complaints


def charts(page: Page) -> int:
    """How many are drawn."""
    return int(
        page.value("document.querySelectorAll('.js-plotly-plot .main-svg:first-child').length")
    )


def text(page: Page) -> str:
    return str(page.value("document.body.innerText"))


def test_a_simulated_run_s_report_draws_itself(
    tmp_path: Path, opened: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = simulate(write_run(tmp_path), "--one-process")
    assert ended.code == 0, ended.err
    report, numbers = tmp_path / "report.html", tmp_path / "numbers"
    words = ("--data", tmp_path / "data", "-o", report, "--csv", numbers, "--json")
    told = tasuki("report", "walk", *words)
    assert (0, True) == (told.code, told.last["verified"]), told.err
    assert report.stat().st_size == told.last["size"] < 10 * 2**20
    assert {path.name for path in numbers.iterdir()} == {
        Path(name).name for name in told.last["tables"]
    }
    took_s = opened.open(report)
    with capsys.disabled():
        print(f" drawn after {took_s:.2f} s, busy for {opened.busy_s:.2f} s ", end="")  # noqa: T201
    assert charts(opened) >= 2
    shown = text(opened)
    assert "finished" in shown
    assert ended.last["digest"] in shown
    assert "The record is whole" in shown
    assert "with which the run began" in shown


def test_a_run_of_one_turn_has_a_report(tmp_path: Path, opened: Page) -> None:
    relay = Relay(plan(sites=("a",), min_sites=1, rounds=1))
    trains(relay, received_accuracy=0.1, accuracy=0.5)
    closes(relay)
    OnRecord(relay=relay).page(tmp_path / "r.html")
    opened.open(tmp_path / "r.html")
    assert charts(opened) >= 2
    assert "1 accepted, 0 skipped" in text(opened)


def test_a_failed_run_says_why_first(tmp_path: Path, opened: Page) -> None:
    relay = Relay(plan(max_attempts=1))
    trains(relay, accuracy=0.5)
    relay.fail("Traceback (most recent call last):\n  ...\nValueError: no such column")
    OnRecord(relay=relay).page(tmp_path / "r.html")
    opened.open(tmp_path / "r.html")
    first = text(opened).partition("What was run\n")[0]
    assert "failed" in first
    assert "ValueError: no such column" in first


def test_a_run_without_metrics_says_how_to_report_some(tmp_path: Path, opened: Page) -> None:
    relay = Relay()
    trains(relay)
    OnRecord(relay=relay).page(tmp_path / "r.html")
    opened.open(tmp_path / "r.html")
    shown = text(opened)
    assert 1 == charts(opened)  # of who had the weights when
    assert "No site has reported a metric" in shown
    assert "The run was not over" in shown


def test_a_run_that_has_done_nothing_has_a_report(tmp_path: Path, opened: Page) -> None:
    OnRecord(relay=Relay()).page(tmp_path / "r.html")
    opened.open(tmp_path / "r.html")
    assert "No site has had the weights yet" in text(opened)


def test_a_removed_run_has_all_but_its_weights(tmp_path: Path, opened: Page) -> None:
    relay = Relay()
    trains(relay, accuracy=0.5)
    relay(StopRequested())
    relay(run.RunRemoved())
    OnRecord(relay=relay).page(tmp_path / "r.html")
    opened.open(tmp_path / "r.html")
    shown = text(opened)
    assert "weights were removed" in shown
    assert "no checkpoints to check" in shown


def test_a_ledger_that_does_not_hold_is_said_where_nobody_misses_it(
    tmp_path: Path, opened: Page
) -> None:
    relay = Relay()
    trains(relay)
    OnRecord(relay=relay, broken="row 3 of r is not what was recorded").page(tmp_path / "r.html")
    opened.open(tmp_path / "r.html")
    shown = text(opened)
    assert "The ledger does not hold: row 3 of r" in shown
    assert "The record is whole" not in shown


def test_a_report_of_a_broken_ledger_is_written_and_is_an_error_all_the_same(
    tmp_path: Path,
) -> None:
    assert 0 == simulate(write_run(tmp_path, rounds=1), "--one-process").code
    (checkpoint, *_) = (tmp_path / "data/runs/walk").glob("round-*.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1] + b"x")
    page = tmp_path / "report.html"
    told = tasuki("report", "walk", "--data", tmp_path / "data", "-o", page)
    assert errors.LedgerBroken.exit_code == told.code
    assert "The ledger does not hold" in page.read_text()


def test_whatever_sites_and_operators_write_is_text_and_nothing_else(
    tmp_path: Path, opened: Page
) -> None:
    """In names of metrics, reasons, errors and parameters."""
    asked = plan(max_attempts=2, on_silent=OnSilent.SKIP)
    params = {HOSTILE[0]: list(HOSTILE)}
    task = Task(trainer=HOSTILE[1], rounds=2, params=params, params_at={"a": params})
    relay = Relay(replace(asked, task=task))
    relay.fail("\n".join(HOSTILE), error=HOSTILE[0])
    for value in (0.5, 0.6):
        named = dict.fromkeys(HOSTILE, value)
        trains(relay, {**named, **{f"received_{name}": value for name in HOSTILE}})
    relay(StopRequested(reason=f"{HOSTILE[0]}\n{HOSTILE[1]}"))
    page = OnRecord(relay=relay).page(tmp_path / "r.html")
    assert "\x1b" not in page
    opened.open(tmp_path / "r.html")
    opened.value("document.querySelectorAll('details').forEach(each => { each.open = true })")
    opened.value("new Promise(done => setTimeout(done, 0))")
    drawn = "document.querySelectorAll('.js-plotly-plot').length"
    all_charts = "document.querySelectorAll('[data-chart]').length"
    opened.value(
        f"new Promise(done => {{ const look = () => {drawn} === {all_charts} ? done() : "
        "requestAnimationFrame(look); look(); })"
    )
    there = "[...document.querySelectorAll('img, iframe, svg a, a[href^=j], script')].length"
    assert 3 == opened.value(there)  # our scripts
    shown = text(opened)
    assert HOSTILE[0] in shown
    assert "{{ 7 * 7 }}" in shown
    titles = json.loads(
        opened.value(
            "JSON.stringify([...document.querySelectorAll('.ytitle')].map(t => t.textContent))"
        )
    )
    assert HOSTILE[0] in titles
    assert "%{customdata} $x^2$" in titles


def test_by_night_and_on_paper_it_can_be_read(tmp_path: Path, opened: Page) -> None:
    relay = Relay()
    trains(relay, accuracy=0.5)
    OnRecord(relay=relay).page(tmp_path / "r.html")
    ink = "getComputedStyle(document.querySelector('.js-plotly-plot .xtick text')).fill"
    seen = {}
    try:
        for name, media in (("day", {}), ("night", {"scheme": "dark"})):
            opened.as_if(**media)
            opened.open(tmp_path / "r.html")
            seen[name] = opened.value(ink)
        opened.as_if(scheme="dark", media="print")
        opened.value(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        width = opened.value(
            "document.querySelector('.js-plotly-plot .main-svg').width.baseVal.value"
        )
        assert (seen["day"], 680) == (opened.value(ink), width)
        assert seen["day"] != seen["night"]
    finally:
        opened.as_if()


def test_nobody_says_where_it_is_to_be_written(tmp_path: Path) -> None:
    told = tasuki("report", "r", "--data", tmp_path)
    assert errors.SettingsError.exit_code == told.code
    assert "say what to write: -o report.html" in told.err


def test_a_run_that_is_not_there_has_no_report(tmp_path: Path) -> None:
    told = tasuki("report", "r", "--data", tmp_path, "-o", tmp_path / "r.html")
    assert errors.UnknownRun.exit_code == told.code
    assert not (tmp_path / "r.html").exists()
