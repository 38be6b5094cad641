"""Which weights in the spool a run still needs, when another one lets go of the same."""

from __future__ import annotations

from pathlib import Path

from support.runs import Relay
from support.several import finish_lane, finish_round, several
from tasuki_controller.weight_store import is_needed


def test_a_run_that_is_over_needs_none_of_its_lanes_weights(tmp_path: Path) -> None:
    """Bug: two runs that came to the same kept each other's lanes until both were over."""
    relay = Relay(several(rounds=1))
    finish_lane(relay, 0)
    part = relay.state.lanes[0].relay.weights
    assert is_needed(part, runs={"r": relay.state}, folder=tmp_path)
    finish_lane(relay, 1)
    assert is_needed(part, runs={"r": relay.state}, folder=tmp_path)
    relay = Relay(several(rounds=1))
    finish_round(relay)
    assert relay.state.is_over
    assert not is_needed(part, runs={"r": relay.state}, folder=tmp_path)
    assert is_needed(relay.state.merged, runs={"r": relay.state}, folder=tmp_path)


def test_a_run_of_one_model_that_is_over_may_still_have_to_save_it(tmp_path: Path) -> None:
    relay = Relay()
    relay.finish_round()
    relay.finish_round()
    assert relay.state.is_over
    assert is_needed(relay.state.weights, runs={"r": relay.state}, folder=tmp_path)
