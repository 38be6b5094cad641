"""Several models on their way at once, under whatever may happen, in any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st

from support.evaluations import score, waited_for
from support.lanes import Lanes, is_done, lanes_plan, made_one, plain_loop
from support.runs import FIRST, moved, weights
from tasuki.core import run
from tasuki.core.model import (
    EVALUATION,
    Cover,
    EvaluatePolicy,
    Merge,
    OnSilent,
    Plan,
    StopPolicy,
    TurnId,
    TurnRecord,
)
from tasuki.core.run import OVER, Part, Status
from tasuki.core.run.machine import LATE
from tasuki.wire.messages import decode, encode
from unit.core.test_run_properties import EVENTS

STEPS = 60
NEAR = st.integers(0, 5)
WHO = st.sampled_from("abcdex")


@st.composite
def plans_with_lanes(
    draw: st.DrawFn, *, on_silent: Sequence[OnSilent] = (*OnSilent, OnSilent.SKIP, OnSilent.SKIP)
) -> Plan:
    sites = "abcde"[: draw(st.integers(1, 5))]
    count = draw(st.integers(2, 4))
    listed = st.lists(st.sampled_from(sites), min_size=1, max_size=4).map(tuple)
    by_lane = st.lists(listed, min_size=count, max_size=count).map(tuple)
    named = st.sampled_from(["fixed", "random", "random_without_same_in_a_row"])
    plan = lanes_plan(
        count=count,
        sites=sites,
        rounds=draw(st.integers(1, 4)),
        order=draw(named | named | listed | by_lane),
        cover=draw(st.sampled_from(Cover)),
        merge=draw(st.sampled_from(Merge)),
        every_n_rounds=draw(st.integers(1, 3)),
        wait_s=draw(st.sampled_from([None, 5.0])),
        on_silent=draw(st.sampled_from(on_silent)),
        min_sites=draw(st.integers(1, len(sites))),
        max_attempts=draw(st.integers(1, 3)),
    )
    evaluate = draw(st.sampled_from([None, None, EvaluatePolicy(every_n_rounds=1)]))
    task = replace(plan.task, seed=draw(st.integers(0, 9)))
    return replace(plan, task=task, evaluate=evaluate, stop=StopPolicy(hours=1.0))


# What may happen.

Move = Callable[[st.DataObject, Lanes], run.Event | None]


def some_lane(data: st.DataObject, lanes: Lanes) -> int:
    """One of which a turn is out, if one is."""
    return data.draw(st.sampled_from(lanes.out or list(range(len(lanes.state.lanes)))))


def some_record(data: st.DataObject, lanes: Lanes) -> TurnRecord | None:
    if not lanes.out:
        return None
    lane = some_lane(data, lanes)
    left = len(lanes.relay_of(lane).itinerary) - lanes.relay_of(lane).hop - 1
    return lanes.says(
        lane, ahead=data.draw(st.sampled_from([0, 0, 0, data.draw(NEAR) % (left + 1)]))
    )


def finishes(data: st.DataObject, lanes: Lanes) -> run.Event | None:
    record = some_record(data, lanes)
    return None if record is None else run.TurnFinished(record=record)


def spoils(data: st.DataObject, lanes: Lanes) -> run.Event | None:
    """A result that is wrong somewhere: above all, of another lane."""
    record = some_record(data, lanes)
    if record is None:
        return None
    part = data.draw(st.sampled_from(["lane", "lane", "term", "round", "hop", "site", "received"]))
    if part == "site":
        return run.TurnFinished(record=replace(record, site=data.draw(WHO)))
    if part == "received":
        others = [other.relay.weights.digest for other in lanes.state.lanes]
        return run.TurnFinished(record=replace(record, received=data.draw(st.sampled_from(others))))
    if part == "lane":
        lane = data.draw(st.integers(0, len(lanes.state.lanes)))
        term = data.draw(st.sampled_from([each.relay.term for each in lanes.state.lanes]))
        if lane < len(lanes.state.lanes) and _begins_alike(record, lanes, lane):
            return None
        return run.TurnFinished(record=replace(record, id=moved(record.id, lane=lane, term=term)))
    return run.TurnFinished(record=replace(record, id=moved(record.id, **{part: data.draw(NEAR)})))


def _begins_alike(record: TurnRecord, lanes: Lanes, lane: int) -> bool:
    """Whether another lane's turn is from the same weights: who would have it, may claim this."""
    return record.received == lanes.relay_of(lane).weights.digest


def arrives(data: st.DataObject, lanes: Lanes) -> run.Event | None:
    if not lanes.collecting:
        return None
    lane = data.draw(st.sampled_from(sorted(lanes.collecting)))
    return run.WeightsArrived(weights=lanes.collecting.pop(lane), lane=lane)


def arrives_elsewhere(data: st.DataObject, lanes: Lanes) -> run.Event:
    """Bytes that one lane waits for come as another's."""
    refs = [*lanes.collecting.values(), *(lane.relay.weights for lane in lanes.state.lanes)]
    lane = data.draw(st.integers(0, len(lanes.state.lanes)))
    return run.WeightsArrived(weights=data.draw(st.sampled_from(refs)), lane=lane)


def merges(_: st.DataObject, lanes: Lanes) -> run.Event | None:
    return lanes.makes_one() if lanes.merging else None


def merges_otherwise(data: st.DataObject, lanes: Lanes) -> run.Event | None:
    done = data.draw(NEAR)
    if lanes.state.status is Status.MERGING and done == lanes.state.done:
        return None
    return run.WeightsMerged(done=done, weights=weights("junk"))


def waits_no_longer(data: st.DataObject, lanes: Lanes) -> run.Event:
    return run.WaitOver(round=data.draw(st.sampled_from([lanes.state.round, data.draw(NEAR)])))


def loses(data: st.DataObject, lanes: Lanes, *, is_newer: bool = False) -> run.Event | None:
    """The controller finds none of what it is to send, get or make one of.

    Args:
        is_newer: than what the lane's round began with, to which it falls back.
    """
    lost = [(lane, lanes.relay_of(lane).weights) for lane in lanes.out]
    lost += list(lanes.collecting.items())
    if lanes.merging:
        lost += [(part.lane, part.weights) for part in lanes.merging.parts]
    if is_newer:
        lost = [(lane, ref) for lane, ref in lost if ref != lanes.relay_of(lane).base]
    if not lost:
        return None
    lane, ref = data.draw(st.sampled_from(lost))
    lanes.finds_none(lane, ref)
    return run.WeightsLost(weights=ref, lane=lane)


def loses_others(data: st.DataObject, lanes: Lanes) -> run.Event:
    return run.WeightsLost(weights=weights("junk"), lane=some_lane(data, lanes))


def some_id(data: st.DataObject, lanes: Lanes) -> TurnId:
    expected = lanes.relay_of(some_lane(data, lanes)).expected
    near = replace(expected, term=data.draw(NEAR), hop=data.draw(NEAR))
    return data.draw(st.sampled_from([expected, expected, expected, near]))


def expires(data: st.DataObject, lanes: Lanes) -> run.Event:
    phase = data.draw(st.sampled_from(["", "training"]))
    return run.LeaseExpired(id=some_id(data, lanes), phase=phase)


def holder_of(id: TurnId, data: st.DataObject, lanes: Lanes) -> str:
    return lanes.relay_of(id.lane).holder or data.draw(WHO)


def fails(data: st.DataObject, lanes: Lanes) -> run.Event:
    id = some_id(data, lanes)
    error = data.draw(st.sampled_from(["TrainerRaised", "TrainerDied", "TrainerOverdue"]))
    return run.TurnFailed(id=id, site=holder_of(id, data, lanes), error=error)


def returns(data: st.DataObject, lanes: Lanes) -> run.Event:
    id = some_id(data, lanes)
    return run.TurnReturned(id=id, site=holder_of(id, data, lanes))


def repeats(data: st.DataObject, lanes: Lanes) -> run.Event | None:
    """Something is said twice.

    But the controller makes one of the same parts once, and once it has found weights it has them.
    """
    event = data.draw(st.sampled_from([None, *lanes.history[1:]]))
    return None if isinstance(event, run.WeightsMerged | run.WeightsLost) else event


GOES_ON: dict[str, Move] = {"finish": finishes, "arrive": arrives, "merge": merges}
MADE_GOOD: dict[str, Move] = {
    "spoil": spoils,
    "repeat": repeats,
    "arrive elsewhere": arrives_elsewhere,
    "merge otherwise": merges_otherwise,
    "lose newer": lambda data, lanes: loses(data, lanes, is_newer=True),
    "lose others": loses_others,
    "forget": lambda data, _: run.SiteForgot(site=data.draw(WHO)),
    "hear": lambda data, _: run.SiteHeard(site=data.draw(WHO)),
    "empty": lambda _, __: run.RelayLost(),
    "expire": expires,
    "fail": fails,
    "return": returns,
    "pause": lambda _, __: run.PauseRequested(),
    "resume": lambda _, __: run.ResumeRequested(),
}
MOVES: dict[str, Move] = {
    **MADE_GOOD,
    "wait": waits_no_longer,
    "lose": loses,
    "add": lambda data, _: run.SiteAdded(site=data.draw(st.sampled_from("abcde"))),
    "time": lambda _, __: run.TimeUp(),
    "extend": lambda data, lanes: run.RoundsAdded(
        rounds=lanes.state.plan.task.rounds + data.draw(st.integers(0, 1))
    ),
}
FITTING = {
    Status.RELAYING: ["finish", "wait", "expire"],
    Status.CLOSING: ["arrive", "arrive", "lose newer"],
    Status.MERGING: ["merge", "lose", "lose newer", "empty"],
    Status.PAUSED: ["resume", "hear", "time"],
}


def fits(data: st.DataObject, lanes: Lanes) -> run.Event | None:
    """What seldom meets the state in which it matters."""
    names = FITTING.get(lanes.state.status, ["extend"])
    return {**MOVES, **GOES_ON}[data.draw(st.sampled_from(names))](data, lanes)


ALL: dict[str, Move] = {**MOVES, **GOES_ON, "fit": fits, "stop": lambda _, __: run.StopRequested()}


def moves(of: Sequence[str]) -> st.SearchStrategy[str]:
    often = st.sampled_from(["finish", "finish", "finish", "arrive", "arrive", "merge"])
    return st.one_of(often, often, st.sampled_from(of))


# What must hold.


class Watch:
    """Looks at every step, keeps its own books, and says what must never be seen.

    Attributes:
        since: of each lane, what was accepted in rounds that are over since all lanes were one.
        one: what they were made last.
        is_merged: that was made of several, and trained by nobody since.
    """

    def __init__(self, lanes: Lanes) -> None:
        count = len(lanes.state.lanes)
        self.issued: dict[int, TurnId] = {}
        self.since: list[list[TurnRecord]] = [[] for _ in range(count)]
        self.one, self.is_merged = FIRST, False
        self.planned: list[tuple[int, int, int, str]] = []
        self.accepted: list[tuple[int, int, int, str]] = []
        self.saved: list[run.SaveCheckpoint] = []
        self.closed = 0

    def see(self, before: run.RunState, lanes: Lanes) -> None:
        after = lanes.state
        self._drops_change_nothing(before, lanes)
        self._round_is_over(before, lanes)
        self._lanes_are_chains(after)
        self._one_holder_a_lane(before, lanes)
        self._merges(lanes)
        self._is_watched(lanes)
        assert not lanes.is_asked_for_nothing
        under_way = sum(len(lane.records) for lane in after.lanes) if self._is_open(after) else 0
        assert len(self.accepted) + under_way == after.turns
        if after.status is Status.FINISHED:
            self._all_turns_are_accounted_for(after)
        assert not after.unattended or after.status is Status.PAUSED
        is_waited_for = any(lane.relay.waits for lane in after.lanes if lane.relay.holder)
        assert is_waited_for == after.reason.startswith("waiting: ")
        for effect in lanes.effects:
            assert effect == decode(encode(effect), type(effect))

    def _is_open(self, state: run.RunState) -> bool:
        """Whether the round that is planned is not in the books yet."""
        return state.is_in_round and state.done > self.closed

    def _drops_change_nothing(self, before: run.RunState, lanes: Lanes) -> None:
        if any(isinstance(effect, run.Drop) for effect in lanes.effects):
            assert 1 == len(lanes.effects)
            assert before == lanes.state

    def _round_is_over(self, before: run.RunState, lanes: Lanes) -> None:
        """Take down what a round has brought, once it is decided; then what all were made."""
        saved = [each for each in lanes.effects if isinstance(each, run.SaveCheckpoint)]
        kept = [each for each in lanes.effects if isinstance(each, run.KeepLane)]
        assert len(saved) <= 1
        assert not (saved and kept)
        if (saved or kept) and before.is_in_round:
            self._take_down(before, lanes.state)
        if kept:
            assert before.done % before.plan.lanes.every_n_rounds
            assert [each.weights for each in kept] == [part.weights for part in self._now()]
        for each in saved:
            self._take_down_merged(each, lanes)

    def _take_down(self, before: run.RunState, after: run.RunState) -> None:
        assert before.done == self.closed + 1
        self.closed = before.done
        for number, lane in enumerate(before.lanes):
            records = lane.relay.records if is_done(lane) else ()
            self.since[number] += records
            self.accepted += [(before.round, number, r.id.hop, r.site) for r in records]
            planned = [(before.round, number, hop, site) for hop, site in enumerate(lane.itinerary)]
            self.planned += planned
            passed = [
                (skip.round, skip.lane, skip.hop, skip.site)
                for skip in after.skipped
                if (skip.round, skip.lane) == (before.round, number) and skip.site in lane.itinerary
            ]
            accepted = [each for each in self.accepted if each[:2] == (before.round, number)]
            assert sorted(planned) == sorted([*accepted, *passed])

    def _now(self) -> list[Part]:
        """What each lane has, by the books."""
        return [
            Part(
                lane=lane,
                weights=records[-1].sent if records else self.one,
                samples=sum(record.samples for record in records),
            )
            for lane, records in enumerate(self.since)
        ]

    def _parts(self) -> tuple[Part, ...]:
        return tuple(part for part in self._now() if self.since[part.lane])

    def _take_down_merged(self, saved: run.SaveCheckpoint, lanes: Lanes) -> None:
        parts, last = self._parts(), lanes.history[-1]
        assert parts == saved.parts
        assert saved.round == self.closed - 1
        assert saved.round > (self.saved[-1].round if self.saved else -1)
        if len(parts) > 1:
            assert isinstance(last, run.WeightsMerged)
            equally = lanes.plan.lanes.merge is Merge.EQUAL
            assert saved.weights == last.weights == made_one(parts, equally=equally)
        else:
            assert saved.weights == (parts[0].weights if parts else self.one)
        if parts:
            self.is_merged = len(parts) > 1
        self.one = saved.weights
        assert lanes.state.merged == saved.weights == lanes.state.weights
        self.since = [[] for _ in self.since]
        self.saved.append(saved)

    def _merges(self, lanes: Lanes) -> None:
        for each in lanes.effects:
            if isinstance(each, run.MergeWeights):
                assert Status.MERGING is lanes.state.status
                assert lanes.state.done == each.done
                assert len(each.parts) > 1
                assert len({part.lane for part in each.parts}) == len(each.parts)

    def _lanes_are_chains(self, after: run.RunState) -> None:
        """From what all were one of last, through all that each has accepted since."""
        for number, lane in enumerate(after.lanes):
            under_way = lane.records if self._is_open(after) else ()
            chain = [self.one, *(record.sent for record in (*self.since[number], *under_way))]
            received = [record.received for record in (*self.since[number], *under_way)]
            assert [ref.digest for ref in chain[:-1]] == received
            if not lane.is_late:
                assert chain[-1] == lane.relay.weights
            for record in under_way:
                assert (number, after.round) == (record.id.lane, record.id.round)
                assert lane.itinerary[record.id.hop] == record.site
            hops = [record.id.hop for record in under_way]
            assert sorted(set(hops)) == hops

    def _one_holder_a_lane(self, before: run.RunState, lanes: Lanes) -> None:
        after = lanes.state
        assert bool(lanes.out) == (after.status is Status.RELAYING)
        for was, lane in zip(before.lanes, after.lanes, strict=True):
            assert was.relay.expected.fence <= lane.relay.expected.fence
        issues = [
            each
            for each in lanes.effects
            if isinstance(each, run.IssueTurn) and each.id.lane < EVALUATION
        ]
        assert len({each.id.lane for each in issues}) == len(issues)
        for issue in issues:
            relay = lanes.relay_of(issue.id.lane)
            assert (issue.id, issue.site) == (relay.expected, relay.holder)
            is_fresh = not self.since[relay.lane] and not relay.records
            assert issue.merged == (self.is_merged and is_fresh)
            earlier = self.issued.get(issue.id.lane)
            assert earlier is None or earlier.fence < issue.id.fence
            self.issued[issue.id.lane] = issue.id

    def _is_watched(self, lanes: Lanes) -> None:
        for lane in lanes.out:
            assert lanes.leases[lane].id == lanes.relay_of(lane).expected
        if run.waited_for(lanes.state) is not None:
            assert lanes.waiting is not None or lanes.state.round in [
                each.round for each in lanes.history if isinstance(each, run.WaitOver)
            ]

    def _all_turns_are_accounted_for(self, after: run.RunState) -> None:
        skips = [(skip.round, skip.lane, skip.hop, skip.site) for skip in after.skipped]
        assert set(self.planned) <= {*self.accepted, *skips}
        assert not set(self.accepted) & {
            each for each, skip in zip(skips, after.skipped, strict=True) if skip.reason == LATE
        }
        assert not any(self.since)  # what was accepted is in what the run ends with
        if not after.enough:
            assert after.plan.task.rounds == self.closed


def happens(lanes: Lanes, watch: Watch, event: run.Event | None) -> bool:
    """Something, if there is what it would be about."""
    if event is None:
        return False
    before = lanes.state
    lanes(event)
    watch.see(before, lanes)
    return True


def all_score(lanes: Lanes, watch: Watch) -> None:
    for site in waited_for(lanes):
        happens(lanes, watch, run.TurnFinished(record=score(lanes, site)))


def much_happens(
    names: st.SearchStrategy[str], data: st.DataObject, lanes: Lanes, watch: Watch
) -> None:
    """Anything; all sites score whatever they are to."""
    for name in data.draw(st.lists(names, min_size=STEPS // 4, max_size=STEPS)):
        if lanes.state.status is Status.EVALUATING:
            all_score(lanes, watch)
        else:
            happens(lanes, watch, ALL[name](data, lanes))


def goes_on_to_its_end(data: st.DataObject, lanes: Lanes, watch: Watch) -> None:
    """Sites and controller do what they were asked for, in any order, and nothing else."""
    for site in lanes.state.plan.sites:
        happens(lanes, watch, run.SiteHeard(site=site))
    for _ in range(1000):
        if lanes.state.status in OVER:
            return
        if lanes.state.status is Status.PAUSED:
            happens(lanes, watch, run.ResumeRequested())
            assert Status.PAUSED is not lanes.state.status
        elif lanes.state.status is Status.EVALUATING:
            all_score(lanes, watch)
        else:
            names = data.draw(st.permutations(sorted(GOES_ON)))
            assert any(happens(lanes, watch, GOES_ON[name](data, lanes)) for name in names)
    raise AssertionError(f"still {lanes.state.status} after so many steps: {lanes.state.reason}")


def begun(plan: Plan) -> tuple[Lanes, Watch]:
    lanes = Lanes(plan)
    watch = Watch(lanes)
    watch.see(run.submitted(plan, FIRST), lanes)
    return lanes, watch


@given(plan=plans_with_lanes(), data=st.data())
def test_whatever_happens_lanes_keep_their_promises(plan: Plan, data: st.DataObject) -> None:
    lanes, watch = begun(plan)
    much_happens(
        moves([*MOVES, "fit", "fit", "fit", "fit", "fit", "fit", "fit", "stop"]), data, lanes, watch
    )
    note(f"ends {lanes.state.status}")

    replayed = Lanes(plan)
    for event in lanes.history[1:]:
        replayed(decode(encode(event), EVENTS))
    assert lanes.state == replayed.state


@given(plan=plans_with_lanes(), data=st.data())
def test_a_run_of_lanes_that_gets_what_it_waits_for_ends(plan: Plan, data: st.DataObject) -> None:
    """No silent stall, whatever has happened before."""
    lanes, watch = begun(plan)
    much_happens(
        moves([*MOVES, "fit", "fit", "fit", "fit", "fit", "fit", "fit"]), data, lanes, watch
    )
    goes_on_to_its_end(data, lanes, watch)
    note(f"ends {lanes.state.status}")


@given(plan=plans_with_lanes(on_silent=[OnSilent.RETRY]), data=st.data())
def test_a_run_of_lanes_ends_with_the_weights_of_a_plain_loop(
    plan: Plan, data: st.DataObject
) -> None:
    """However its lanes overtake one another, and whatever goes wrong that is made good."""
    failure = replace(plan.failure, max_attempts=1000, same_twice_ends=False)
    plan = replace(plan, failure=failure, lanes=replace(plan.lanes, wait_s=None))
    lanes, watch = begun(plan)
    much_happens(moves([*MADE_GOOD]), data, lanes, watch)
    goes_on_to_its_end(data, lanes, watch)

    assert Status.FINISHED is lanes.state.status
    assert plain_loop(plan) == [saved.weights for saved in watch.saved]
