"""Several models on their way at once, by example: one test a promise."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.evaluations import all_score, asked_for, goes_silent
from support.lanes import Lanes, lanes_plan, made_one, plain_loop
from support.runs import FIRST, drops, moved, weights
from tasuki.core import run
from tasuki.core.model import (
    CheckpointPolicy,
    Cover,
    EvaluatePolicy,
    LanesPolicy,
    Merge,
    OnSilent,
    Plan,
    StopPolicy,
)
from tasuki.core.order import Situation, itineraries, itinerary, longest, starts
from tasuki.core.run import Part, Skip, Status

LATE_ONES = lanes_plan(count=3, sites="abc", wait_s=5.0)


def skips(lanes: Lanes) -> list[tuple[int, int, int, str, str]]:
    """Round, lane, hop, site and why."""
    return [(s.round, s.lane, s.hop, s.site, s.reason) for s in lanes.state.skipped]


def issued(lanes: Lanes) -> dict[int, run.IssueTurn]:
    """What was given out last, by lane."""
    return {each.id.lane: each for each in lanes.effects if isinstance(each, run.IssueTurn)}


# Who visits whom.


@pytest.mark.parametrize(
    ("cover", "count", "sites", "dealt"),
    [
        (Cover.SHARE, 2, "abcde", ["ace", "bd"]),
        (Cover.SHARE, 3, "abcde", ["ad", "be", "c"]),
        (Cover.SHARE, 5, "abcde", ["a", "b", "c", "d", "e"]),
        (Cover.SHARE, 3, "ab", ["a", "b", ""]),
        (Cover.ALL, 2, "abcde", ["abcde", "cdeab"]),
        (Cover.ALL, 3, "abcde", ["abcde", "bcdea", "deabc"]),
        (Cover.ALL, 4, "abcd", ["abcd", "bcda", "cdab", "dabc"]),
        (Cover.ALL, 3, "ab", ["ab", "ab", "ba"]),
    ],
)
def test_an_order_is_dealt_to_lanes(cover: Cover, count: int, sites: str, dealt: list[str]) -> None:
    lanes = Lanes(lanes_plan(count=count, sites=sites, cover=cover))
    assert dealt == lanes.orders
    assert [lane for lane in range(count) if dealt[lane]] == sorted(issued(lanes))
    assert {FIRST} == {each.weights for each in issued(lanes).values()}
    assert len(max(dealt, key=len)) == len(longest(lanes.plan))


def test_with_turns_of_equal_length_no_two_lanes_are_at_one_site() -> None:
    for count in range(1, 6):
        dealt = Lanes(lanes_plan(count=count, sites="abcde", cover=Cover.ALL)).orders
        assert all(len(set(at_once)) == count for at_once in zip(*dealt, strict=True))


def test_a_list_names_the_sites_of_each_lane() -> None:
    by_lane = (("a", "b", "a"), ("c",), ("b", "d"))
    lanes = Lanes(lanes_plan(count=3, order=by_lane))
    assert ["aba", "c", "bd"] == lanes.orders
    assert by_lane[0] == longest(lanes.plan)


def test_a_list_is_dealt_where_it_names_no_lanes() -> None:
    assert ["aa", "bc"] == Lanes(lanes_plan(order=("a", "b", "a", "c"))).orders


def test_a_random_order_is_dealt_as_one_is_drawn() -> None:
    for round in range(5):
        situation = Situation(seed=7, round=round, sites=("a", "b", "c", "d"))
        drawn = itinerary("random", situation)
        share = itineraries("random", situation, LanesPolicy(count=2))
        assert (drawn[0::2], drawn[1::2]) == share
        cover = itineraries("random", situation, LanesPolicy(count=2, cover=Cover.ALL))
        assert (drawn, (*drawn[2:], *drawn[:2])) == cover


@given(
    count=st.integers(1, 5),
    sites=st.integers(2, 6),
    cover=st.sampled_from(Cover),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_no_lane_begins_at_the_site_that_trained_it_last(
    count: int, sites: int, cover: Cover, seed: int, data: st.DataObject
) -> None:
    """As long as there is an order in which none does."""
    there = tuple("abcdef"[:sites])
    policy = LanesPolicy(count=count, cover=cover)
    lasts = tuple(data.draw(st.sampled_from([None, *there])) for _ in range(count))
    begins = starts(policy, sites)
    situation = Situation(seed=seed, round=0, sites=there, lasts=lasts, starts=begins)
    dealt = itineraries("random_without_same_in_a_row", situation, policy)
    assert sorted(set().union(*dealt)) == list(there)
    meets = [lane for lane in range(count) if dealt[lane][:1] == (lasts[lane],)]
    can_be = any(not situation.meets_last([*order]) for order in permutations(there))
    assert (not meets) is can_be


def test_two_lanes_that_begin_at_one_place_both_avoid_their_last_sites() -> None:
    """Bug: with fewer sites than lanes, only the second of them did."""
    policy = LanesPolicy(count=4, cover=Cover.ALL)
    begins = starts(policy, 3)
    assert (0, 0, 1, 2) == begins
    for seed in range(100):
        situation = Situation(
            seed=seed, round=0, sites=("a", "b", "c"), lasts=("a", "b", None, None), starts=begins
        )
        dealt = itineraries("random_without_same_in_a_row", situation, policy)
        assert "c" == dealt[0][0] == dealt[1][0]


def test_over_many_rounds_no_lane_is_trained_twice_in_a_row_by_one_site() -> None:
    order = "random_without_same_in_a_row"
    for cover in Cover:
        lanes = Lanes(lanes_plan(sites="abcde", order=order, rounds=20, cover=cover))
        for _ in range(19):
            lasts = [lane.itinerary[-1] for lane in lanes.state.lanes]
            lanes.ends_round()
            assert all(
                last != lane.itinerary[0]
                for last, lane in zip(lasts, lanes.state.lanes, strict=True)
            )


# Rounds.


def test_a_round_is_over_once_every_lane_is_in_and_all_become_one() -> None:
    lanes = Lanes(lanes_plan())
    first = lanes.trains_all(0)
    assert (Status.RELAYING, ()) == (lanes.state.status, lanes.effects)
    second = lanes.trains_all(1)

    parts = (
        Part(lane=0, weights=first[-1].sent, samples=10 + 30),
        Part(lane=1, weights=second[-1].sent, samples=20 + 40),
    )
    assert Status.MERGING is lanes.state.status
    assert (run.MergeWeights(done=1, parts=parts),) == lanes.effects
    merged = lanes.merges()
    saved = lanes.only(run.SaveCheckpoint)
    assert (0, merged, parts) == (saved.round, saved.weights, saved.parts)
    assert (*first, *second) == saved.records
    assert {merged} == {each.weights for each in issued(lanes).values()}
    assert [True, True] == [each.merged for each in issued(lanes).values()]
    assert (1, merged) == (lanes.state.round, lanes.state.weights)


def test_between_merges_each_lane_keeps_its_own_weights() -> None:
    lanes = Lanes(lanes_plan(rounds=3, every_n_rounds=2))
    own = [lanes.trains_all(lane)[-1].sent for lane in (0, 1)]
    kept = [run.KeepLane(lane=lane, weights=own[lane]) for lane in (0, 1)]
    assert kept == lanes.all_of(run.KeepLane)
    assert own == [each.weights for each in issued(lanes).values()]
    assert FIRST == lanes.state.weights
    lanes.trains_all(1)
    lanes.trains_all(0)
    assert [80, 120] == [part.samples for part in lanes.only(run.MergeWeights).parts]


@pytest.mark.parametrize(
    ("every", "rounds", "merged"), [(1, 3, [0, 1, 2]), (2, 5, [1, 3, 4]), (9, 2, [1])]
)
def test_lanes_are_merged_when_it_is_time_and_after_the_last_round(
    every: int, rounds: int, merged: list[int]
) -> None:
    lanes = Lanes(lanes_plan(every_n_rounds=every, rounds=rounds))
    saved: list[run.SaveCheckpoint] = []
    while lanes.state.status is not Status.FINISHED:
        lanes.ends_round((1, 0))
        saved += lanes.all_of(run.SaveCheckpoint)
    assert merged == [each.round for each in saved]
    assert lanes.state.weights == plain_loop(lanes.plan)[-1]


@pytest.mark.parametrize("merge", Merge)
def test_how_lanes_are_weighed_is_said_to_whoever_merges(merge: Merge) -> None:
    lanes = Lanes(lanes_plan(merge=merge))
    for lane in (0, 1):
        lanes.trains_all(lane)
    assert (merge is Merge.EQUAL) == lanes.only(run.MergeWeights).equally


def test_a_lane_that_was_trained_on_nothing_is_a_part_of_no_weight() -> None:
    lanes = Lanes(lanes_plan(sites="ae"))
    for lane in (0, 1):
        lanes.trains_all(lane)
    assert [10, 0] == [part.samples for part in lanes.only(run.MergeWeights).parts]


def test_a_turn_that_trained_nothing_is_a_turn() -> None:
    """Its lane is a part: what it stands for is what all were."""
    lanes = Lanes(lanes_plan(sites="ab"))
    same = replace(lanes.says(0), sent=FIRST)
    lanes(run.TurnFinished(record=same))
    lanes.arrives(0)
    lanes.trains_all(1)
    assert (FIRST, 2) == (
        lanes.only(run.MergeWeights).parts[0].weights,
        len(lanes.only(run.MergeWeights).parts),
    )


def test_lanes_that_have_no_site_are_no_part_and_one_alone_is_merged_with_nobody() -> None:
    lanes = Lanes(lanes_plan(count=3, sites="a"))
    own = lanes.trains(0)
    lanes.arrives(0)
    saved = lanes.only(run.SaveCheckpoint)
    assert (own.sent, 1) == (saved.weights, len(saved.parts))
    assert {own.sent} == {lane.relay.weights for lane in lanes.state.lanes}
    assert not issued(lanes)[0].merged


def test_a_round_of_which_nothing_was_accepted_leaves_the_merged_weights_merged() -> None:
    """Bug: trainers were told that nobody had merged what they got."""
    lanes = Lanes(lanes_plan(sites="ab", rounds=3, max_attempts=1))
    lanes.ends_round()
    before = lanes.state.merged
    for lane in (0, 1):
        lanes.gives_up(lane)
        lanes.arrives(lane)
    saved = lanes.only(run.SaveCheckpoint)
    assert (1, before, ()) == (saved.round, saved.weights, saved.parts)
    assert [True, True] == [each.merged for each in issued(lanes).values()]


def test_a_merge_of_other_rounds_is_not_awaited() -> None:
    lanes = Lanes(lanes_plan())
    drops(lanes, run.WeightsMerged(done=1, weights=weights("w")), "not_awaited")
    lanes.ends_round()
    drops(lanes, run.WeightsMerged(done=1, weights=weights("w")), "not_awaited")
    drops(lanes, run.MergeFailed(done=1, cause="they differ"), "not_awaited")


def test_lanes_that_cannot_be_merged_end_the_run() -> None:
    lanes = Lanes(lanes_plan())
    for lane in (0, 1):
        lanes.trains_all(lane)
    drops(lanes, run.MergeFailed(done=2, cause="they differ"), "not_awaited")
    drops(lanes, run.WeightsMerged(done=2, weights=weights("w")), "not_awaited")
    lanes(run.MergeFailed(done=1, cause="they differ"))
    assert (Status.FAILED, "they differ") == (lanes.state.status, lanes.state.reason)
    assert ["Fence", "Fence", "EndLease", "EndLease", "Conclude"] == lanes.kinds


def test_only_merged_rounds_are_evaluated_and_judged() -> None:
    plan = lanes_plan(every_n_rounds=2, rounds=4)
    best = CheckpointPolicy(best="accuracy")
    lanes = Lanes(replace(plan, evaluate=EvaluatePolicy(every_n_rounds=1), checkpoint=best))
    lanes.ends_round()
    assert (Status.RELAYING, None) == (lanes.state.status, lanes.state.best)
    lanes.ends_round()
    assert Status.EVALUATING is lanes.state.status
    assert lanes.state.evaluation is not None
    assert lanes.state.merged == lanes.state.evaluation.asked.weights
    all_score(lanes)
    assert lanes.state.best is not None
    assert 2 == lanes.state.best.after


# Whose result it is.


def test_no_result_enters_another_lane() -> None:
    lanes = Lanes(lanes_plan())
    lanes.trains(0)
    for lane, reason in ((0, "wrong_site"), (1, "wrong_site"), (2, "other_run"), (9, "other_run")):
        said = lanes.says(1 - lane if lane < 2 else 0)
        other = replace(said, id=moved(said.id, lane=lane, hop=0 if lane else 1))
        drops(lanes, run.TurnFinished(record=other), reason)


def test_what_one_lane_sent_is_no_beginning_for_another() -> None:
    by_lane = (("a", "b"), ("c", "b"))
    lanes = Lanes(lanes_plan(order=by_lane))
    first, _ = lanes.trains(0), lanes.trains(1)
    crossed = replace(lanes.says(1), received=first.sent.digest)
    drops(lanes, run.TurnFinished(record=crossed), "broken_chain")


def test_weights_that_arrive_for_one_lane_are_not_anothers() -> None:
    lanes = Lanes(lanes_plan())
    for lane in (0, 1):
        for _ in range(2):
            lanes.trains(lane)
    of_first, of_second = lanes.collecting[0], lanes.collecting[1]
    for lane, ref in ((1, of_first), (0, of_second), (2, of_first)):
        drops(lanes, run.WeightsArrived(weights=ref, lane=lane), "not_awaited")
    lanes.arrives(0)
    drops(lanes, run.WeightsArrived(weights=of_first, lane=0), "not_awaited")
    assert Status.CLOSING is lanes.state.status


def test_events_of_a_lane_that_there_is_not_change_nothing() -> None:
    lanes = Lanes(lanes_plan())
    id = moved(lanes.relay_of(0).expected, lane=2)
    drops(lanes, run.LeaseExpired(id=id), "not_awaited")
    drops(lanes, run.TurnReturned(id=id, site="a"), "not_awaited")
    drops(lanes, run.WeightsLost(weights=FIRST, lane=2), "not_awaited")
    drops(lanes, run.TurnFailed(id=id, site="a", error="TrainerRaised"), "not_awaited")


# Trouble in one lane.


@pytest.mark.parametrize("on_silent", [OnSilent.SKIP, OnSilent.RETRY, OnSilent.WAIT])
def test_trouble_in_one_lane_is_not_seen_in_another(on_silent: OnSilent) -> None:
    lanes = Lanes(lanes_plan(on_silent=on_silent))
    before = lanes.relay_of(1)
    lanes.goes_silent(0)
    assert before == lanes.relay_of(1)
    assert {0} >= {each.lane for each in lanes.effects if isinstance(each, run.Fence)}
    lanes.trains_all(1)
    waits = on_silent is OnSilent.WAIT
    assert waits == lanes.state.reason.startswith("waiting: a ")
    assert ("c" if on_silent is OnSilent.SKIP else "a") == lanes.relay_of(0).holder
    skipped = [(0, 0, 0, "a", "silent")] if on_silent is OnSilent.SKIP else []
    assert skipped == skips(lanes)


def test_a_run_that_gives_up_one_lane_takes_all_back() -> None:
    lanes = Lanes(lanes_plan(on_silent=OnSilent.FAIL))
    lanes.trains_all(1)
    lanes.goes_silent(0)
    assert Status.FAILED is lanes.state.status
    assert [0, 1] == [each.lane for each in lanes.effects if isinstance(each, run.Fence)]
    assert [] == lanes.out


def test_a_turn_that_has_no_attempt_left_is_passed_over_in_its_lane() -> None:
    lanes = Lanes(lanes_plan(max_attempts=2))
    lanes.gives_up(1, "one")
    lanes.gives_up(1, "other")
    assert [(0, 1, 0, "b", "TrainerRaised")] == skips(lanes)
    assert ["a", "d"] == [lanes.relay_of(lane).holder for lane in (0, 1)]


def test_weights_that_are_lost_begin_their_lane_anew_and_no_other() -> None:
    lanes = Lanes(lanes_plan())
    lanes.trains_all(0)
    lanes.trains(1)
    assert 3 == lanes.state.turns
    other = lanes.state.lanes[0]
    lanes.loses(1)
    assert (other, 2) == (lanes.state.lanes[0], lanes.state.turns)
    assert (FIRST, "b") == (issued(lanes)[1].weights, issued(lanes)[1].site)


@pytest.mark.parametrize("when", [Status.CLOSING, Status.MERGING])
def test_weights_that_are_lost_at_a_rounds_end_are_trained_once_more(when: Status) -> None:
    lanes = Lanes(lanes_plan())
    lanes.trains_all(0)
    lanes.trains(1)
    lanes.trains(1)
    if when is Status.MERGING:
        lanes.arrives(1)
    assert when is lanes.state.status
    lanes.loses(1)
    assert (Status.RELAYING, [1]) == (lanes.state.status, lanes.out)
    lanes.ends_round()
    assert plain_loop(lanes.plan)[0] == lanes.state.merged


def test_one_lane_that_is_lost_while_all_are_merged_waits_for_itself_alone() -> None:
    lanes = Lanes(lanes_plan())
    for lane in (0, 1):
        lanes.trains_all(lane)
    lanes.loses(0)
    assert [False, True] == [lane.is_here for lane in lanes.state.lanes]
    lanes.trains_all(0)
    assert Status.MERGING is lanes.state.status


def test_what_a_lane_began_with_cannot_be_lost() -> None:
    lanes = Lanes(lanes_plan(every_n_rounds=2))
    lanes.ends_round()
    lanes.loses(1)
    assert Status.FAILED is lanes.state.status


def test_a_broker_that_lost_everything_gives_every_lane_out_anew() -> None:
    lanes = Lanes(lanes_plan())
    lanes.trains_all(0)
    lanes.trains(1)
    lanes(run.RelayLost())
    assert lanes.relay_of(0).weights == lanes.only(run.CollectWeights).weights
    assert [1] == sorted(issued(lanes))
    lanes.trains_all(1)
    lanes(run.RelayLost())
    assert Status.MERGING is lanes.state.status
    assert [0, 1] == [each.lane for each in lanes.effects if isinstance(each, run.CollectWeights)]
    lanes.merges()
    assert 1 == lanes.state.round


def test_a_site_without_its_journal_forgot_its_turns_of_every_lane() -> None:
    lanes = Lanes(lanes_plan(order=(("a", "b"), ("a", "c"), ("c",)), count=3))
    lanes(run.SiteForgot(site="a"))
    assert [0, 1] == sorted(issued(lanes))


# Lanes that are late.


def test_lanes_are_waited_for_from_the_first_ones_end_on() -> None:
    lanes = Lanes(LATE_ONES)
    drops(lanes, run.WaitOver(round=0), "not_awaited")
    lanes.trains(1)
    assert run.AwaitLanes(round=0, wait_s=5.0) == lanes.only(run.AwaitLanes)
    lanes.arrives(1)
    lanes.trains(2)
    assert [] == lanes.all_of(run.AwaitLanes)


def test_without_a_limit_lanes_are_waited_for_until_they_are_done() -> None:
    lanes = Lanes(lanes_plan())
    lanes.trains_all(1)
    assert None is lanes.waiting
    drops(lanes, run.WaitOver(round=0), "not_awaited")


def test_the_round_goes_on_without_a_late_lane_and_says_so() -> None:
    lanes = Lanes(LATE_ONES)
    first, _ = lanes.trains_all(0), lanes.trains_all(2)
    late = lanes.says(1)
    lanes.is_late()

    assert [(0, 1, 0, "b", "late")] == skips(lanes)
    fence = lanes.only(run.Fence)
    assert (1, late.id.term + 1) == (fence.lane, fence.term)
    assert [0, 2] == [part.lane for part in lanes.only(run.MergeWeights).parts]
    assert [10, 30] == [part.samples for part in lanes.only(run.MergeWeights).parts]
    drops(lanes, run.TurnFinished(record=late), "stale_term")
    merged = lanes.merges()
    assert merged == issued(lanes)[1].weights
    assert late.id.fence < issued(lanes)[1].id.fence
    assert first[0].site not in lanes.state.left_out
    lanes.ends_round()
    assert (Status.FINISHED, ()) == (lanes.state.status, lanes.state.left_out)


def test_what_a_late_lane_was_trained_by_is_void() -> None:
    plan = lanes_plan(wait_s=5.0, rounds=1)
    lanes = Lanes(plan)
    lanes.trains(0)
    own = lanes.trains_all(1)[-1]
    assert 3 == lanes.state.turns
    lanes.is_late()
    assert [(0, 0, 0, "a", "late"), (0, 0, 1, "c", "late")] == skips(lanes)
    assert "MergeWeights" not in lanes.kinds
    saved = lanes.only(run.SaveCheckpoint)
    assert (own.sent, ["b", "d"]) == (saved.weights, [record.site for record in saved.records])
    assert (2, Status.FINISHED) == (lanes.state.turns, lanes.state.status)
    assert ("a", "c") == lanes.state.left_out


def test_a_late_lane_goes_on_from_what_it_began_its_round_with() -> None:
    lanes = Lanes(lanes_plan(wait_s=5.0, every_n_rounds=3, rounds=3))
    began = [lanes.trains_all(lane)[-1].sent for lane in (0, 1)]
    lanes.trains(0)
    lanes.trains_all(1)
    lanes.is_late()
    assert began[0] == issued(lanes)[0].weights
    assert began[0] == lanes.all_of(run.KeepLane)[0].weights
    lanes.ends_round()
    assert Status.FINISHED is lanes.state.status
    assert [80, 180] == [part.samples for part in lanes.only(run.SaveCheckpoint).parts]


def test_what_a_late_lane_was_trained_by_is_not_who_trained_it_last() -> None:
    """Bug: the next round avoided the site whose turn was void, and not the one before it."""
    lanes = Lanes(lanes_plan(wait_s=5.0, every_n_rounds=3, rounds=3))
    lanes.ends_round()
    lasts = [lane.last for lane in lanes.state.lanes]
    lanes.trains(0)
    lanes.trains_all(1)
    lanes.is_late()
    assert lasts == [lane.last for lane in lanes.state.lanes]


def test_a_late_lane_that_was_waited_for_is_waited_for_no_more() -> None:
    """Bug: the run said so until its next round."""
    lanes = Lanes(lanes_plan(wait_s=5.0, on_silent=OnSilent.WAIT, sites="abc", count=3))
    lanes.goes_silent(0)
    lanes.trains_all(1)
    lanes.trains_all(2)
    assert lanes.state.reason
    lanes.is_late()
    assert (Status.MERGING, "") == (lanes.state.status, lanes.state.reason)


def test_a_merge_of_which_a_late_lanes_weights_are_gone_ends_the_run() -> None:
    """Bug: it waited for ever."""
    lanes = Lanes(lanes_plan(wait_s=5.0, every_n_rounds=2))
    lanes.ends_round()
    kept = lanes.relay_of(0).base
    lanes.trains(0)
    lanes.trains_all(1)
    lanes.is_late()
    assert [0, 1] == [part.lane for part in lanes.only(run.MergeWeights).parts]
    drops(lanes, run.WeightsLost(weights=weights("junk"), lane=0), "not_awaited")
    lanes.loses(0, kept)
    assert Status.FAILED is lanes.state.status
    assert "lane 1 cannot be read" in lanes.state.reason


def test_a_lane_that_is_late_is_not_given_out_again_when_others_are() -> None:
    lanes = Lanes(LATE_ONES)
    for lane in (0, 2):
        lanes.trains(lane)
    lanes.is_late()
    assert Status.CLOSING is lanes.state.status
    lanes(run.RelayLost())
    lanes(run.SiteForgot(site="b"))
    lanes.loses(0)
    assert [0] == lanes.out
    assert [0] == sorted(issued(lanes))


def test_lanes_wait_anew_after_a_pause() -> None:
    lanes = Lanes(lanes_plan(wait_s=5.0, min_sites=4))
    lanes.trains_all(1)
    lanes.goes_silent(0)
    assert (Status.PAUSED, 0) == (lanes.state.status, lanes.waiting)
    drops(lanes, run.WaitOver(round=0), "not_awaited")
    lanes(run.SiteHeard(site="a"))
    assert run.AwaitLanes(round=0, wait_s=5.0) == lanes.only(run.AwaitLanes)


# Pauses and the end.


def test_too_few_sites_take_every_lane_back_that_is_out() -> None:
    lanes = Lanes(lanes_plan(count=3, sites="abc", min_sites=3))
    lanes.trains_all(1)
    lanes.goes_silent(0)
    assert (Status.PAUSED, True) == (lanes.state.status, lanes.state.unattended)
    assert [0, 2] == [each.lane for each in lanes.effects if isinstance(each, run.Fence)]
    assert [] == lanes.out
    lanes(run.SiteHeard(site="a"))
    assert {0: "a", 2: "c"} == {lane: each.site for lane, each in issued(lanes).items()}
    lanes.ends_round()
    assert plain_loop(lanes.plan)[0] == lanes.state.merged


def test_a_pause_costs_the_other_lanes_no_attempt() -> None:
    """Bug: a turn was given up after one failure, since pauses counted as attempts at it."""
    lanes = Lanes(lanes_plan(sites="ab", min_sites=2, max_attempts=2))
    for _ in range(3):
        lanes.goes_silent(0)
        lanes(run.SiteHeard(site="a"))
    assert 1 == lanes.relay_of(1).attempts
    lanes.gives_up(1)
    assert [] == skips(lanes)


def test_a_lane_that_is_lost_in_a_pause_waits_as_the_others_do() -> None:
    lanes = Lanes(lanes_plan(sites="ab", min_sites=2, max_attempts=2))
    lanes.trains(1)
    lanes.goes_silent(0)
    reason = lanes.state.reason
    lanes.loses(1)
    assert (Status.PAUSED, reason, []) == (lanes.state.status, lanes.state.reason, lanes.out)
    lanes(run.SiteHeard(site="a"))
    assert [0, 1] == lanes.out
    assert 1 == lanes.relay_of(1).attempts


def test_weights_that_arrive_in_a_pause_are_here_after_it() -> None:
    lanes = Lanes(lanes_plan(sites="ab", min_sites=2))
    lanes.trains(1)
    lanes.goes_silent(0)
    lanes.arrives(1)
    assert (Status.PAUSED, True) == (lanes.state.status, lanes.state.lanes[1].is_here)
    lanes(run.SiteHeard(site="a"))
    lanes.trains_all(0)
    assert Status.MERGING is lanes.state.status


def test_an_operators_pause_begins_once_the_round_is_over_for_all_lanes() -> None:
    lanes = Lanes(lanes_plan(every_n_rounds=2))
    lanes.trains_all(0)
    lanes(run.PauseRequested())
    assert Status.RELAYING is lanes.state.status
    own = [lanes.relay_of(0).weights, lanes.trains_all(1)[-1].sent]
    assert (Status.PAUSED, ["KeepLane", "KeepLane"]) == (lanes.state.status, lanes.kinds[:2])
    lanes(run.ResumeRequested())
    assert own == [each.weights for each in issued(lanes).values()]


def test_a_pause_that_is_asked_for_while_all_become_one_begins_after_it() -> None:
    lanes = Lanes(lanes_plan())
    for lane in (0, 1):
        lanes.trains_all(lane)
    lanes(run.PauseRequested())
    lanes.merges()
    assert (Status.PAUSED, 1) == (lanes.state.status, lanes.state.round)


@pytest.mark.parametrize("done", range(5))
def test_a_run_is_stopped_at_once_whatever_its_lanes_are_at(done: int) -> None:
    lanes = Lanes(lanes_plan(sites="ab"))
    for step in (lanes.trains, lanes.arrives)[: min(done, 2)]:
        step(0)
    for step in (lanes.trains, lanes.arrives)[: max(done - 2, 0)]:
        step(1)
    lanes(run.StopRequested())
    assert (Status.STOPPED, []) == (lanes.state.status, lanes.out)
    assert [0, 1] == [each.lane for each in lanes.effects if isinstance(each, run.Fence)]
    assert lanes.state.top == lanes.only(run.Conclude).term
    drops(lanes, run.WeightsMerged(done=1, weights=weights("w")), "run_over")


def timed(plan: Plan) -> Plan:
    return replace(plan, stop=StopPolicy(hours=1.0))


def test_a_run_whose_hours_are_over_merges_at_its_rounds_end() -> None:
    lanes = Lanes(timed(lanes_plan(every_n_rounds=3, rounds=9)))
    lanes.ends_round()
    lanes(run.TimeUp())
    lanes.ends_round()
    assert (Status.FINISHED, 1) == (lanes.state.status, lanes.only(run.SaveCheckpoint).round)


def test_a_run_whose_hours_are_over_between_rounds_merges_what_its_lanes_have() -> None:
    lanes = Lanes(timed(lanes_plan(every_n_rounds=3, rounds=9)))
    lanes(run.PauseRequested())
    lanes.ends_round()
    lanes(run.TimeUp())
    assert [40, 60] == [part.samples for part in lanes.only(run.MergeWeights).parts]
    merged = lanes.merges()
    saved = lanes.only(run.SaveCheckpoint)
    assert (0, merged, Status.FINISHED) == (saved.round, saved.weights, lanes.state.status)


def test_a_run_that_waits_for_sites_when_its_hours_are_over_is_merged_once() -> None:
    """Bug: whoever came back made the controller merge once more."""
    lanes = Lanes(timed(lanes_plan(sites="ab", min_sites=2, every_n_rounds=3, rounds=9)))
    asked_for(lanes)
    goes_silent(lanes, "b")
    lanes.ends_round()
    assert (Status.PAUSED, True, 1) == (
        lanes.state.status,
        lanes.state.unattended,
        lanes.state.round,
    )
    lanes(run.TimeUp())
    assert (Status.MERGING, "") == (lanes.state.status, lanes.state.reason)
    assert () == lanes(run.SiteHeard(site="b"))
    lanes.merges()
    assert Status.FINISHED is lanes.state.status


def test_rounds_that_are_added_begin_from_what_all_were_made_one_of() -> None:
    lanes = Lanes(lanes_plan(rounds=1))
    lanes.ends_round()
    assert Status.FINISHED is lanes.state.status
    top = lanes.state.top
    lanes(run.RoundsAdded(rounds=2))
    assert {lanes.state.merged} == {each.weights for each in issued(lanes).values()}
    assert [top + 1, top + 1] == [each.id.term for each in issued(lanes).values()]
    lanes.ends_round()
    assert plain_loop(lanes_plan(rounds=2))[-1] == lanes.state.weights


def test_a_site_that_is_added_is_dealt_to_a_lane_from_the_next_round_on() -> None:
    lanes = Lanes(lanes_plan(sites="ab"))
    lanes(run.SiteAdded(site="c"))
    assert ["a", "b"] == lanes.orders
    lanes.ends_round()
    assert ["ac", "b"] == lanes.orders


def test_a_silent_sites_turns_are_skipped_in_every_lane_in_which_it_would_have_one() -> None:
    lanes = Lanes(lanes_plan(sites="abc", count=2, cover=Cover.ALL))
    lanes.goes_silent(0)
    lanes.ends_round()
    of_next = [skip for skip in lanes.state.skipped if skip.round == 1]
    assert [
        Skip(round=1, lane=0, hop=0, site="a", reason="silent"),
        Skip(round=1, lane=1, hop=2, site="a", reason="silent"),
    ] == of_next
    assert ["bc", "cb"] == lanes.orders


def test_lanes_for_which_no_site_is_there_are_passed_over_until_one_is() -> None:
    lanes = Lanes(lanes_plan(sites="ab", rounds=3))
    lanes.goes_silent(1)
    lanes.ends_round()
    assert ["a", ""] == lanes.orders
    own = lanes.trains_all(0)[-1].sent
    assert [0] == [part.lane for part in lanes.only(run.SaveCheckpoint).parts]
    lanes(run.SiteHeard(site="b"))
    assert own == lanes.relay_of(0).base


def test_made_one_is_a_stand_in_that_tells_what_went_into_it() -> None:
    part = Part(lane=0, weights=FIRST, samples=1)
    others = [replace(part, lane=1), replace(part, samples=2), replace(part, weights=weights("x"))]
    assert 5 == len(
        {made_one(each, equally=False) for each in ([part], *([o] for o in others), [])}
    )
