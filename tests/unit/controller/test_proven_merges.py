"""A run's rows prove of which lanes its weights were made, and that the lanes went on from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.runs import FIRST, Relay, weights
from support.several import finish_lane, finish_round, finish_turn, record_of, several
from tasuki.core import run
from tasuki.core.model import WeightsRef
from tasuki.errors import LedgerBroken
from tasuki.ledger.sqlite import Row
from tasuki.weights.digest import verify_digest
from tasuki.wire.messages import encode
from tasuki_controller import history
from tasuki_controller.checkpoints import Checkpoints
from tasuki_controller.history import Step
from tasuki_controller.proven_merges import check_merges, merged_again
from tasuki_site.tensors import save_state


def steps_of(relay: Relay, events: Sequence[object] = ()) -> list[Step]:
    """Its rows, or these events in their place."""
    rows = [
        Row(run="r", seq=seq, at=1.0, event=encode(event), outcome="", hash="")
        for seq, event in enumerate([relay.plan, FIRST, *(events or relay.history)], start=1)
    ]
    return list(history.steps(rows))


def finished(*, every_n_rounds: int = 1) -> Relay:
    relay = Relay(several(rounds=3, every_n_rounds=every_n_rounds))
    while not relay.state.is_over:
        finish_round(relay)
    return relay


def row_of(relay: Relay, event: run.Event) -> int:
    return relay.history.index(event) + 3  # after the plan and the first weights


def forged(relay: Relay, event: run.Event, instead: run.Event) -> str:
    """What is said of a ledger in which one event is another."""
    events = [instead if each is event else each for each in relay.history]
    with pytest.raises(LedgerBroken) as caught:
        check_merges(steps_of(relay, events))
    return str(caught.value)


def first_of(relay: Relay, kind: type[run.Event]) -> run.Event:
    return next(event for event in relay.history if isinstance(event, kind))


@pytest.mark.parametrize("every_n_rounds", [1, 2, 3])
def test_merges_that_follow_from_the_turns_before_them_hold(every_n_rounds: int) -> None:
    relay = finished(every_n_rounds=every_n_rounds)
    assert {1: 3, 2: 2, 3: 1}[every_n_rounds] == check_merges(steps_of(relay))


def test_lanes_that_were_late_or_passed_over_went_into_no_merge() -> None:
    relay = Relay(several(rounds=2, every_n_rounds=2, wait_s=5.0))
    finish_turn(relay, 1)
    finish_lane(relay, 0)
    relay(run.WaitOver(round=0))
    relay(run.LeaseExpired(id=relay.state.lanes[0].relay.expected))
    finish_round(relay)
    assert relay.state.is_over
    assert 1 == check_merges(steps_of(relay))


def test_a_run_of_one_lane_has_no_merge() -> None:
    relay = Relay()
    relay.finish_round()
    assert 0 == check_merges(steps_of(relay))


def test_a_merge_that_the_lanes_did_not_go_on_from_is_named() -> None:
    relay = finished()
    merged = first_of(relay, run.WeightsMerged)
    assert isinstance(merged, run.WeightsMerged)
    said = forged(relay, merged, replace(merged, weights=weights("forged")))
    assert f"made one of by row {row_of(relay, merged)}: one of both is forged" in said
    assert weights("forged").digest in said
    assert merged.weights.digest in said


def test_a_turn_that_handed_on_other_weights_than_its_lane_had_next_is_found() -> None:
    relay = finished()
    turn = first_of(relay, run.TurnFinished)
    assert isinstance(turn, run.TurnFinished)
    instead = replace(turn, record=replace(turn.record, sent=weights("forged")))
    said = forged(relay, turn, instead)
    assert "c trained" in said
    assert f"in lane 1, which had {weights('forged').digest}" in said


def test_a_merge_that_was_recorded_twice_is_found() -> None:
    relay = finished()
    merged = first_of(relay, run.WeightsMerged)
    at = relay.history.index(merged)
    events = [*relay.history[: at + 1], merged, *relay.history[at + 1 :]]
    with pytest.raises(LedgerBroken, match=f"row {at + 4} of r does not follow.*WeightsMerged"):
        check_merges(steps_of(relay, events))


# Merges that are made again.


class Files:
    """The lanes of a round with weights that are files, where they lie between merges."""

    def __init__(self, folder: Path) -> None:
        self.checkpoints = Checkpoints(folder)
        self.relay = Relay(several(sites=("a", "b"), rounds=1))
        for lane, value in enumerate((1.0, 4.0)):
            sent = self.put(value)
            record = replace(record_of(self.relay, lane), sent=sent, samples=1 + lane)
            self.relay(run.TurnFinished(record=record))
            self.relay(run.WeightsArrived(weights=sent, lane=lane))

    def put(self, value: float) -> WeightsRef:
        place = self.checkpoints.folder / "new"
        place.parent.mkdir(parents=True, exist_ok=True)
        save_state(place, {"w": np.full(3, value)})
        ref = WeightsRef(digest=verify_digest(place), size=place.stat().st_size)
        held = self.checkpoints.held_path(ref)
        held.parent.mkdir(exist_ok=True)
        place.rename(held)
        return ref

    def merged(self, weights: WeightsRef) -> int:
        self.relay(run.WeightsMerged(done=1, weights=weights))
        return merged_again(steps_of(self.relay), self.checkpoints)


def test_a_merge_whose_parts_are_still_there_is_made_again(tmp_path: Path) -> None:
    files = Files(tmp_path / "r")
    assert 1 == files.merged(files.put((1.0 + 2 * 4.0) / 3))


def test_a_merge_that_comes_to_other_weights_is_named(tmp_path: Path) -> None:
    files = Files(tmp_path / "r")
    with pytest.raises(LedgerBroken, match="row 8 of r says that all lanes were made one with"):
        files.merged(files.put(2.0))


def test_a_part_that_was_changed_on_disk_is_named(tmp_path: Path) -> None:
    files = Files(tmp_path / "r")
    held = files.checkpoints.held_path(files.relay.state.lanes[1].relay.weights)
    held.write_bytes(held.read_bytes()[:-1] + b"x")
    with pytest.raises(LedgerBroken, match=f"{held.name} has other bytes"):
        files.merged(files.put(3.0))


def test_without_one_of_its_parts_no_merge_is_made_again(tmp_path: Path) -> None:
    files = Files(tmp_path / "r")
    files.checkpoints.held_path(files.relay.state.lanes[1].relay.weights).unlink()
    assert 0 == files.merged(weights("whatever"))
