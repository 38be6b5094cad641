"""A ledger and a site's journal of an earlier version are read as they were, or refused."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest

from tasuki.core.model import Plan, Task
from tasuki.core.run import Status
from tasuki.errors import DataInUse, LedgerBroken
from tasuki.ledger import migrations
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.settings.run import RunFile
from tasuki.settings.toml import read
from tasuki.wire.messages import encode
from tasuki_cli.simulate import simulate
from tasuki_cli.simulation import Simulation
from tasuki_controller import history
from tasuki_controller.data_folder import DataFolder
from tasuki_site.journal import Journal

KEPT = Path(__file__).parent / "kept"
STATES: dict[str, dict[str, Any]] = json.loads((KEPT / "states.json").read_text())  # Any: JSON


def restored(dump: str, path: Path) -> Path:
    """The file that was dumped."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript((KEPT / dump).read_text())
    return path


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "data")
    folder.path.mkdir()
    restored("ledger.sql", folder.ledger_path)
    shutil.copytree(KEPT / "runs", folder.runs_path, symlinks=True)
    return folder


@pytest.fixture
def ledger(data: DataFolder) -> Iterator[SqliteLedger]:
    with closing(data.ledger()) as ledger:
        yield ledger


def test_every_run_is_whole_and_stands_where_it_stood(ledger: SqliteLedger) -> None:
    found = {}
    for run, state in history.runs(ledger).items():
        assert ledger.verify(run)
        found[run] = {
            "status": state.status.value,
            "digest": state.weights.digest,
            "turns": state.turns,
            "skipped": [asdict(skip) for skip in state.skipped],
        }
    of_one_lane = json.loads(json.dumps(STATES["runs"]))  # which did not say so
    for run in of_one_lane.values():
        run["skipped"] = [skip | {"lane": 0} for skip in run["skipped"]]
    assert of_one_lane == found


def test_nobody_changes_a_ledger_that_an_older_controller_works_on(data: DataFolder) -> None:
    before = data.ledger_path.read_bytes()
    with data.locked(), pytest.raises(DataInUse):
        data.runs()
    assert before == data.ledger_path.read_bytes()
    assert data.runs()


def test_rows_have_their_places_by_time_and_none_comes_before_its_predecessor(
    ledger: SqliteLedger,
) -> None:
    rows = list(ledger.rows())
    assert list(range(1, len(rows) + 1)) == [row.position for row in rows]
    assert ["finished", "skipped", "killed"] == [run for run, _ in groupby(row.run for row in rows)]
    assert all(a.seq + 1 == b.seq for a, b in pairwise(rows) if a.run == b.run)


def test_a_clock_that_was_set_back_moves_no_row_before_its_predecessor(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(migrations.connect(path, migrations.LEDGER[:1])) as database:
        for run, seq, at in [("a", 1, 5.0), ("b", 1, 4.5), ("a", 2, 1.0), ("b", 2, 6.0)]:
            database.execute(
                "INSERT INTO rows VALUES (?, ?, ?, x'', '', ?)", (run, seq, at, f"{run}{seq}")
            )
    with closing(SqliteLedger(path)) as ledger:
        assert ["b1", "a1", "a2", "b2"] == [row.hash for row in ledger.rows()]


def test_a_run_that_was_killed_goes_on_to_the_weights_of_one_that_was_not(
    data: DataFolder, tmp_path: Path
) -> None:
    with closing(data.ledger()) as ledger:
        assert [None, None] == [pending.seq for pending in ledger.pending()], "as it was written"
    for name in ("adding.py", "killed.toml"):
        shutil.copy(KEPT / name, tmp_path)
    run_file = read(tmp_path / "killed.toml", RunFile)
    ended = simulate(
        Simulation(
            run_file=run_file,
            folder=tmp_path,
            data=data,
            sites=run_file.simulated_sites(),
            resume=True,
        )
    )
    assert Status.FINISHED is ended.state.status
    assert STATES["runs"]["finished"]["digest"] == ended.state.weights.digest
    # With the checkpoint that had been decided and not kept: it names the row of that decision.
    assert 4 == data.verify("killed").files


def test_a_row_that_this_version_does_not_know_is_refused_by_its_number(data: DataFolder) -> None:
    with closing(sqlite3.connect(data.ledger_path)) as database:
        plan = Plan(run="killed", sites=("a",), task=Task(trainer="t"))
        change = "UPDATE rows SET event = ? WHERE run = 'killed' AND seq = 5"
        database.execute(change, (encode(plan),))
        database.commit()
    with pytest.raises(LedgerBroken, match="row 5 of killed cannot be replayed"):
        data.runs()


def test_a_site_is_as_it_was_when_it_last_wrote(tmp_path: Path) -> None:
    path = restored("journal.sql", tmp_path / "journal.sqlite")
    with closing(migrations.connect(path, migrations.JOURNAL)) as database:
        found = {site: _of_site(Journal(database, site)) for site in STATES["sites"]}
    assert STATES["sites"] == found


def _of_site(journal: Journal) -> dict[str, object]:
    state = journal.state()
    assert journal.is_introduced
    return {
        "active": [
            [str(each.turn.id), each.phase.value, each.record and each.record.sent.digest]
            for each in state.active
        ],
        "done": [
            [str(each.turn.id), each.record and each.record.sent.digest] for each in journal.done()
        ],
        "fenced": [[*lane, term] for lane, term in sorted(state.fenced.items())],
        "next_offset": journal.next_offset(),
    }
