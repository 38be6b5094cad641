"""Every turn as a table, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.archives import Archive
from support.runs import turn
from tasuki.core.run import Skip
from tasuki.errors import SettingsError, StorageError
from tasuki_cli import turns
from tasuki_controller.documents import TurnRow, TurnTable
from tasuki_report.turn_csv import HEAD, csv_of

SKIPPED = Skip(round=0, hop=1, site="b", reason="silent")
FIXED = len(HEAD)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def as_table(archive: Archive, capsys: pytest.CaptureFixture[str]) -> str:
    turns.show("r", archive, as_csv=False, output=None, as_json=False)
    return capsys.readouterr().out


def as_csv(archive: Archive) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_of(archive.turns("r")))))


def test_the_csv_has_every_metric_of_every_turn() -> None:
    archive = Archive(
        turn(received_accuracy=0.25, accuracy=0.5), turn("c", hop=2, loss=1 / 3), skipped=(SKIPPED,)
    )
    first, skipped, last = as_csv(archive)
    assert [*HEAD, "received_accuracy", "accuracy", "loss"] == list(first)
    assert ("1", "1", "1", "a", "10", "1.5", "false") == tuple(first.values())[:7]
    assert ("0.25", "0.5", "") == tuple(first.values())[FIXED:]
    assert ("", "", str(1 / 3)) == tuple(last.values())[FIXED:]
    assert ("1", "1", "2", "b", "", "", "", "silent", "", "") == tuple(skipped.values())[:FIXED]
    assert archive.records[0].sent.digest == first["sent"]


def test_what_is_no_number_is_told_from_what_was_not_reported() -> None:
    rows = as_csv(Archive(turn(auc=math.nan, loss=math.inf), turn(hop=1, accuracy=0.5)))
    assert [("", "NaN", "NaN"), ("0.5", "", "")] == [
        (row["accuracy"], row["auc"], row["loss"]) for row in rows
    ]


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "+1", "-1", "  =1", "\uff1d1", "\t=1"])
def test_no_metric_s_name_is_a_formula(name: str) -> None:
    (row,) = as_csv(Archive(turn(named={name: 0.5})))
    head = list(row)[-1]
    assert "0.5" == row[head]
    assert not head.startswith(("=", "@", "+", "-", " ", "\uff1d", "\t"))


def test_no_reason_is_a_formula_and_none_steers_a_terminal() -> None:
    (row,) = as_csv(Archive(skipped=(replace(SKIPPED, reason="=cmd|' /C calc'!A0\n\x1b[2J"),)))
    assert r"'=cmd|' /C calc'!A0\n\x1b[2J" == row["skipped"]


def test_a_number_below_nought_stays_a_number() -> None:
    (row,) = as_csv(Archive(turn(gain=-0.5)))
    assert "-0.5" == row["gain"]


@given(st.sets(st.text(max_size=8), max_size=6))
def test_every_metric_has_a_column_of_its_own_whatever_it_is_called(names: set[str]) -> None:
    named = {*names, "site", "site_", "\x1b", r"\x1b", "=a", "'=a"}
    metrics: dict[str, float | None] = {name: n / 2 for n, name in enumerate(sorted(named))}
    table = TurnTable(
        run="r", best=None, turns=[TurnRow(round=1, turn=1, site="a", metrics=metrics)]
    )
    head, row = csv.reader(io.StringIO(csv_of(table)))
    assert len(head) == len(set(head)) == len(row) == FIXED + len(named)
    assert {n / 2 for n in range(len(named))} == set(map(float, row[FIXED:]))


def test_a_run_without_a_turn_has_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert [] == as_csv(Archive())
    assert "r: no turn is over yet\n" == as_table(Archive(), capsys)


def test_json_has_names_and_digests_whole(capsys: pytest.CaptureFixture[str]) -> None:
    archive = Archive(turn(named={"\x1b=": math.nan, "loss": 0.5}), skipped=(SKIPPED,))
    turns.show("r", archive, as_csv=False, output=None, as_json=True)
    told = json.loads(capsys.readouterr().out)
    accepted, skipped = told["turns"]
    assert {"\x1b=": None, "loss": 0.5} == accepted["metrics"]
    assert archive.records[0].received == accepted["received"]
    assert ("silent", None, {}) == (skipped["skipped"], skipped["sent"], skipped["metrics"])
    assert TurnTable.model_validate(told) == archive.turns("r")


def test_the_csv_goes_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, archive = tmp_path / "turns.csv", Archive(turn(named={"größe": 0.5}))
    turns.show("r", archive, as_csv=False, output=path, as_json=False)
    assert csv_of(archive.turns("r")) == path.read_text(encoding="utf-8")
    assert "1 turns of r" in capsys.readouterr().out
    with pytest.raises(StorageError):
        turns.show("r", archive, as_csv=True, output=tmp_path / "gone/x.csv", as_json=False)


@pytest.mark.parametrize(("as_csv", "output"), [(True, None), (False, Path("turns.csv"))])
def test_csv_and_json_at_once_are_refused(as_csv: bool, output: Path | None) -> None:
    with pytest.raises(SettingsError, match="not both"):
        turns.show("r", Archive(), as_csv=as_csv, output=output, as_json=True)


# In a terminal.


def test_ten_thousand_turns_are_shown_without_a_pause(capsys: pytest.CaptureFixture[str]) -> None:
    """Bug: a table that measures every cell took nine seconds."""
    one = turn(received_accuracy=0.25, accuracy=0.5, loss=1.0)
    archive = Archive(*(replace(one, id=replace(one.id, round=n)) for n in range(10_000)))
    began = time.monotonic()
    assert 10_000 < len(as_table(archive, capsys).splitlines())
    assert time.monotonic() - began < 4


def test_at_80_columns_no_line_is_folded_and_what_is_not_shown_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = {f"metric_{index:02}": 0.5 for index in range(12)}
    metrics |= {"received_dice": 0.123456, "dice": 0.25}
    records = [turn(f"hospital-{hop}", hop=hop, named=metrics) for hop in range(3)]
    table, _, said = as_table(Archive(*records, best="dice"), capsys).partition("no room for:")
    lines = table.splitlines()
    assert (5, True) == (len(lines), max(map(len, lines)) <= 80)
    assert all("0.1235" in line and "0.2500" in line for line in lines[2:])
    assert "metric_00, metric_01" in " ".join(said.split())
    assert "4 more" in " ".join(said.split())
    assert "--csv" in said


def test_where_there_is_room_all_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    record = turn(received_accuracy=0.1, accuracy=0.2, loss=2e-8, auc=math.nan)
    shown = as_table(Archive(record), capsys)
    assert "no room" not in shown
    assert {"0.1000", "0.2000", "2e-08", "NaN", record.sent.digest[7:15]} <= set(shown.split())


def test_a_turn_that_was_skipped_or_changed_nothing_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = turn(accuracy=0.5)
    same = replace(record, received=record.sent.digest)
    shown = as_table(Archive(same, skipped=(SKIPPED,)), capsys)
    assert "unchanged" in shown
    assert "skipped: silent" in shown


def test_a_name_that_would_steer_the_terminal_or_fill_it_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = as_table(Archive(turn(named={"\x1b[2J[/red]": 0.5}), best=None), capsys)
    assert "\x1b" not in shown
    shown = as_table(Archive(turn(named={"x" * 5000: 0.5})), capsys)
    assert len(shown) < 1000
