"""The ledger: what was recorded is there, in one piece, and any change to it is noticed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.errors import DiskFull, LedgerBroken, NewerData, StorageError
from tasuki.ledger import migrations
from tasuki.ledger.sqlite import GENESIS, Row, SqliteLedger, row_hash

COUNT = 6
Change = Callable[[sqlite3.Connection], object]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger(path)) as ledger:
        yield ledger


def fill(ledger: SqliteLedger, *, run: str = "r", count: int = COUNT) -> list[Row]:
    return [
        ledger.append(run, f"event {at}".encode(), at=at + 0.5, outcome="dropped" * (at % 2))[0]
        for at in range(count)
    ]


def tampered(change: Change) -> str:
    """What `verify` says after somebody changed the file behind our back."""
    ledger = SqliteLedger(":memory:")
    with closing(ledger):
        fill(ledger)
        fill(ledger, run="other")
        change(ledger._db)  # noqa: SLF001 - nobody else can reach a file in memory
        ledger.verify("other")
        with pytest.raises(LedgerBroken) as caught:
            ledger.verify("r")
    return str(caught.value)


def test_rows_come_back_as_they_were_recorded(ledger: SqliteLedger, path: Path) -> None:
    rows = fill(ledger)
    assert rows == list(ledger.rows("r")) == ledger.verify("r")
    assert list(range(1, COUNT + 1)) == [row.seq for row in rows]
    assert (COUNT, rows[-1].hash) == ledger.head("r")
    with closing(SqliteLedger(path)) as again:
        assert rows == again.verify("r")


def test_each_row_is_chained_to_the_one_before(ledger: SqliteLedger) -> None:
    previous = GENESIS
    for row in fill(ledger):
        assert row.hash == row_hash(previous, "r", row.seq, row.at, row.event, row.outcome)
        previous = row.hash


def test_the_chain_never_changes_between_releases() -> None:
    """Ledgers of old releases must still verify."""
    assert HASH == row_hash(GENESIS, "r", 1, 0.5, b"event", "")


HASH = "blake3:2afa535176a4f3e376d4eaa854e357ec2d4e5663f320f10a1e22867185484297"


def test_a_run_that_nobody_recorded_is_empty(ledger: SqliteLedger) -> None:
    assert ([], (0, GENESIS), []) == (ledger.verify("r"), ledger.head("r"), ledger.runs())


def test_runs_have_chains_of_their_own(ledger: SqliteLedger) -> None:
    for at in range(3):
        for run in ("r", "s"):
            ledger.append(run, b"x", at=float(at))
    assert [1, 2, 3] == [row.seq for row in ledger.verify("r")]
    assert [1, 2, 3] == [row.seq for row in ledger.verify("s")]


def test_runs_are_listed_in_the_order_in_which_they_were_submitted(ledger: SqliteLedger) -> None:
    for at, run in enumerate(("z", "a", "m")):
        ledger.append(run, b"x", at=float(at))
    assert ["z", "a", "m"] == ledger.runs()


def test_a_whole_number_of_seconds_verifies(ledger: SqliteLedger) -> None:
    """Bug: SQLite gives 5 back as 5.0, so that a row with a whole `at` was called broken."""
    (row, _) = ledger.append("r", b"x", at=5)
    assert [row] == ledger.verify("r")


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 1e12),
            st.binary(max_size=20),
            st.text(max_size=10),
        ),
        max_size=10,
    )
)
def test_whatever_is_recorded_verifies(rows: list[tuple[float, bytes, str]]) -> None:
    with closing(SqliteLedger(":memory:")) as ledger:
        for at, event, outcome in rows:
            ledger.append("r", event, at=at, outcome=outcome)
        found = [(row.at, row.event, row.outcome) for row in ledger.verify("r")]
    assert rows == found


def test_rows_of_all_runs_come_in_the_order_in_which_they_were_recorded(
    ledger: SqliteLedger,
) -> None:
    recorded = [
        ledger.append(run, b"x", at=at)[0]
        for run, at in [("s", 5.0), ("r", 6.0), ("s", 2.0), ("r", 2.0)]  # be the clock set back
    ]
    assert [1, 2, 3, 4] == [row.position for row in recorded]
    assert 4 == ledger.newest()
    assert [recorded, recorded[2:], []] == [list(ledger.rows(after=after)) for after in (0, 2, 4)]
    assert recorded[3] == ledger.row("r", 2)


# Who follows.


def test_a_follower_s_position_is_kept(ledger: SqliteLedger, path: Path) -> None:
    fill(ledger)
    assert 0 == ledger.position("page")
    ledger.save_position("page", 3)
    ledger.save_position("page", 4)
    with closing(SqliteLedger(path)) as again:
        assert (4, 0) == (again.position("page"), again.position("other"))


def test_a_position_is_not_forced_to_the_disk_and_whatever_is_recorded_is(
    ledger: SqliteLedger, path: Path
) -> None:
    fill(ledger, count=1)
    forced = "PRAGMA synchronous"
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "CREATE TRIGGER bad BEFORE INSERT ON followers "
            "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    with pytest.raises(DiskFull):
        ledger.save_position("page", 1)
    assert (2,) == ledger._db.execute(forced).fetchone()  # noqa: SLF001 - it is this connection's


# Changes behind our back.


def test_a_row_that_was_slipped_in_is_named() -> None:
    def change(database: sqlite3.Connection) -> None:
        for later in range(COUNT, 2, -1):
            update = "UPDATE rows SET seq = ? WHERE run = 'r' AND seq = ?"
            database.execute(update, (later + 1, later))
        database.execute("INSERT INTO rows SELECT NULL,run,3,at,event,outcome,hash,NULL FROM rows"
                         " WHERE run = 'r' AND seq = 2")  # fmt: skip

    assert "row 3 of r is not what was recorded" == tampered(change)


FIELDS: dict[str, st.SearchStrategy[object]] = {
    "at": st.floats(0, 1e12) | st.just("yesterday"),
    "event": st.binary() | st.text(),
    "outcome": st.text() | st.binary(),
    "hash": st.just(GENESIS) | st.text() | st.binary(),
}


@given(data=st.data(), number=st.integers(1, COUNT), field=st.sampled_from(sorted(FIELDS)))
def test_a_single_changed_field_names_its_row(data: st.DataObject, number: int, field: str) -> None:
    value = data.draw(FIELDS[field])

    def change(database: sqlite3.Connection) -> None:
        query = f"SELECT {field} FROM rows WHERE run = 'r' AND seq = ?"  # noqa: S608 - ours
        (before,) = database.execute(query, (number,)).fetchone()
        if type(before) is type(value) and before == value:
            database.execute("UPDATE rows SET hash = 'x' WHERE run = 'r' AND seq = ?", (number,))
            return
        update = f"UPDATE rows SET {field} = ? WHERE run = 'r' AND seq = ?"  # noqa: S608 - ours
        database.execute(update, (value, number))

    assert f"row {number} of r is not what was recorded" == tampered(change)


@given(number=st.integers(1, COUNT - 1))
def test_a_deleted_row_is_named(number: int) -> None:
    message = tampered(
        lambda database: database.execute("DELETE FROM rows WHERE run='r' AND seq=?", (number,))
    )
    assert f"row {number} of r is missing" == message


@given(number=st.integers(1, COUNT - 1))
def test_a_deleted_row_is_named_though_the_rest_was_numbered_anew(number: int) -> None:
    def change(database: sqlite3.Connection) -> None:
        database.execute("DELETE FROM rows WHERE run = 'r' AND seq = ?", (number,))
        for later in range(number + 1, COUNT + 1):
            update = "UPDATE rows SET seq = ? WHERE run = 'r' AND seq = ?"
            database.execute(update, (later - 1, later))

    assert f"row {number} of r is not what was recorded" == tampered(change)


@given(st.permutations(range(1, COUNT + 1)).filter(lambda order: order != sorted(order)))
def test_rows_in_another_order_are_named(order: list[int]) -> None:
    def change(database: sqlite3.Connection) -> None:
        update = "UPDATE rows SET seq = ? WHERE run = 'r' AND seq = ?"
        for before, after in enumerate(order, start=1):
            database.execute(update, (after + 100, before))
        for seq in range(1, COUNT + 1):
            database.execute(update, (seq, seq + 100))

    first = next(at for at in range(1, COUNT + 1) if order[at - 1] != at)
    assert f"row {first} of r is not what was recorded" == tampered(change)


def test_a_row_of_another_run_is_not_taken_for_ones_own() -> None:
    def change(database: sqlite3.Connection) -> None:
        database.execute("DELETE FROM rows WHERE run = 'r' AND seq = 2")
        database.execute("INSERT INTO rows SELECT NULL,'r',seq,at,event,outcome,hash,NULL FROM rows"
                         " WHERE run = 'other' AND seq = 2")  # fmt: skip

    assert "row 2 of r is not what was recorded" == tampered(change)


def test_text_that_is_no_text_is_named_by_the_row_before() -> None:
    message = tampered(
        lambda database: database.execute(
            "UPDATE rows SET outcome = CAST(x'ff' AS TEXT) WHERE run = 'r' AND seq = 3"
        )
    )
    assert "cannot be read after row 2" in message


def test_a_file_that_is_no_ledger_is_broken(path: Path) -> None:
    path.write_bytes(b"not a database, however you look at it" * 100)
    with pytest.raises(LedgerBroken, match="damaged"):
        SqliteLedger(path)


def test_a_file_that_cannot_be_opened_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        SqliteLedger(tmp_path)


def test_a_file_of_a_newer_tasuki_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(NewerData, match="format 99"):
        SqliteLedger(path)
    assert before[:16] == path.read_bytes()[:16]
    with closing(sqlite3.connect(path)) as database:
        assert (99,) == database.execute("PRAGMA user_version").fetchone()
        assert [] == database.execute("SELECT name FROM sqlite_master").fetchall()


def test_a_step_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    steps = ("CREATE TABLE one (x);", "CREATE TABLE two (x); CREATE TABLE two (x);")
    with pytest.raises(StorageError):
        migrations.connect(path, steps)
    with closing(migrations.connect(path, steps[:1])) as database:
        found = database.execute("SELECT name FROM sqlite_master").fetchall()
        assert [("one",)] == found
        assert (1,) == database.execute("PRAGMA user_version").fetchone()


# The outbox.


def test_effects_wait_in_their_order_until_they_are_struck_out(
    ledger: SqliteLedger, path: Path
) -> None:
    _, first = ledger.append("r", b"x", at=1.0, effects=[b"a", b"b"])
    _, second = ledger.append("s", b"y", at=2.0, effects=[b"c"])
    assert [*first, *second] == ledger.pending()
    assert [1, 1, 1] == [pending.seq for pending in ledger.pending()], "of the row that decided it"

    ledger.strike(first[0])
    ledger.strike(first[0])
    with closing(SqliteLedger(path)) as again:
        found = [(pending.run, pending.effect) for pending in again.pending()]
    assert [("r", b"b"), ("s", b"c")] == found


@pytest.mark.parametrize(
    ("message", "error"),
    [("database or disk is full", DiskFull), ("disk I/O error", StorageError)],
)
def test_a_row_and_its_effects_are_recorded_together_or_not_at_all(
    ledger: SqliteLedger, path: Path, message: str, error: type[StorageError]
) -> None:
    before = fill(ledger, count=2)
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "CREATE TRIGGER bad BEFORE INSERT ON outbox WHEN NEW.effect = x'626164' "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )
    with pytest.raises(StorageError) as caught:
        ledger.append("r", b"x", at=1.0, effects=[b"good", b"bad"])
    assert error is type(caught.value)
    assert (before, []) == (ledger.verify("r"), ledger.pending())

    row, _ = ledger.append("r", b"x", at=1.0, effects=[b"good"])
    assert ([*before, row], 1) == (ledger.verify("r"), len(ledger.pending()))


def test_nothing_is_recorded_if_the_effects_cannot_be_made(ledger: SqliteLedger) -> None:
    """Bug: the transaction stayed open, and nothing could be recorded ever after."""

    def effects() -> Iterator[bytes]:
        yield b"good"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        ledger.append("r", b"x", at=1.0, effects=effects())
    assert ([], []) == (ledger.verify("r"), ledger.pending())
    assert 3 == len(fill(ledger, count=3))


def test_a_struck_effect_that_cannot_be_written_is_a_storage_error(
    ledger: SqliteLedger, path: Path
) -> None:
    """Bug: an error of SQLite itself came out, which no caller of ours expects."""
    _, (pending,) = ledger.append("r", b"x", at=1.0, effects=[b"a"])
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "CREATE TRIGGER bad BEFORE DELETE ON outbox "
            "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    with pytest.raises(DiskFull):
        ledger.strike(pending)
    assert [pending] == ledger.pending()
