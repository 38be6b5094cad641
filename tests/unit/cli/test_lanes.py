"""Tables of runs in which several models circulate at once."""

from __future__ import annotations

import io
import json
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from support.runs import FIRST, Relay
from support.several import finish_lane, finish_round, finish_turn, several
from tasuki.core.run import WaitOver
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.wire.messages import encode
from tasuki_cli import records, turns
from tasuki_cli.display import turns_table
from tasuki_cli.records import LocalArchive


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def archive_of(folder: Path, relay: Relay) -> LocalArchive:
    with closing(SqliteLedger(folder / "ledger.sqlite")) as ledger:
        for event in [relay.plan, FIRST, *relay.history]:
            ledger.append("r", encode(event), at=0.0)
    return LocalArchive(folder)


def late() -> Relay:
    relay = Relay(several(rounds=2, wait_s=5.0))
    finish_turn(relay, 1)
    finish_lane(relay, 0)
    relay(WaitOver(round=0))
    return relay


def test_runs_have_a_line_for_each_lane_while_they_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    relay = Relay(several(rounds=1))
    finish_lane(relay, 0)
    finish_turn(relay, 1)
    records.show_runs(archive_of(tmp_path, relay), as_json=False)
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["lane", "1", "done", "turn", "2/2"] in shown
    assert ["lane", "2", "out", "turn", "2/2", "d", "has", "it"] in shown


def test_a_run_with_lanes_that_is_over_has_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    relay = Relay(several(rounds=1))
    finish_round(relay)
    archive = archive_of(tmp_path, relay)
    records.show_runs(archive, as_json=False)
    assert "lane" not in capsys.readouterr().out
    records.show_runs(archive, as_json=True)
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert ["done", "done"] == [lane["status"] for lane in row["lanes"]]


def test_turns_name_their_lane_and_those_of_a_late_one_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = archive_of(tmp_path, late())
    turns.show("r", archive, as_csv=False, output=None, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    cells = [line.split() for line in lines]
    assert ["round", "lane", "turn", "site"] == next(row for row in cells if "round" in row)[:4]
    assert [["1", "1", "1", "a"], ["1", "1", "2", "c"]] == [row[:4] for row in cells if "10" in row]
    assert [["1", "2", "1", "b"], ["1", "2", "2", "d"]] == [
        row[:4] for row, line in zip(cells, lines, strict=True) if "skipped: late" in line
    ]
    assert max(map(len, lines)) <= 80


def test_the_turns_of_a_finished_run_are_shown_lane_by_lane() -> None:
    relay, out = late(), io.StringIO()
    accepted = [finish_turn(relay, 1), finish_turn(relay, 0)]
    Console(file=out, width=80).print(turns_table(accepted, relay.state.skipped, "accuracy"))
    rows = [line.split()[:3] for line in out.getvalue().splitlines()]
    assert [
        ["round", "lane", "site"],
        ["1", "2", "b"],
        ["1", "2", "d"],
        ["2", "1", "a"],
        ["2", "2", "b"],
    ] == rows
