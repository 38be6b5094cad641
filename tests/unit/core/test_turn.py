"""The turn machine by example: one test a promise."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any  # of each part's own type

import pytest

from support.sites import Site, evaluation, result, turn
from tasuki.core import turn as machine
from tasuki.core.model import CONTROLLER
from tasuki.core.turn import Phase, Progress
from tasuki.core.turn.handing_on import onward

# A turn without trouble.


def test_a_turn_is_journaled_before_its_message_is_settled() -> None:
    site, mine = Site(), turn()
    assert (
        machine.Journal(progress=Progress(turn=mine)),
        machine.Settle(),
        machine.AwaitWeights(turn=mine),
    ) == site.take(mine, sender="a")


def test_training_starts_when_the_weights_are_there() -> None:
    site, mine = Site(), turn()
    site.take(mine)
    assert (machine.StartTrainer(turn=mine),) == site(machine.WeightsReady(id=mine.id))


def test_a_result_is_journaled_before_it_is_handed_over() -> None:
    site, mine = Site(), turn()
    record = site.keep(mine)
    assert (
        machine.Journal(progress=Progress(turn=mine, phase=Phase.TRAINED, record=record)),
        machine.HandOver(turn=mine, record=record),
    ) == site.effects


def test_a_hand_over_is_journaled_before_it_is_reported() -> None:
    site, mine = Site(), turn()
    record = site.keep(mine)
    assert (
        machine.Journal(progress=Progress(turn=mine, phase=Phase.DONE, record=record)),
        machine.ReportFinished(turn=mine, record=record),
        machine.Idle(),
    ) == site(machine.HandedOver(id=mine.id))


# A turn that evaluates.


def test_only_the_first_turn_after_a_merge_has_weights_that_nobody_has_trained_since() -> None:
    merged = replace(turn(hop=0), merged=True)
    assert not onward(merged, result(merged), written=b"").merged


def test_scores_are_journaled_and_reported_and_nothing_is_handed_over() -> None:
    site, mine = Site(), evaluation()
    site.train(mine)
    assert (machine.StartTrainer(turn=mine),) == site.effects
    record = result(mine)
    assert (
        machine.Journal(progress=Progress(turn=mine, phase=Phase.DONE, record=record)),
        machine.ReportFinished(turn=mine, record=record),
        machine.Idle(),
    ) == site(machine.TrainingFinished(record=record))
    assert machine.Drop(id=mine.id, reason="void") in site(machine.HandedOver(id=mine.id))


def test_scores_that_were_journaled_are_reported_again_after_a_restart() -> None:
    site, mine = Site(), evaluation()
    record = site.keep(mine)
    assert (machine.ReportFinished(turn=mine, record=record), machine.Idle()) == site.restart()


def test_an_evaluation_that_was_cut_off_begins_again() -> None:
    site, mine = Site(), evaluation()
    site.train(mine)
    assert (machine.AwaitWeights(turn=mine),) == site.restart()


def test_a_site_with_one_place_trains_and_evaluates_one_after_the_other() -> None:
    site, first, second, third = Site(), turn(), evaluation(), turn(run="s")
    site.keep(first)
    for waits in second, third:
        assert ["Journal", "Settle"] == [type(effect).__name__ for effect in site.take(waits)]
    assert machine.AwaitWeights(turn=second) == site(machine.HandedOver(id=first.id))[-1]
    site(machine.WeightsReady(id=second.id))
    scored = site(machine.TrainingFinished(record=result(second)))
    assert machine.AwaitWeights(turn=third) == scored[-1]


def test_a_newer_training_turn_leaves_an_evaluation_alone_and_a_newer_evaluation_does_not() -> None:
    site = Site(capacity=3)
    site.train(turn(term=1))
    site.train(evaluation(term=1))
    site.take(turn(term=2))
    assert [evaluation(term=1).id, turn(term=2).id] == [h.turn.id for h in site.state.active]
    assert machine.AbortTrainer(id=evaluation(term=1).id) in site.take(evaluation(term=2))


def test_the_end_of_a_run_ends_its_evaluations() -> None:
    site, mine = Site(), evaluation()
    site.train(mine)
    assert machine.AbortTrainer(id=mine.id) in site(machine.RunOver(run="r"))
    assert () == site.state.active


def test_a_draining_site_finishes_the_evaluation_that_it_has_begun() -> None:
    site, mine = Site(), evaluation()
    site.train(mine)
    assert () == site(machine.DrainRequested())
    assert machine.Idle() == site(machine.TrainingFinished(record=result(mine)))[-1]


def test_an_evaluation_that_fails_is_closed_and_reported() -> None:
    site, mine = Site(), evaluation()
    site.train(mine)
    site(machine.TrainingFailed(id=mine.id, error="CannotEvaluate", detail="write one"))
    assert ["Journal", "ReportFailed", "Idle"] == site.kinds


# Turns that wait.


def test_turns_of_other_runs_wait_in_the_order_in_which_they_came() -> None:
    site = Site()
    first, second, third = (turn(run=name) for name in ("z", "y", "x"))
    site.keep(first)
    assert ["Journal", "Settle"] == [type(effect).__name__ for effect in site.take(second)]
    site.take(third)

    site(machine.HandedOver(id=first.id))
    assert machine.AwaitWeights(turn=second) == site.effects[-1]
    site(machine.TrainingFailed(id=second.id, error="TrainerRaised", detail=""))
    assert machine.AwaitWeights(turn=third) == site.effects[-1]


def test_a_site_with_room_for_two_trains_turns_of_two_runs_side_by_side() -> None:
    site = Site(capacity=2)
    first, second, third = (turn(run=name) for name in ("z", "y", "x"))
    site.keep(first)
    site.train(second)
    assert (machine.StartTrainer(turn=second),) == site.effects
    assert ["Journal", "Settle"] == [type(effect).__name__ for effect in site.take(third)]

    assert machine.AwaitWeights(turn=third) == site(machine.HandedOver(id=first.id))[-1]
    assert [second.id, third.id] == [held.turn.id for held in site.state.active]


def test_a_failed_turn_is_closed_and_reported_and_makes_room() -> None:
    site, mine = Site(), turn()
    site.train(mine)
    site(machine.TrainingFailed(id=mine.id, error="TrainerDied", detail="out of memory"))

    assert ["Journal", "ReportFailed", "Idle"] == site.kinds
    assert Phase.DONE is site.journal["r", 0].phase
    assert ["Drop", "Settle"] == [type(effect).__name__ for effect in site.take(mine)]


# Turns that must not be taken.


@pytest.mark.parametrize("sender", ["a", CONTROLLER])
def test_a_turn_is_taken_from_its_predecessor_and_from_the_controller(sender: str) -> None:
    assert "Journal" in [type(effect).__name__ for effect in Site().take(turn(), sender=sender)]


@pytest.mark.parametrize("sender", ["b", "c", "stranger", ""])
def test_a_turn_from_anybody_else_is_dropped(sender: str) -> None:
    site, mine = Site(), turn()
    before = site.state
    assert (machine.Drop(id=mine.id, reason="wrong_sender"), machine.Settle()) == site.take(
        mine, sender=sender
    )
    assert before == site.state


def test_the_first_turn_of_a_round_comes_from_the_controller_alone() -> None:
    site, mine = Site(), turn(hop=0, itinerary=("b", "a"))
    site.take(mine, sender="a")
    assert machine.Drop(id=mine.id, reason="wrong_sender") == site.effects[0]


def test_a_turn_of_another_site_is_dropped() -> None:
    site, other = Site("c"), turn()
    assert machine.Drop(id=other.id, reason="wrong_site") == site.take(other)[0]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({}, "duplicate"),
        ({"term": 1, "round": 9}, "stale_position"),
        ({"round": 1, "hop": 1}, "stale_position"),
        ({"hop": 1}, "stale_position"),
    ],
)
def test_a_turn_that_is_not_above_what_was_seen_is_dropped(
    parts: dict[str, Any], reason: str
) -> None:
    site, order = Site(), ("a", "b", "c", "b")
    here: dict[str, Any] = {"term": 2, "round": 3, "hop": 3}
    site.take(turn(**here, itinerary=order))
    before = site.state

    late = turn(**{**here, **parts}, itinerary=order)
    assert (machine.Drop(id=late.id, reason=reason), machine.Settle()) == site.take(late)
    assert before == site.state


def test_a_turn_that_was_finished_is_not_trained_again() -> None:
    site, mine = Site(), turn()
    site.keep(mine)
    site(machine.HandedOver(id=mine.id))
    assert machine.Drop(id=mine.id, reason="duplicate") == site.take(mine)[0]


def test_a_turn_of_a_fenced_term_is_dropped_though_none_was_seen() -> None:
    site, late = Site(), turn(term=1)
    site(machine.TermRaised(run="r", lane=0, term=2))
    assert (machine.Drop(id=late.id, reason="stale_term"), machine.Settle()) == site.take(late)


def test_lanes_and_runs_do_not_fence_one_another() -> None:
    site = Site()
    site(machine.TermRaised(run="r", lane=1, term=5))
    site(machine.TermRaised(run="other", lane=0, term=5))
    assert "Journal" in [type(effect).__name__ for effect in site.take(turn())]


# Fences.


def test_a_fence_aborts_the_trainer_of_an_older_term() -> None:
    site, mine = Site(), turn()
    site.train(mine)
    site(machine.TermRaised(run="r", lane=0, term=2))
    assert ["AbortTrainer", "Journal", "Drop", "JournalFence", "Settle", "Idle"] == site.kinds
    assert (None, Phase.DONE) == (site.state.current, site.journal["r", 0].phase)


@pytest.mark.parametrize(
    "event",
    [
        machine.WeightsReady(id=turn().id),
        machine.TrainingFinished(record=result(turn())),
        machine.TrainingFailed(id=turn().id, error="x", detail=""),
        machine.HandedOver(id=turn().id),
    ],
)
def test_nothing_that_a_fenced_turn_still_does_has_an_effect(event: machine.Event) -> None:
    site, mine = Site(), turn()
    site.train(mine)
    site(machine.TermRaised(run="r", lane=0, term=2))
    before = site.state
    assert (machine.Drop(id=mine.id, reason="void"),) == site(event)
    assert before == site.state


def test_a_fence_ends_the_hand_over_of_an_older_term() -> None:
    """Bug: it waited for its confirmation for as long as that did not come."""
    site, mine = Site(), turn()
    record = site.keep(mine)
    site(machine.TermRaised(run="r", lane=0, term=2))
    assert machine.AbortHandOver(turn=mine, record=record) == site.effects[0]
    assert ["AbortHandOver", "Journal", "Drop", "JournalFence", "Settle", "Idle"] == site.kinds
    assert (None, Phase.DONE) == (site.state.current, site.journal["r", 0].phase)


def test_a_newer_turn_of_the_lane_ends_the_hand_over_of_the_older_one() -> None:
    site, old = Site(), turn(term=1)
    record = site.keep(old)
    site.take(turn(term=2))
    assert machine.AbortHandOver(turn=old, record=record) == site.effects[0]


def test_a_fence_does_not_touch_the_turn_of_its_own_term() -> None:
    site, mine = Site(), turn(term=2)
    site.train(mine)
    known = machine.JournalFence(run="r", lane=0, term=2)
    assert (known, machine.Settle()) == site(machine.TermRaised(run="r", lane=0, term=2))
    assert Progress(turn=mine, phase=Phase.TRAINING) == site.state.current


def test_a_fence_does_not_touch_a_waiting_turn_of_its_own_term() -> None:
    """Bug: a turn that waited behind another run's was voided by the fence that came with it."""
    site, mine = Site(), turn(term=2)
    site.train(turn(run="other"))
    site.take(mine)
    known = machine.JournalFence(run="r", lane=0, term=2)
    assert (known, machine.Settle()) == site(machine.TermRaised(run="r", lane=0, term=2))
    assert (Progress(turn=mine),) == site.state.waiting


def test_a_fence_voids_a_waiting_turn_of_an_older_term() -> None:
    site, mine = Site(), turn(term=1)
    site.train(turn(run="other"))
    site.take(mine)
    site(machine.TermRaised(run="r", lane=0, term=2))
    assert ["Journal", "Drop", "JournalFence", "Settle"] == site.kinds
    assert () == site.state.waiting


def test_a_site_that_dies_while_it_deals_with_a_fence_is_fenced_after_all() -> None:
    """Bug: once the fence was known, and what it voids not closed, nothing voided that any more."""
    site, fence = Site(), machine.TermRaised(run="r", lane=0, term=2)
    site.train(turn(term=1))
    _, effects = machine.step(site.state, fence)
    for done in range(len(effects) + 1):
        other = deepcopy(site)
        for effect in effects[:done]:
            other.keep_down(effect)
        other.restart()
        if machine.Settle() not in effects[:done]:
            other(fence)  # it comes again
        assert other.state.current is None


def test_a_fence_that_comes_twice_or_late_is_only_settled() -> None:
    site = Site()
    site(machine.TermRaised(run="r", lane=0, term=3))
    before = site.state
    for term in (3, 2, 0):
        assert (machine.Settle(),) == site(machine.TermRaised(run="r", lane=0, term=term))
    assert before == site.state


def test_a_run_that_takes_anothers_name_begins_as_if_that_had_never_been() -> None:
    site, other = Site(capacity=2), turn(run="other")
    site.train(turn(term=7))
    site.take(other)
    site(machine.TermRaised(run="r", lane=0, term=5))
    site(machine.RunBegan(run="r"))
    assert {"AbortTrainer", "ForgetLanes"} <= set(site.kinds)
    assert {("other", 0)} == {*site.state.seen, *site.state.fenced, *site.journal, *site.fences}
    assert (other,) == tuple(held.turn for held in site.state.held)
    assert machine.Journal(progress=Progress(turn=turn())) in site.take(turn())


def test_a_run_that_is_over_voids_its_turns_in_every_lane_and_nobody_elses() -> None:
    site, other = Site(capacity=2), turn(run="other")
    site.train(turn(lane=0))
    site.train(turn(lane=1, term=2))
    site.take(other)
    site(machine.RunOver(run="r"))
    forget = (machine.ForgetRun(run="r"), machine.Settle())
    assert forget == site.effects[-2:]
    assert 1 == site.kinds.count("Settle")
    assert {("r", 0): 2, ("r", 1): 3} == site.fences
    assert (other,) == tuple(held.turn for held in site.state.held)


def test_a_newer_turn_of_the_lane_aborts_the_older_one_and_is_taken() -> None:
    site, new = Site(), turn(term=2)
    site.train(turn(term=1))
    site.take(new)
    assert [
        "AbortTrainer",
        "Journal",
        "Drop",
        "Journal",
        "Settle",
        "AwaitWeights",
    ] == site.kinds
    assert Progress(turn=new) == site.journal["r", 0] == site.state.current


def test_a_fenced_result_that_was_being_sent_is_not_handed_over_after_a_restart() -> None:
    site = Site()
    site.keep(turn(term=1))
    site(machine.TermRaised(run="r", lane=0, term=2))
    site.restart()
    assert not [effect for effect in site.effects if isinstance(effect, machine.HandOver)]


def test_a_result_that_was_given_up_is_not_reported_as_sent_after_a_restart() -> None:
    """Bug: the journal kept it as handed over, though nobody has it."""
    site, mine = Site(), turn()
    site.keep(mine)
    site(machine.TrainingFailed(id=mine.id, error="Unroutable", detail=""))
    site.restart()
    assert not [effect for effect in site.effects if isinstance(effect, machine.ReportFinished)]


def test_a_fenced_term_is_void_after_a_restart_too() -> None:
    """Bug: a site that restarted between a fence and the turn below it took that turn."""
    site = Site()
    site(machine.TermRaised(run="r", lane=0, term=2))
    site.restart()
    site.take(turn(term=1))
    assert ["Drop", "Settle"] == site.kinds


# What our own service must never do.


@pytest.mark.parametrize("phase", [Phase.TAKEN, Phase.TRAINED])
def test_a_result_that_nobody_is_training_for_is_a_bug_of_ours(phase: Phase) -> None:
    site, mine = Site(), turn()
    if phase is Phase.TAKEN:
        site.take(mine)
    else:
        site.keep(mine)
    before = site.state
    with pytest.raises(machine.IllegalEvent, match=f"while {phase}"):
        site(machine.TrainingFinished(record=result(mine)))
    assert before == site.state


def test_weights_that_are_reported_twice_start_one_trainer() -> None:
    site, mine = Site(), turn()
    site.train(mine)
    assert (machine.Drop(id=mine.id, reason="duplicate"),) == site(machine.WeightsReady(id=mine.id))


def test_weights_of_a_waiting_turn_start_no_trainer() -> None:
    site, mine = Site(), turn()
    site.train(turn(run="other"))
    site.take(mine)
    assert (machine.Drop(id=mine.id, reason="void"),) == site(machine.WeightsReady(id=mine.id))


def test_a_confirmation_before_there_is_a_result_is_dropped() -> None:
    site, mine = Site(), turn()
    site.train(mine)
    assert (machine.Drop(id=mine.id, reason="void"),) == site(machine.HandedOver(id=mine.id))


# Restarts.


def test_a_site_without_a_journal_starts_idle() -> None:
    assert (machine.Idle(),) == Site().restart()


@pytest.mark.parametrize("phase", [Phase.TAKEN, Phase.TRAINING])
def test_a_turn_that_was_not_trained_is_awaited_again_after_a_restart(phase: Phase) -> None:
    site, mine = Site(), turn()
    if phase is Phase.TAKEN:
        site.take(mine)
    else:
        site.train(mine)
    assert (machine.AwaitWeights(turn=mine),) == site.restart()
    assert (machine.StartTrainer(turn=mine),) == site(machine.WeightsReady(id=mine.id))


def test_a_result_is_handed_over_again_after_a_restart() -> None:
    site, mine = Site(), turn()
    record = site.keep(mine)
    assert (machine.HandOver(turn=mine, record=record),) == site.restart()
    site(machine.HandedOver(id=mine.id))
    assert "ReportFinished" in site.kinds


def test_a_finished_turn_is_reported_again_after_a_restart() -> None:
    site, mine = Site(), turn()
    record = site.keep(mine)
    site(machine.HandedOver(id=mine.id))
    assert (machine.ReportFinished(turn=mine, record=record), machine.Idle()) == site.restart()


def test_a_failed_turn_is_not_reported_as_finished_after_a_restart() -> None:
    site, mine = Site(), turn()
    site.train(mine)
    site(machine.TrainingFailed(id=mine.id, error="x", detail=""))
    assert (machine.Idle(),) == site.restart()


def test_waiting_turns_go_on_waiting_after_a_restart() -> None:
    site, first, second = Site(), turn(), turn(run="other")
    record = site.keep(first)
    site.take(second)
    assert (machine.HandOver(turn=first, record=record),) == site.restart()
    site(machine.HandedOver(id=first.id))
    assert machine.AwaitWeights(turn=second) == site.effects[-1]


def test_a_result_that_has_no_room_after_a_restart_is_handed_over_when_there_is_some() -> None:
    """Bug: its weights were awaited, which it was past, so that it stayed for good."""
    site, first, second = Site(capacity=2), turn(), turn(run="other")
    one, other = site.keep(first), site.keep(second)
    site.state = replace(site.state, capacity=1)
    assert (machine.HandOver(turn=first, record=one),) == site.restart()
    site(machine.HandedOver(id=first.id))
    assert machine.HandOver(turn=second, record=other) == site.effects[-1]


def test_a_redelivered_turn_is_settled_and_dropped_after_a_restart() -> None:
    """Killed between journal and settle: the broker sends it again."""
    site, mine = Site(), turn()
    site.take(mine)
    site.restart()
    assert (machine.Drop(id=mine.id, reason="duplicate"), machine.Settle()) == site.take(mine)


# The end of a service.


def test_draining_an_idle_site_ends_it() -> None:
    assert (machine.Idle(),) == Site()(machine.DrainRequested())


def test_draining_gives_back_what_is_not_being_trained() -> None:
    site, first, second = Site(), turn(), turn(run="other")
    site.take(first)
    site.take(second)
    site(machine.DrainRequested())
    assert ["Journal", "GiveBack", "Journal", "GiveBack", "Idle"] == site.kinds
    assert {Phase.DONE} == {row.phase for row in site.journal.values()}


def test_draining_finishes_what_is_being_trained() -> None:
    site, mine, other = Site(), turn(), turn(run="other")
    site.train(mine)
    site.take(other)
    site(machine.DrainRequested())
    assert ["Journal", "GiveBack"] == site.kinds

    site(machine.TrainingFinished(record=result(mine)))
    assert ["Journal", "HandOver"] == site.kinds
    site(machine.HandedOver(id=mine.id))
    assert ["Journal", "ReportFinished", "Idle"] == site.kinds


def test_a_draining_site_gives_new_turns_back() -> None:
    site, mine = Site(), turn()
    site.train(turn(run="other"))
    site(machine.DrainRequested())
    site.take(mine)
    assert ["Journal", "Settle", "GiveBack"] == site.kinds
    assert Phase.DONE is site.journal["r", 0].phase


def test_a_draining_site_ends_when_a_newer_turn_aborts_its_trainer() -> None:
    """Bug: nothing was left to do and nobody said so, so that the service never ended."""
    site = Site()
    site.train(turn(term=1))
    site(machine.DrainRequested())
    site.take(turn(term=2))
    assert "AbortTrainer" == site.kinds[0]
    assert ["GiveBack", "Idle"] == site.kinds[-2:]


def test_the_end_of_a_run_that_has_gone_on_since_voids_nothing() -> None:
    """It comes by another queue than turns do, and may come after those of the rounds added."""
    site, new = Site(), turn(term=3)
    site.train(new)
    assert (machine.Settle(),) == site(machine.RunOver(run="r", term=2))
    assert (new,) == tuple(held.turn for held in site.state.held)
    site(machine.RunOver(run="r", term=3))
    assert () == site.state.held


def test_the_end_of_a_run_before_its_next_turn_leaves_that_one_alone() -> None:
    site = Site()
    site.train(turn(term=2))
    site(machine.RunOver(run="r", term=2))
    site.take(turn(term=3))
    assert "Journal" in site.kinds
