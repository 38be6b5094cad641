"""The run machine under whatever may happen, in any order, with junk in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st

from support.runs import FIRST, Relay, moved, weights
from support.strategies import run_plans
from tasuki.core import run
from tasuki.core.model import CONTROLLER, Plan, TurnId, TurnRecord
from tasuki.core.report import Stage
from tasuki.core.run import OVER, Status
from tasuki.wire.messages import decode, encode

NEAR = st.integers(0, 4)
WHO = st.sampled_from(["a", "b", "c", "d", "stranger", CONTROLLER])
STEPS = 40
EVENTS: tuple[type[run.Event], ...] = get_args(run.Event)

Move = Callable[[st.DataObject, Relay], run.Event]


def some_record(data: st.DataObject, relay: Relay) -> TurnRecord:
    """What a site that is honest and on time would say next."""
    if relay.state.lanes[0].relay.holder is None:
        sent = weights("junk")
        return TurnRecord(
            id=relay.state.lanes[0].relay.expected, site="a", received=FIRST.digest, sent=sent
        )
    ahead = data.draw(
        st.integers(
            0, len(relay.state.lanes[0].relay.itinerary) - relay.state.lanes[0].relay.hop - 1
        )
    )
    return relay.record(ahead=data.draw(st.sampled_from([0, 0, ahead])))


def spoiled(data: st.DataObject, relay: Relay) -> run.Event:
    """A result that is wrong somewhere: late, of another lane, site, chain or run."""
    record = some_record(data, relay)
    part = data.draw(st.sampled_from(["run", "lane", "term", "round", "hop", "site", "received"]))
    if part == "site":
        return run.TurnFinished(record=replace(record, site=data.draw(WHO)))
    if part == "received":
        return run.TurnFinished(record=replace(record, received=weights("junk").digest))
    if part == "run":
        return run.TurnFinished(record=replace(record, id=replace(record.id, run="other")))
    id = moved(record.id, **{part: data.draw(NEAR)})
    return run.TurnFinished(record=replace(record, id=id))


def said_before(data: st.DataObject, relay: Relay) -> run.Event:
    return data.draw(st.sampled_from(relay.history[1:] or [run.RelayLost()]))


def some_id(data: st.DataObject, relay: Relay) -> TurnId:
    near = replace(relay.state.lanes[0].relay.expected, term=data.draw(NEAR), hop=data.draw(NEAR))
    return data.draw(
        st.sampled_from(
            [relay.state.lanes[0].relay.expected, relay.state.lanes[0].relay.expected, near]
        )
    )


def some_site(data: st.DataObject, relay: Relay) -> str:
    return relay.state.lanes[0].relay.holder or data.draw(WHO)


MOVES: dict[str, Move] = {
    "finish": lambda data, relay: run.TurnFinished(record=some_record(data, relay)),
    "finish soon": lambda data, relay: run.TurnFinished(record=some_record(data, relay)),
    "arrive": lambda _, relay: run.WeightsArrived(weights=relay.state.weights),
    "arrive soon": lambda _, relay: run.WeightsArrived(weights=relay.state.weights),
    "spoil": spoiled,
    "repeat": said_before,
    "expire": lambda data, relay: run.LeaseExpired(
        id=some_id(data, relay), phase=data.draw(st.sampled_from(["", *Stage, "other"]))
    ),
    "fail": lambda data, relay: run.TurnFailed(
        id=some_id(data, relay),
        site=some_site(data, relay),
        error=data.draw(st.sampled_from(["TrainerRaised", "TrainerDied", "TrainerOverdue"])),
    ),
    "return": lambda data, relay: run.TurnReturned(
        id=some_id(data, relay), site=some_site(data, relay)
    ),
    "hear": lambda data, _: run.SiteHeard(site=data.draw(WHO)),
    "forget": lambda data, relay: run.SiteForgot(site=some_site(data, relay)),
    "add": lambda data, _: run.SiteAdded(site=data.draw(st.sampled_from("abcde"))),
    "lose": lambda _, relay: run.WeightsLost(weights=relay.state.weights),
    "lose others": lambda _, __: run.WeightsLost(weights=weights("junk")),
    "empty": lambda _, __: run.RelayLost(),
    "pause": lambda _, __: run.PauseRequested(),
    "resume": lambda _, __: run.ResumeRequested(),
}
ANY_MOVE: dict[str, Move] = {
    **MOVES,
    "stop": lambda _, __: run.StopRequested(),
    "extend": lambda data, relay: run.RoundsAdded(
        rounds=max(0, relay.state.plan.task.rounds + data.draw(st.integers(-1, 1)))
    ),
    "remove": lambda _, __: run.RunRemoved(),
}
COMMON = ("finish", "finish soon", "arrive", "arrive soon", "spoil")


def moves() -> st.SearchStrategy[str]:
    often = st.sampled_from(COMMON)
    return st.one_of(often, often, often, st.sampled_from([*ANY_MOVE]))


class Watch:
    """Looks at every step of a run and says what must never be seen."""

    def __init__(self) -> None:
        self.issued: list[TurnId] = []
        self.saved: list[run.SaveCheckpoint] = []

    def see(self, before: run.RunState, relay: Relay) -> None:
        after = relay.state
        self._fence_only_grows(before, after)
        self._one_holder(relay)
        self._one_chain(after)
        self._one_checkpoint_a_round(before, relay)
        self._drops_change_nothing(before, relay)
        if before.status in OVER and not self._is_begun_again(relay):
            assert before == replace(after, removed=before.removed)
        if before.removed:
            assert before == after
        rounds = after.plan.task.rounds
        if rounds == len(self.saved) and before.plan.task.rounds <= rounds:
            assert Status.FINISHED is after.status
        if after.status is Status.FINISHED:
            assert rounds == len(self.saved)
            trained = {record.site for saved in self.saved for record in saved.records}
            skipped = {skip.site for skip in after.skipped}
            assert skipped - trained == set(after.left_out)
        for effect in relay.effects:
            assert effect == decode(encode(effect), type(effect))

    def _is_begun_again(self, relay: Relay) -> bool:
        return isinstance(relay.history[-1], run.RoundsAdded)

    def _fence_only_grows(self, before: run.RunState, after: run.RunState) -> None:
        assert before.lanes[0].relay.expected.fence <= after.lanes[0].relay.expected.fence
        assert before.lanes[0].relay.term <= after.lanes[0].relay.term

    def _one_holder(self, relay: Relay) -> None:
        after = relay.state
        assert (after.lanes[0].relay.holder is not None) == (after.status is Status.RELAYING)
        issues = [each for each in relay.effects if isinstance(each, run.IssueTurn)]
        assert len(issues) <= 1
        for issue in issues:
            assert (after.lanes[0].relay.expected, after.lanes[0].relay.holder) == (
                issue.id,
                issue.site,
            )
            assert all(issue.id.fence > earlier.fence for earlier in self.issued)
            self.issued.append(issue.id)
        leases = [each for each in relay.effects if isinstance(each, run.StartLease)]
        assert all(lease.id == after.lanes[0].relay.expected for lease in leases)
        assert len(leases) <= 1

    def _one_chain(self, after: run.RunState) -> None:
        chain = [after.lanes[0].relay.base, *(record.sent for record in after.records)]
        assert [ref.digest for ref in chain[:-1]] == [record.received for record in after.records]
        assert chain[-1] == after.weights
        hops = [record.id.hop for record in after.records]
        assert sorted(set(hops)) == hops
        for record in after.records:
            assert after.round == record.id.round
            assert after.lanes[0].relay.itinerary[record.id.hop] == record.site

    def _one_checkpoint_a_round(self, before: run.RunState, relay: Relay) -> None:
        for saved in relay.effects:
            if isinstance(saved, run.SaveCheckpoint):
                assert len(self.saved) == saved.round
                assert (before.weights, before.records) == (saved.weights, saved.records)
                earlier = self.saved[-1].weights if self.saved else FIRST
                assert before.lanes[0].relay.base == earlier
                accepted = [record.id.hop for record in saved.records]
                skips = [skip for skip in before.skipped if skip.round == saved.round]
                # A site that was silent when the round was planned is skipped and not in it.
                passed = [
                    skip.hop for skip in skips if skip.site in before.lanes[0].relay.itinerary
                ]
                assert list(range(len(before.lanes[0].relay.itinerary))) == sorted(
                    accepted + passed
                )
                self.saved.append(saved)

    def _drops_change_nothing(self, before: run.RunState, relay: Relay) -> None:
        if any(isinstance(effect, run.Drop) for effect in relay.effects):
            assert 1 == len(relay.effects)
            assert before == relay.state


@given(plan=run_plans(), data=st.data())
def test_whatever_happens_a_run_keeps_its_promises(plan: Plan, data: st.DataObject) -> None:
    relay, watch = Relay(plan), Watch()
    watch.see(run.submitted(plan, FIRST), relay)
    for move in data.draw(st.lists(moves(), min_size=STEPS // 4, max_size=STEPS)):
        before = relay.state
        relay(ANY_MOVE[move](data, relay))
        watch.see(before, relay)
    note(f"ends {relay.state.status}")

    replayed = Relay(plan)
    for event in relay.history[1:]:
        replayed(decode(encode(event), EVENTS))
    assert relay.state == replayed.state


@given(plan=run_plans(), data=st.data())
def test_a_run_in_any_state_can_still_reach_its_end(plan: Plan, data: st.DataObject) -> None:
    """No silent stall: once nothing goes wrong any more, the run goes on until it is over."""
    relay = Relay(plan)
    for move in data.draw(st.lists(moves(), max_size=STEPS // 2)):
        relay(MOVES[move](data, relay) if move in MOVES else run.RelayLost())

    for site in plan.sites:
        relay(run.SiteHeard(site=site))
    if relay.state.status is Status.PAUSED:
        relay(run.ResumeRequested())
    for _ in range(plan.task.rounds):
        if relay.state.status not in OVER:
            relay(run.ResumeRequested())
            relay.finish_round()
    assert relay.state.status in {Status.FINISHED, Status.FAILED}


@given(plan=run_plans(), data=st.data())
def test_something_always_watches_over_a_turn_that_is_out(plan: Plan, data: st.DataObject) -> None:
    """A lease runs for the expected turn whenever a turn is out, unless it is waited for."""
    relay = Relay(plan)
    lease: TurnId | None = None
    for move in ["", *data.draw(st.lists(moves(), min_size=STEPS // 4, max_size=STEPS))]:
        if move in MOVES:
            relay(MOVES[move](data, relay))
        for effect in relay.effects:
            if isinstance(effect, run.StartLease):
                lease = effect.id
            if isinstance(effect, run.EndLease):
                lease = None
        if relay.state.lanes[0].relay.holder is not None:
            assert lease == relay.state.lanes[0].relay.expected
