"""The site's journal: what was written before a crash is what the site starts from."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.sites import Site, result, turn
from tasuki.core import turn as machine
from tasuki.core.model import CONTROLLER
from tasuki.core.trust import Submission
from tasuki.core.turn import Phase, Progress, SiteState
from tasuki.errors import DiskFull, NewerData, StorageError
from tasuki.ledger import migrations
from tasuki_site.journal import Journal, open_journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site" / "journal.sqlite"


@pytest.fixture
def database(path: Path) -> Iterator[sqlite3.Connection]:
    database = open_journal(path)
    with closing(database):
        yield database


@pytest.fixture
def journal(database: sqlite3.Connection) -> Journal:
    return Journal(database, "b")


def reopened(path: Path) -> tuple[SiteState, tuple[Progress, ...]]:
    database = open_journal(path)
    with closing(database):
        journal = Journal(database, "b")
        return journal.state(), journal.done()


def trained(run: str = "r") -> Progress:
    mine = turn(run=run)
    return Progress(turn=mine, phase=Phase.TRAINED, record=result(mine))


def test_a_new_journal_says_so_and_knows_of_no_turn(path: Path) -> None:
    database = open_journal(path)
    with closing(database):
        journal = Journal(database, "b")
        assert not journal.is_introduced
        assert (SiteState(site="b"), ()) == (journal.state(), journal.done())
        assert journal.next_offset() is None


def test_a_new_journal_stays_new_until_the_controller_was_told(
    path: Path, journal: Journal
) -> None:
    journal.write(Progress(turn=turn()))
    database = open_journal(path)
    with closing(database):
        again = Journal(database, "b")
        assert not again.is_introduced
        again.introduce()
    database = open_journal(path)
    with closing(database):
        assert Journal(database, "b").is_introduced


def test_a_journal_from_before_this_was_kept_is_not_new(path: Path) -> None:
    path.parent.mkdir()
    with closing(migrations.connect(path, migrations.JOURNAL[:1])) as old:
        Journal(old, "b").write(Progress(turn=turn()))
    database = open_journal(path)
    with closing(database):
        assert Journal(database, "b").is_introduced
        assert not Journal(database, "a").is_introduced


def test_a_fence_survives(path: Path, journal: Journal) -> None:
    journal.write_fence("r", 0, 3)
    journal.write_fence("r", 0, 4)
    state, _ = reopened(path)
    assert {("r", 0): 4} == state.fenced


def test_which_run_a_name_is_survives(path: Path, journal: Journal) -> None:
    assert Submission() == journal.submission("r")
    for began in (1.0, 2.5):
        journal.write_submission("r", Submission(about="blake3:1", began=began))
    database = open_journal(path)
    with closing(database):
        assert Submission(about="blake3:1", began=2.5) == Journal(database, "b").submission("r")
        assert Submission() == Journal(database, "a").submission("r")


def test_nothing_is_left_of_a_run_whose_name_is_anothers(path: Path, journal: Journal) -> None:
    for run in ("r", "other"):
        journal.write(trained(run))
        journal.write_fence(run, 1, 3)
    journal.forget_lanes("r")
    state, _ = reopened(path)
    assert {("other", 0)} == set(state.seen)
    assert {("other", 1): 3} == state.fenced


def test_a_taken_turn_survives(path: Path, journal: Journal) -> None:
    taken = Progress(turn=replace(turn(), history=(b"1", b"2")))
    journal.write(taken)
    state, done = reopened(path)
    assert (taken, {("r", 0): (1, 0, 1)}, ()) == (state.current, state.seen, done)


def test_a_result_survives(path: Path, journal: Journal) -> None:
    journal.write(Progress(turn=turn()))
    journal.write(trained())
    assert trained() == reopened(path)[0].current


def test_a_finished_turn_survives_as_finished(path: Path, journal: Journal) -> None:
    done = replace(trained(), phase=Phase.DONE)
    journal.write(done)
    state, found = reopened(path)
    assert (None, (done,), {("r", 0): (1, 0, 1)}) == (state.current, found, state.seen)


def test_a_newer_turn_of_a_lane_takes_the_place_of_the_older(path: Path, journal: Journal) -> None:
    journal.write(trained())
    newer = Progress(turn=turn(term=2))
    journal.write(newer)
    state, _ = reopened(path)
    assert (newer, ()) == (state.current, state.waiting)


def test_turns_wait_in_the_order_in_which_they_came(path: Path, journal: Journal) -> None:
    taken = [Progress(turn=turn(run=run)) for run in ("z", "y", "x")]
    for progress in taken:
        journal.write(progress)
    state, _ = reopened(path)
    assert taken == [state.current, *state.waiting]


def test_a_result_goes_before_turns_that_wait(path: Path, journal: Journal) -> None:
    journal.write(Progress(turn=turn(run="r")))
    journal.write(Progress(turn=turn(run="a")))
    journal.write(trained("r"))
    state, _ = reopened(path)
    assert trained("r") == state.current
    assert (Progress(turn=turn(run="a")),) == state.waiting


def test_the_order_of_arrival_outlives_a_restart(path: Path, journal: Journal) -> None:
    journal.write(Progress(turn=turn(run="z")))
    database = open_journal(path)
    with closing(database):
        Journal(database, "b").write(Progress(turn=turn(run="a")))
    state, _ = reopened(path)
    assert Progress(turn=turn(run="z")) == state.current


def test_lanes_of_a_run_are_kept_apart(path: Path, journal: Journal) -> None:
    for lane in (0, 1):
        journal.write(Progress(turn=turn(lane=lane)))
    assert {("r", 0), ("r", 1)} == set(reopened(path)[0].seen)


def test_simulated_sites_share_a_file_and_nothing_else(
    path: Path, database: sqlite3.Connection, journal: Journal
) -> None:
    other = Journal(database, "a")
    mine, theirs = Progress(turn=turn()), Progress(turn=turn(hop=0))
    journal.write(mine)
    other.write(theirs)
    other.write_offset(7)
    other.forget("r")
    assert (mine, None) == (journal.state().current, journal.next_offset())
    assert (None, 7) == (other.state().current, other.next_offset())


def test_a_run_that_is_over_is_forgotten_but_for_its_position(path: Path, journal: Journal) -> None:
    journal.write(trained())
    journal.forget("r")
    state, done = reopened(path)
    assert (None, {("r", 0): (1, 0, 1)}) == (state.current, state.seen)
    assert [None] == [progress.record for progress in done]


def test_how_far_the_weights_were_read_survives(path: Path, journal: Journal) -> None:
    journal.write_offset(3)
    journal.write_offset(2**40)
    database = open_journal(path)
    with closing(database):
        assert 2**40 == Journal(database, "b").next_offset()


def test_turns_are_forced_to_the_disk_also_after_a_position_that_was_not(
    database: sqlite3.Connection, journal: Journal
) -> None:
    journal.write_offset(3)
    full = 2
    assert (full,) == database.execute("PRAGMA synchronous").fetchone()


def test_a_journal_of_a_newer_tasuki_is_left_alone(
    path: Path, database: sqlite3.Connection
) -> None:
    database.execute("PRAGMA user_version = 99")
    with pytest.raises(NewerData, match="format 99"):
        open_journal(path)


@pytest.mark.parametrize(
    ("message", "error"),
    [("database or disk is full", DiskFull), ("disk I/O error", StorageError)],
)
def test_what_cannot_be_written_leaves_what_was(
    path: Path,
    database: sqlite3.Connection,
    journal: Journal,
    message: str,
    error: type[StorageError],
) -> None:
    journal.write(Progress(turn=turn()))
    database.execute(
        f"CREATE TRIGGER bad BEFORE INSERT ON turns BEGIN SELECT RAISE(ABORT, '{message}'); END"
    )
    with pytest.raises(StorageError) as caught:
        journal.write(trained())
    assert error is type(caught.value)
    assert Progress(turn=turn()) == reopened(path)[0].current


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "arrive", "ready", "finish", "confirm", "fail", "fence"]),
        st.sampled_from(["r", "s"]),
        st.integers(1, 3),
    ),
    max_size=30,
)


def event(site: Site, move: str, run: str, term: int) -> machine.Event | None:
    current = site.state.current
    if move == "arrive":
        return machine.TurnArrived(turn=turn(run=run, term=term), sender=CONTROLLER)
    if move == "fence":
        return machine.TermRaised(run=run, lane=0, term=term)
    if current is None:
        return None
    id = current.turn.id
    match move:
        case "ready":
            return machine.WeightsReady(id=id)
        case "finish" if current.phase is Phase.TRAINING:
            return machine.TrainingFinished(record=result(current.turn))
        case "confirm":
            return machine.HandedOver(id=id)
        case "fail":
            return machine.TrainingFailed(id=id, error="x", detail="")
    return None


@given(MOVES)
def test_at_any_instant_the_journal_replays_to_the_site_as_it_was(
    moves: list[tuple[str, str, int]],
) -> None:
    """But for training, which is begun again, and for fences, which come again."""
    site = Site()
    with closing(migrations.connect(":memory:", migrations.JOURNAL)) as database:
        journal = Journal(database, "b")
        for move, run, term in moves:
            what = event(site, move, run, term)
            if what is None:
                continue
            for effect in site(what):
                if isinstance(effect, machine.Journal):
                    journal.write(effect.progress)
            expected = replace(site.state, fenced={})
            active = tuple(
                replace(held, phase=Phase.TAKEN) if held.phase is Phase.TRAINING else held
                for held in expected.active
            )
            expected = replace(expected, active=active)
            assert expected == Journal(database, "b").state()
            assert all(row in site.journal.values() for row in journal.done())
