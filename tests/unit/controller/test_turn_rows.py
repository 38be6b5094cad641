"""A run's turns as its ledger has them, read from a data folder."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from support.runs import FIRST, Relay, plan
from support.several import finish_lane, finish_round, finish_turn, several
from tasuki.core.model import OnSilent
from tasuki.core.run import RunSubmitted, WaitOver, WeightsLost
from tasuki.errors import LedgerBroken, UnknownRun
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.wire.messages import encode
from tasuki_cli.records import LocalArchive


def archive_of(folder: Path, relay: Relay, *, rows: int | None = None) -> LocalArchive:
    """A data folder whose ledger has this, or its first rows."""
    with closing(SqliteLedger(folder / "ledger.sqlite")) as ledger:
        for event in [relay.plan, FIRST, *relay.history][:rows]:
            ledger.append("r", encode(event), at=0.0)
    return LocalArchive(folder)


def test_every_accepted_turn_is_there_in_its_order_with_what_was_skipped(tmp_path: Path) -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, rounds=2))
    first = relay.finish_turn()
    relay.expire()
    relay.finish_round()
    relay.finish_round()
    turns = archive_of(tmp_path, relay).turns("r").turns
    assert [(1, 1, "a"), (1, 2, "b"), (1, 3, "c"), (2, 1, "a")] == [
        (turn.round, turn.turn, turn.site) for turn in turns
    ][:4]
    assert ["", "silent", ""] == [turn.skipped for turn in turns[:3]]
    assert ("b", "silent") in {(turn.site, turn.skipped) for turn in turns if turn.round == 2}
    one = turns[0]
    assert (first.received, first.sent.digest) == (one.received, one.sent)
    assert (10, 1.5, {"accuracy": 0.5}) == (one.samples, one.seconds, one.metrics)


def test_a_round_that_begins_anew_leaves_no_turn_twice(tmp_path: Path) -> None:
    relay = Relay(plan(rounds=1))
    relay.finish_turn()
    relay(WeightsLost(weights=relay.state.weights))
    assert [] == archive_of(tmp_path, relay).turns("r").turns


def test_a_run_that_is_not_there_or_never_began_is_an_error(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, Relay(), rows=1)
    with pytest.raises(UnknownRun, match=r"'r' in .* never began"):
        archive.turns("r")
    with pytest.raises(UnknownRun, match=r"there is no run 's'.*it has r"):
        archive.scores("s", metric=None, mode=None)


def test_an_archive_knows_what_was_recorded_since_it_was_asked_and_whose_it_is(
    tmp_path: Path,
) -> None:
    """It replays no row twice for what it is asked, be that a whole report."""
    relay = Relay(plan(rounds=2))
    relay.finish_round()
    archive = archive_of(tmp_path, relay)
    assert 3 == len(archive.turns("r").turns) == len(archive.standing("r").history)
    asked, turn = len(relay.history), relay.finish_turn()
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as ledger:
        for event in relay.history[asked:]:
            ledger.append("r", encode(event), at=0.0)
        other = replace(relay.plan, run="s")
        for row in (other, FIRST, RunSubmitted()):
            ledger.append("s", encode(row), at=0.0)
    assert turn.sent.digest == archive.turns("r").turns[-1].sent
    assert ("s", []) == (archive.turns("s").run, archive.turns("s").turns)
    assert 4 == archive.standing("r").turns


def test_what_cannot_be_replayed_is_shown_as_far_as_it_can_be(tmp_path: Path) -> None:
    relay = Relay(plan(rounds=1))
    relay.finish_turn()
    archive = archive_of(tmp_path, relay)
    whole = archive.rows("r")
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as ledger:
        ledger.append("r", encode(RunSubmitted()), at=0.0)  # no run is submitted twice
    assert [*whole, archive.rows("r")[-1]] == archive.rows("r")
    with pytest.raises(LedgerBroken, match="cannot be replayed"):
        archive.turns("r")


def test_turns_of_several_lanes_are_there_lane_by_lane_with_their_merges(tmp_path: Path) -> None:
    relay = Relay(several(rounds=2))
    finish_round(relay)
    first = relay.state.weights
    finish_round(relay)
    table = archive_of(tmp_path, relay).turns("r")
    assert [(1, 1, 1, "a"), (1, 1, 2, "c"), (1, 2, 1, "b"), (1, 2, 2, "d")] == [
        (turn.round, turn.lane, turn.turn, turn.site) for turn in table.turns
    ][:4]
    assert [1, 2] == [merged.round for merged in table.merges]
    assert first.digest == table.merges[0].digest == table.turns[4].received
    assert [(1, table.turns[1].sent, 20), (2, table.turns[3].sent, 20)] == [
        (lane.lane, lane.digest, lane.samples) for lane in table.merges[0].lanes
    ]


def test_turns_of_rounds_without_a_merge_are_on_record(tmp_path: Path) -> None:
    """Bug: only a round's checkpoint closed it, so that those before were forgotten."""
    relay = Relay(several(rounds=3, every_n_rounds=2, wait_s=5.0))
    finish_turn(relay, 1)
    finish_lane(relay, 0)
    relay(WaitOver(round=0))
    finish_round(relay)
    finish_round(relay)
    archive = archive_of(tmp_path, relay)
    accepted = [turn for turn in archive.turns("r").turns if not turn.skipped]
    assert {1: 2, 2: 4, 3: 4} == Counter(turn.round for turn in accepted)
    assert 10 == archive.standing("r").turns == len(archive.standing("r").history)
    assert [2, 3] == [merged.round for merged in archive.turns("r").merges]
