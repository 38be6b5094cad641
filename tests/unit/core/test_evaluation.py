"""All sites score the same weights, whatever happens to them, and no round is another by that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.evaluations import (
    FILE,
    all_score,
    asked_for,
    fails,
    goes_silent,
    of_training,
    relay_of,
    score,
    scores,
    waited_for,
    without_evaluation,
)
from support.runs import SITES, Relay, drops, moved, plan, weights
from support.strategies import run_plans
from tasuki.core import run
from tasuki.core.model import (
    EVALUATION,
    EvaluatePolicy,
    Kind,
    Lane,
    OnSilent,
    Plan,
    TurnId,
)
from tasuki.core.report import (
    RoundDone,
    SiteStarted,
    TurnAbandoned,
    TurnDone,
    TurnProgressed,
    TurnTaken,
)
from tasuki.core.run.reports import Verdict, judge
from tasuki.core.run.state import OVER, Status
from tasuki.wire.messages import decode, encode
from unit.core.test_run_properties import EVENTS, MOVES

EACH_ROUND = EvaluatePolicy(every_n_rounds=1)


def evaluating(policy: EvaluatePolicy = EACH_ROUND, **changes: object) -> Relay:
    """A run whose first round is over and is evaluated."""
    relay = Relay(replace(plan(**changes), evaluate=policy))  # type: ignore[arg-type]
    relay.finish_round()
    return relay


def left_out(relay: Relay) -> list[tuple[str, str, str]]:
    assert "CloseEvaluation" in relay.kinds
    closed = relay.only(run.CloseEvaluation).evaluation
    return [(each.site, each.reason, each.detail) for each in closed.left_out]


def test_all_sites_are_asked_at_once_for_the_same_weights_and_each_on_its_own_lane() -> None:
    relay = evaluating()
    issued = [each for each in relay.effects if isinstance(each, run.IssueTurn)]
    assert [(site,) for site in SITES] == [each.itinerary for each in issued]
    assert {relay.state.weights} == {each.weights for each in issued}
    assert [EVALUATION, EVALUATION + 1, EVALUATION + 2] == [each.id.lane for each in issued]
    assert {Kind.EVALUATE} == {each.kind for each in issued}
    assert Status.EVALUATING is relay.state.status
    assert relay.state.lanes[0].relay.holder is None


def test_the_split_goes_to_every_site() -> None:
    relay = evaluating(replace(EACH_ROUND, split="validation"))
    split = {each.split for each in relay.effects if isinstance(each, run.IssueTurn)}
    assert {"validation"} == split


def test_the_next_round_begins_once_everybody_has_scored() -> None:
    relay = evaluating()
    scores(relay, "c")
    scores(relay, "a")
    assert Status.EVALUATING is relay.state.status
    scores(relay, "b")
    assert (Status.RELAYING, 1) == (relay.state.status, relay.state.round)


def test_what_is_made_of_scores_does_not_depend_on_who_was_first() -> None:
    """Bug: a mean was summed up in the order in which scores came, and differed in its last bit."""
    best = replace(plan().checkpoint, best="accuracy")
    values = {"a": 0.1, "b": 0.2, "c": 0.3}
    found = set()
    for order in ("abc", "cba", "bac", "cab"):
        relay = Relay(replace(plan(), evaluate=EACH_ROUND, checkpoint=best))
        relay.finish_round()
        for site in order:
            scores(relay, site, values[site], samples=7)
        assert list(SITES) == [s.site for s in relay.only(run.CloseEvaluation).evaluation.scores]
        assert relay.state.best is not None
        found.add(relay.state.best.value)
    assert 1 == len(found)


@pytest.mark.parametrize(
    ("policy", "evaluated"),
    [
        (EvaluatePolicy(every_n_rounds=2), [2, 4, 5]),
        (EvaluatePolicy(every_n_rounds=2, at_end=False), [2, 4]),
        (EvaluatePolicy(every_n_rounds=5), [5]),
        (EvaluatePolicy(), [5]),
        (EvaluatePolicy(at_end=False), []),
        (None, []),
    ],
)
def test_rounds_are_evaluated_as_the_plan_says(
    policy: EvaluatePolicy | None, evaluated: list[int]
) -> None:
    relay = Relay(replace(plan(rounds=5), evaluate=policy))
    found: list[int | None] = []
    while relay.state.status not in OVER:
        relay.finish_round()
        if relay.state.evaluation is not None:
            found.append(relay.state.evaluation.asked.after)
            all_score(relay)
    assert evaluated == found


def test_a_score_of_another_site_is_not_accepted() -> None:
    relay = evaluating()
    other = replace(score(relay, "a"), site="b")
    drops(relay, run.TurnFinished(record=other), "wrong_site")
    lane_of_b = replace(score(relay, "a"), id=relay_of(relay, "b").expected)
    drops(relay, run.TurnFinished(record=lane_of_b), "wrong_site")


def test_scores_of_other_weights_are_not_accepted() -> None:
    relay = evaluating()
    junk = weights("junk")
    for part in ({"sent": junk}, {"received": junk.digest}):
        said = replace(score(relay, "a"), **part)
        drops(relay, run.TurnFinished(record=said), "broken_chain")


def test_a_turn_that_trained_is_no_score_and_a_score_no_turn_that_trained() -> None:
    relay = evaluating()
    trained = replace(score(relay, "a"), kind=Kind.TRAIN)
    drops(relay, run.TurnFinished(record=trained), "wrong_kind")
    relay = Relay()
    scored = replace(relay.record(), kind=Kind.EVALUATE)
    drops(relay, run.TurnFinished(record=scored), "wrong_kind")
    same = replace(scored, sent=relay.state.weights)
    drops(relay, run.TurnFinished(record=same), "wrong_kind")


def test_no_site_counts_twice() -> None:
    relay = evaluating()
    said = scores(relay, "a", 0.7)
    drops(relay, run.TurnFinished(record=said), "duplicate")
    better = replace(said, metrics={"accuracy": 0.9})
    drops(relay, run.TurnFinished(record=better), "not_awaited")


@pytest.mark.parametrize("on_silent", OnSilent)
def test_a_silent_site_is_left_out_after_one_lease_and_the_run_goes_on(on_silent: OnSilent) -> None:
    relay = evaluating(on_silent=on_silent)
    scores(relay, "a")
    goes_silent(relay, "b")
    scores(relay, "c")
    assert [("b", "silent", "")] == left_out(relay)
    assert (Status.RELAYING, 1) == (relay.state.status, relay.state.round)


def test_a_site_that_was_silent_in_an_evaluation_is_skipped_only_where_silent_ones_are() -> None:
    """Who is left out of scoring is waited for in its turn, as the run's policy says."""
    for on_silent in OnSilent:
        relay = evaluating(on_silent=on_silent)
        goes_silent(relay, "b")
        all_score(relay)
        skipped = "b" not in relay.state.lanes[0].relay.itinerary
        assert (on_silent is OnSilent.SKIP) == skipped


def test_a_failing_site_is_tried_again_and_then_left_out_with_its_words() -> None:
    relay = evaluating()
    fails(relay, "b", "disk on fire")
    fails(relay, "b", "still on fire")
    assert "b" in waited_for(relay)
    fails(relay, "b", "burnt down", error="TrainerDied")
    scores(relay, "a")
    scores(relay, "c")
    assert [("b", "TrainerDied", "burnt down")] == left_out(relay)


def test_a_run_whose_sites_all_fail_finishes_and_says_that_nobody_has_scored() -> None:
    best = replace(plan().checkpoint, best="accuracy")
    relay = Relay(replace(plan(rounds=1), evaluate=EACH_ROUND, checkpoint=best))
    relay.finish_round()
    for site in SITES:
        goes_silent(relay, site)
    assert Status.FINISHED is relay.state.status
    assert "accuracy" == relay.state.unjudged
    assert "no site has scored by accuracy" in relay.state.reason


def test_what_a_site_says_after_it_was_left_out_is_void() -> None:
    relay = evaluating()
    late = score(relay, "b")
    goes_silent(relay, "b")
    assert "Fence" in relay.kinds
    fence = relay.only(run.Fence)
    assert (late.id.lane, late.id.term + 1) == (fence.lane, fence.term)
    drops(relay, run.TurnFinished(record=late), "not_awaited")


def test_a_site_that_comes_back_without_its_journal_is_asked_again() -> None:
    relay = evaluating()
    before = relay_of(relay, "b").expected
    relay(run.SiteForgot(site="b"))
    assert before.fence < relay.only(run.IssueTurn).id.fence
    assert "b" == relay.only(run.IssueTurn).itinerary[0]
    assert relay_of(relay, "a").term < relay_of(relay, "b").term


def test_what_an_operator_asks_for_is_scored_beside_a_turn_that_trains() -> None:
    relay, alone = Relay(), Relay()
    asked_for(relay)
    assert list(SITES) == waited_for(relay)
    relay.finish_turn(), alone.finish_turn()
    all_score(relay)
    assert FILE == relay.only(run.CloseEvaluation).evaluation.asked.weights
    assert without_evaluation(alone.state) == without_evaluation(relay.state)


def test_what_is_asked_for_meanwhile_comes_after_and_that_of_a_round_comes_first() -> None:
    relay = Relay(replace(plan(), evaluate=EACH_ROUND))
    asked_for(relay)
    asked_for(relay, weights("another"))
    relay.finish_round()
    assert relay.state.evaluation is not None
    numbers = []
    while relay.state.evaluation is not None:
        numbers.append((relay.state.evaluation.asked.number, relay.state.status))
        all_score(relay)
    assert [
        (1, Status.EVALUATING),
        (3, Status.EVALUATING),
        (2, Status.RELAYING),
    ] == numbers


def test_a_run_that_is_over_is_evaluated_and_its_sites_are_told_again_that_it_is() -> None:
    relay = Relay(plan(rounds=1))
    relay.finish_round()
    ended = relay.only(run.Conclude)
    asked_for(relay)
    assert not relay.state.is_done
    all_score(relay)
    assert relay.state.is_done
    again = relay.only(run.Conclude)
    assert (ended.status, ended.reason) == (again.status, again.reason)
    assert ended.term < again.term


def test_a_run_that_ends_while_its_sites_score_tells_them_only_after_that() -> None:
    relay = Relay(plan(rounds=1))
    asked_for(relay)
    relay.finish_round()
    assert Status.FINISHED is relay.state.status
    assert "Conclude" not in relay.kinds
    all_score(relay)
    assert "Conclude" in relay.kinds


def test_a_run_that_is_stopped_calls_every_evaluation_off() -> None:
    relay = evaluating()
    asked_for(relay)
    relay(run.StopRequested())
    assert [(site, "called_off", "") for site in SITES] == left_out(relay)
    assert Status.STOPPED is relay.state.status
    assert relay.state.is_done


def test_an_evaluation_of_a_run_that_is_over_can_be_called_off() -> None:
    relay = Relay(plan(rounds=1))
    relay.finish_round()
    asked_for(relay)
    scores(relay, "a")
    relay(run.StopRequested())
    assert [("b", "called_off", ""), ("c", "called_off", "")] == left_out(relay)
    assert (Status.FINISHED, True) == (relay.state.status, relay.state.is_done)


def test_nothing_that_was_called_off_judges_a_round() -> None:
    best = replace(plan().checkpoint, best="accuracy")
    relay = Relay(replace(plan(min_sites=1), evaluate=EACH_ROUND, checkpoint=best))
    relay.finish_round()
    scores(relay, "a", 0.9)
    relay(run.StopRequested())
    assert relay.state.best is None


def test_weights_that_are_not_there_any_more_are_scored_by_nobody_and_end_no_run() -> None:
    relay = Relay()
    asked_for(relay)
    for place, _ in enumerate(SITES):
        relay(run.WeightsLost(weights=FILE, lane=EVALUATION + place))
    assert {"weights_lost"} == {reason for _, reason, _ in left_out(relay)}
    assert Status.RELAYING is relay.state.status


# Reports that claim what is not theirs.


def judged(relay: Relay, report: object) -> Verdict:
    site = report.site  # type: ignore[attr-defined]
    return judge(
        {"r": relay.state},
        report,  # type: ignore[arg-type]
        sender=site,
        read=lambda written: decode(written, type(score(relay, "a"))),
    )


def is_refused(verdict: Verdict, reason: str) -> None:
    assert verdict.refused is not None
    assert reason == verdict.refused.reason
    assert () == verdict.events


def test_no_site_passes_on_another_sites_score_in_its_history() -> None:
    """While a round goes on beside, a turn's history may hold that round's results alone."""
    relay = Relay()
    asked_for(relay)
    first, second = (
        relay.state.lanes[0].relay.expected,
        moved(relay.state.lanes[0].relay.expected, hop=1),
    )
    last = moved(relay.state.lanes[0].relay.expected, hop=2)
    for site in SITES:
        forged = encode(score(relay, site))
        for report in (
            TurnTaken(id=first, site="a", history=(forged,)),
            TurnTaken(id=second, site="b", history=(forged,)),
            RoundDone(id=last, site="c", weights=weights("w"), history=(forged, forged, forged)),
        ):
            is_refused(judged(relay, report), "wrong_site")


def test_a_turn_that_scores_brings_no_history() -> None:
    relay = evaluating()
    id = relay_of(relay, "a").expected
    taken = judged(relay, TurnTaken(id=id, site="a", history=(encode(score(relay, "b")),)))
    assert ((), "") == (taken.events, taken.ignored)
    assert taken.comes_on is not None


def test_no_site_ends_a_round_in_a_turn_in_which_it_is_to_score() -> None:
    relay = evaluating()
    id = relay_of(relay, "a").expected
    done = RoundDone(id=id, site="a", weights=weights("w"), history=(encode(score(relay, "a")),))
    is_refused(judged(relay, done), "wrong_kind")


def test_no_site_says_anything_of_another_sites_turn_that_scores() -> None:
    relay = evaluating()
    id = relay_of(relay, "a").expected
    assert "wrong_site" == judged(relay, TurnTaken(id=id, site="b")).ignored
    progressed = TurnProgressed(id=id, site="b", phase="training")
    assert "wrong_site" == judged(relay, progressed).ignored
    abandoned = judged(relay, TurnAbandoned(id=id, site="b", error="TrainerRaised"))
    assert abandoned.ignored
    returned = judged(relay, TurnAbandoned(id=id, site="b", error="", returned=True))
    assert returned.ignored
    is_refused(judged(relay, TurnDone(record=score(relay, "a"), site="b")), "wrong_site")
    as_b = judged(relay, TurnDone(record=replace(score(relay, "a"), site="b"), site="b"))
    assert "wrong_site" == as_b.ignored


def test_a_site_that_lost_its_journal_is_asked_anew_by_what_it_says_at_its_start() -> None:
    relay = evaluating()
    started = judged(relay, SiteStarted(site="b", fresh=True, version="1"))
    assert (("r", run.SiteForgot(site="b")),) == started.presence


def test_a_site_that_still_scores_though_nobody_waits_for_it_is_told_so() -> None:
    relay = evaluating()
    id = relay_of(relay, "b").expected
    goes_silent(relay, "b")
    verdict = judged(relay, TurnProgressed(id=id, site="b", phase="training"))
    assert verdict.void is not None
    assert (id.lane, id.term + 1) == (verdict.void.lane, verdict.void.term)


# Whatever happens, in any order.

STEPS = 40
Move = Callable[[st.DataObject, Relay], run.Event]


def somebody(data: st.DataObject, relay: Relay) -> str:
    return data.draw(st.sampled_from(waited_for(relay)))


def said(data: st.DataObject, relay: Relay) -> run.Event:
    """A score that is right, or wrong in one part."""
    record = score(relay, somebody(data, relay))
    wrong = data.draw(st.sampled_from(["", "", "", "term", "site", "received", "kind", "lane"]))
    match wrong:
        case "term":
            record = replace(record, id=moved(record.id, term=data.draw(st.integers(0, 6))))
        case "site":
            record = replace(record, site=data.draw(st.sampled_from("abcde")))
        case "received":
            record = replace(record, received=weights("junk").digest)
        case "kind":
            record = replace(record, kind=Kind.TRAIN)
        case "lane":
            lane = EVALUATION + data.draw(st.integers(0, 6))
            record = replace(record, id=moved(record.id, lane=lane))
    return run.TurnFinished(record=record)


def expired(data: st.DataObject, relay: Relay) -> run.Event:
    id = relay_of(relay, somebody(data, relay)).expected
    return run.LeaseExpired(id=id, phase=data.draw(st.sampled_from(["", "training"])))


def failed(data: st.DataObject, relay: Relay) -> run.Event:
    site = somebody(data, relay)
    error = data.draw(st.sampled_from(["TrainerRaised", "TrainerDied", "TrainerOverdue"]))
    return run.TurnFailed(id=relay_of(relay, site).expected, site=site, error=error)


def given_back(data: st.DataObject, relay: Relay) -> run.Event:
    site = somebody(data, relay)
    return run.TurnReturned(id=relay_of(relay, site).expected, site=site)


def lost(data: st.DataObject, relay: Relay) -> run.Event:
    its = relay_of(relay, somebody(data, relay))
    return run.WeightsLost(weights=its.weights, lane=its.lane)


def wanted(data: st.DataObject, relay: Relay) -> run.Event:
    ref = data.draw(st.sampled_from([FILE, relay.state.weights, weights("x")]))
    return run.EvaluationRequested(weights=ref, after=data.draw(st.sampled_from([None, 0, 1])))


SCORING: dict[str, Move] = {
    "score": said,
    "score soon": said,
    "score at last": said,
    "expire": expired,
    "fail": failed,
    "give back": given_back,
    "lose": lost,
}


def scoring_event(data: st.DataObject, relay: Relay) -> run.Event:
    """Something that is about the evaluation under way, or one that is asked for."""
    if relay.state.evaluation is None or data.draw(st.integers(0, 9)) == 0:
        return wanted(data, relay)
    return SCORING[data.draw(st.sampled_from(sorted(SCORING)))](data, relay)


class Watch:
    """Looks at every step of evaluations, and says what must never be seen."""

    def __init__(self) -> None:
        self.issued: dict[Lane, TurnId] = {}
        self.leases: dict[int, TurnId] = {}

    def see(self, relay: Relay) -> None:
        self._terms_of_a_lane_only_grow(relay)
        self._everybody_is_watched(relay)
        state = relay.state
        closed = [each for each in relay.effects if isinstance(each, run.CloseEvaluation)]
        of_all = [each.evaluation for each in closed]
        of_all += [] if state.evaluation is None else [state.evaluation]
        for each in of_all:
            scored = [record.site for record in each.scores]
            out = [site.site for site in each.left_out]
            assert sorted(each.sites) == sorted([*scored, *out, *each.relays])
            assert all(record.received == each.asked.weights.digest for record in each.scores)
        assert all(each.evaluation.is_over for each in closed)
        assert state.evaluation is None or not state.evaluation.is_over
        assert not (state.asked and state.evaluation is None)
        assert (state.status is Status.EVALUATING) == any(
            asked.is_planned
            for asked in (*state.asked, *(e.asked for e in of_all if not e.is_over))
        )

    def _terms_of_a_lane_only_grow(self, relay: Relay) -> None:
        for each in relay.effects:
            if isinstance(each, run.IssueTurn):
                before = self.issued.get(each.id.of_lane)
                assert before is None or before.fence < each.id.fence
                self.issued[each.id.of_lane] = each.id

    def _everybody_is_watched(self, relay: Relay) -> None:
        for each in relay.effects:
            if isinstance(each, run.StartLease):
                self.leases[each.id.lane] = each.id
            elif isinstance(each, run.EndLease):
                self.leases.pop(each.lane, None)
        out = relay.state.evaluation.relays.values() if relay.state.evaluation else ()
        watched = {lane: id for lane, id in self.leases.items() if lane >= EVALUATION}
        assert watched == {its.lane: its.expected for its in out}


TRAINING = {name: move for name, move in MOVES.items() if name != "repeat"}


def next_move() -> st.SearchStrategy[str]:
    often = st.sampled_from(["finish", "arrive", "evaluate", "evaluate"])
    return st.one_of(often, often, st.sampled_from([*TRAINING, "stop"]))


@given(plan=run_plans(), data=st.data())
def test_no_round_is_another_by_what_is_scored_beside_it(plan: Plan, data: st.DataObject) -> None:
    """The run is the same, event by event, as one of which nobody wants anything scored.

    But for sites that are silent when they are to score, where silent sites are skipped.
    """
    beside, alone, watch = Relay(plan), Relay(plan), Watch()
    watch.see(beside)
    for move in data.draw(st.lists(next_move(), min_size=STEPS // 4, max_size=STEPS)):
        if move == "evaluate":
            event = scoring_event(data, beside)
            skips = plan.failure.on_silent is OnSilent.SKIP
            if isinstance(event, run.LeaseExpired) and skips and not event.phase:
                continue
            beside(event)
            assert [] == of_training(beside.effects)
        else:
            event = run.StopRequested() if move == "stop" else TRAINING[move](data, alone)
            beside(event)
            alone(event)
            assert of_training(alone.effects) == of_training(beside.effects)
        assert without_evaluation(alone.state) == without_evaluation(beside.state)
        watch.see(beside)


@given(plan=run_plans(), data=st.data())
def test_every_evaluation_closes_and_the_run_is_that_of_one_without(
    plan: Plan, data: st.DataObject
) -> None:
    """Rounds of a run that evaluates are those of one that does not, whatever becomes of it."""
    every, at_end = data.draw(st.sampled_from([None, 1, 2])), data.draw(st.booleans())
    policy = EvaluatePolicy(every_n_rounds=every, at_end=at_end)
    skips = plan.failure.on_silent is OnSilent.SKIP
    judging, alone, watch = Relay(replace(plan, evaluate=policy)), Relay(plan), Watch()
    watch.see(judging)
    while alone.state.status not in OVER:
        alone.finish_round()
        judging.finish_round()
        watch.see(judging)
        while judging.state.status is Status.EVALUATING:
            event = scoring_event(data, judging)
            if not (isinstance(event, run.LeaseExpired) and skips):
                judging(event)
                watch.see(judging)
        assert without_evaluation(alone.state) == replace(
            without_evaluation(judging.state), plan=plan
        )
    while judging.state.evaluation is not None:
        goes_silent(judging, waited_for(judging)[0])
        watch.see(judging)
    assert judging.state.is_done

    again = Relay(judging.plan)
    for event in judging.history[1:]:
        again(decode(encode(event), EVENTS))
    assert judging.state == again.state
