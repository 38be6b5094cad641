"""Whether a turn comes on: by example, and whatever turns a site has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.sites import Site, turn
from tasuki.core.model import TurnId
from tasuki.core.report import Stage
from tasuki.core.turn import Phase, Progress, SiteState, came_on_at, stage_of, stands_since

NOW = 100.0
TIMES = st.floats(0, NOW)


def at_site(*phases: Phase, waiting: int = 0) -> tuple[SiteState, list[TurnId]]:
    """A site with a turn under way in each of these phases, and turns that wait."""
    turns = [turn(run=f"run-{number}") for number in range(len(phases) + waiting)]
    active = tuple(Progress(turn=each, phase=phase) for each, phase in zip(turns, phases))  # noqa: B905 - the rest waits
    behind = tuple(Progress(turn=each) for each in turns[len(phases) :])
    state = SiteState(site="b", capacity=len(phases), active=active, waiting=behind)
    return state, [each.id for each in turns]


def came_on(
    state: SiteState, id: TurnId, moved_at: dict[TurnId, float], weights_at: float = 0.0
) -> float:
    return came_on_at(state, id, moved_at, weights_at=weights_at, now=NOW)


def test_a_trainer_that_lives_counts_as_coming_on() -> None:
    state, (id,) = at_site(Phase.TRAINING)
    assert (Stage.TRAINING, NOW) == (stage_of(state, id), came_on(state, id, {id: 1.0}))


@pytest.mark.parametrize(("weights_at", "at"), [(0.0, 20.0), (90.0, 90.0)])
def test_a_turn_that_waits_for_weights_comes_on_with_each_piece(
    weights_at: float, at: float
) -> None:
    state, (id,) = at_site(Phase.TAKEN)
    assert Stage.TAKEN is stage_of(state, id)
    assert at == came_on(state, id, {id: 20.0}, weights_at)


def test_a_hand_over_comes_on_with_what_is_confirmed_and_with_no_weights_that_come() -> None:
    state, (id,) = at_site(Phase.TRAINED)
    assert (Stage.TRAINED, 30.0) == (stage_of(state, id), came_on(state, id, {id: 30.0}, 90.0))


def test_a_turn_that_waits_comes_on_while_one_of_those_before_it_does() -> None:
    state, (trained, training, behind) = at_site(Phase.TRAINED, Phase.TRAINING, waiting=1)
    assert Stage.WAITING is stage_of(state, behind)
    assert NOW == came_on(state, behind, {trained: 1.0, training: 1.0, behind: 2.0})


def test_a_turn_that_waits_behind_one_that_stands_still_stands_still_too() -> None:
    state, (stands, behind) = at_site(Phase.TRAINED, waiting=1)
    assert 40.0 == came_on(state, behind, {stands: 40.0, behind: 2.0})
    assert 50.0 == came_on(state, behind, {stands: 40.0, behind: 50.0}), "it came later"


def test_a_turn_that_the_site_has_no_more_is_at_nothing() -> None:
    site, mine = Site(), turn()
    site.keep(mine)
    site.state = replace(site.state, active=())
    assert stage_of(site.state, mine.id) is None


def test_a_site_that_ends_waits_for_a_trainer_and_for_the_hand_over_that_came_on_last() -> None:
    state, (one, other) = at_site(Phase.TRAINED, Phase.TRAINED)
    training, _ = at_site(Phase.TRAINED, Phase.TRAINING)
    moved_at = {one: 10.0, other: 30.0}
    assert 30.0 == stands_since(state, moved_at, now=NOW)
    assert NOW == stands_since(training, moved_at, now=NOW)
    assert NOW == stands_since(SiteState(site="b"), {}, now=NOW)


@given(
    phases=st.lists(st.sampled_from([Phase.TAKEN, Phase.TRAINING, Phase.TRAINED]), min_size=1),
    waiting=st.integers(0, 3),
    data=st.data(),
)
def test_no_turn_came_on_later_than_now_or_before_it_was_there(
    phases: list[Phase], waiting: int, data: st.DataObject
) -> None:
    state, ids = at_site(*phases, waiting=waiting)
    moved_at = {id: data.draw(TIMES) for id in ids}
    weights_at = data.draw(TIMES)
    at = {id: came_on(state, id, moved_at, weights_at) for id in ids}
    for id in ids:
        assert moved_at[id] <= at[id] <= NOW
    for held in state.waiting:
        id = held.turn.id
        ahead = max(at[each.turn.id] for each in state.active)
        assert at[id] == max(moved_at[id], ahead)
