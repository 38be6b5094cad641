"""The turn machine under whatever may arrive, with crashes in between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from support.sites import Site, evaluation, result, turn
from tasuki.core import turn as machine
from tasuki.core.model import CONTROLLER, Kind, Lane, Turn, TurnId
from tasuki.core.turn import Phase

SMALL = st.integers(0, 3)
RUNS = st.sampled_from(["r", "s"])
TRAININGS = st.builds(
    turn,
    run=RUNS,
    lane=st.integers(0, 1),
    term=SMALL,
    round=SMALL,
    hop=st.sampled_from([0, 1, 2, 2, 3]),
    itinerary=st.sampled_from([("b", "a", "b", "b"), ("a", "b", "b", "c"), ("c", "a", "b", "b")]),
)
EVALUATIONS = st.builds(evaluation, run=RUNS, term=SMALL, round=SMALL)
TURNS = TRAININGS | EVALUATIONS
LANES = st.sampled_from([0, 1, evaluation().id.lane])
SENDERS = st.sampled_from([CONTROLLER, CONTROLLER, CONTROLLER, "a", "b", "stranger"])
MOVES = ["ready", "finish", "confirm", "fail", "fence", "over", "begin", "drain", "crash"]
Event = machine.Event | None  # None: a crash


def mostly_current(data: st.DataObject, site: Site) -> Turn:
    """A turn under way here, and now and then another."""
    others = data.draw(TURNS)
    under_way = [held.turn for held in site.state.active] * 4
    return data.draw(st.sampled_from([*under_way, others]))


def event(data: st.DataObject, site: Site, move: str) -> Event:
    about = mostly_current(data, site)
    match move:
        case "arrive":
            return machine.TurnArrived(turn=data.draw(TURNS), sender=data.draw(SENDERS))
        case "ready":
            return machine.WeightsReady(id=about.id)
        case "finish":
            return machine.TrainingFinished(record=result(about))
        case "confirm":
            return machine.HandedOver(id=about.id)
        case "fail":
            return machine.TrainingFailed(id=about.id, error="TrainerRaised", detail="")
        case "fence":
            return machine.TermRaised(
                run=data.draw(RUNS), lane=data.draw(LANES), term=data.draw(SMALL)
            )
        case "over":
            return machine.RunOver(run=data.draw(RUNS))
        case "begin":
            return machine.RunBegan(run=data.draw(RUNS))
        case "drain":
            return machine.DrainRequested()
    return None


class Watch:
    """Looks at every step of a site and says what must never be seen."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.taken: dict[Lane, TurnId] = {}
        self.valid: dict[Lane, int] = {}  # of this life; a fence is not journaled
        self.trainers: set[TurnId] = set()
        self.hand_overs: set[TurnId] = set()

    def see(self, what: Event) -> None:
        effects = self.site.effects
        settled = sum(isinstance(effect, machine.Settle) for effect in effects)
        comes_by_message = isinstance(
            what, machine.TurnArrived | machine.TermRaised | machine.RunOver
        )
        assert settled == (1 if comes_by_message else 0)
        if isinstance(what, machine.TurnArrived):
            self._journaled_first(what.turn)
        if isinstance(what, machine.TermRaised):
            lane = (what.run, what.lane)
            self.valid[lane] = max(self.valid.get(lane, 0), what.term)
        if isinstance(what, machine.RunOver):
            assert what.run not in {held.turn.id.run for held in self.site.state.held}
        if isinstance(what, machine.RunBegan):
            self._begins(what.run)
        if what is None:
            self.trainers, self.hand_overs, self.valid = set(), set(), {}
        for at, effect in enumerate(effects):
            self._look_at(effect, effects[:at])
        self._one_turn_a_lane()
        if isinstance(what, machine.HandedOver):
            self.hand_overs.discard(what.id)
        trained = {h.turn.id for h in self.site.state.active if h.phase is Phase.TRAINED}
        assert trained == self.hand_overs, "nothing else is being sent, and nothing waits for that"

    def _begins(self, run: str) -> None:
        """Whatever it had before it, a run begins anew."""
        assert run not in {lane[0] for lane in (*self.site.state.seen, *self.site.state.fenced)}
        assert run not in {held.turn.id.run for held in self.site.state.held}
        for known in (self.taken, self.valid):
            for lane in [lane for lane in known if lane[0] == run]:
                del known[lane]

    def _journaled_first(self, turn: Turn) -> None:
        """A turn is either on disk when its message goes, or dropped with a reason."""
        effects = self.site.effects
        before = effects[: effects.index(machine.Settle())]
        journaled = any(
            isinstance(effect, machine.Journal) and effect.progress.turn == turn
            for effect in before
        )
        dropped = [each for each in before if isinstance(each, machine.Drop) and each.id == turn.id]
        assert journaled != bool(dropped)
        assert all(drop.reason for drop in dropped)
        if journaled:
            lane = (turn.id.run, turn.id.lane)
            assert lane not in self.taken or turn.id.fence > self.taken[lane].fence
            assert turn.id.term >= self.valid.get(lane, 0)
            assert turn.site == self.site.state.site
            self.taken[lane] = turn.id

    def _look_at(self, effect: machine.Effect, before: tuple[machine.Effect, ...]) -> None:
        match effect:
            case machine.StartTrainer(turn=turn):
                self._is_valid(turn.id)
                self.trainers.add(turn.id)
                assert len(self.trainers) <= self.site.state.capacity
            case machine.AbortTrainer(id=id):
                self.trainers.discard(id)
            case machine.AbortHandOver(turn=turn):
                self.hand_overs.remove(turn.id)
            case machine.HandOver(turn=turn, record=record):
                self._is_valid(turn.id)
                row = self.site.journal[turn.id.run, turn.id.lane]
                assert (turn, Phase.TRAINED, record) == (row.turn, row.phase, row.record)
                assert turn.kind is Kind.TRAIN, "an evaluation hands nothing on"
                self.trainers.discard(turn.id)
                self.hand_overs.add(turn.id)
            case machine.ReportFinished(turn=turn):
                row = self.site.journal[turn.id.run, turn.id.lane]
                assert (turn, Phase.DONE) == (row.turn, row.phase)
                self.trainers.discard(turn.id)
            case machine.ReportFailed() | machine.GiveBack():
                assert any(isinstance(earlier, machine.Journal) for earlier in before)
                self.trainers.discard(effect.id)
                self.hand_overs.discard(effect.id)
            case machine.Idle():
                assert () == self.site.state.active == self.site.state.waiting

    def _is_valid(self, id: TurnId) -> None:
        lane = (id.run, id.lane)
        assert id == self.taken[lane]
        assert id.term >= self.valid.get(lane, 0)

    def _one_turn_a_lane(self) -> None:
        state = self.site.state
        held = [*state.active, *state.waiting]
        lanes = [(each.turn.id.run, each.turn.id.lane) for each in held]
        assert len(set(lanes)) == len(lanes)
        assert len(state.active) <= state.capacity
        assert not (state.waiting and len(state.active) < state.capacity)
        assert not (state.waiting and state.draining)
        for lane, seen in state.seen.items():
            assert self.taken[lane].fence == seen


def illegal(site: Site, what: Event) -> bool:
    """A result that no trainer of ours can have made: the service never says this."""
    if not isinstance(what, machine.TrainingFinished):
        return False
    held = site.state.under_way(what.record.id)
    return held is not None and held.phase is not Phase.TRAINING


@given(
    moves=st.lists(st.one_of(st.just("arrive"), st.sampled_from(MOVES)), min_size=10, max_size=40),
    capacity=st.integers(1, 3),
    data=st.data(),
)
def test_whatever_arrives_a_site_keeps_its_promises(
    moves: list[str], capacity: int, data: st.DataObject
) -> None:
    site = Site(capacity=capacity)
    watch = Watch(site)
    for move in moves:
        what = event(data, site, move)
        if illegal(site, what):
            continue
        before = site.state
        if what is None:
            site.restart()
        else:
            site(what)
            assert (site.state, site.effects) == machine.step(before, what)
        watch.see(what)


@given(
    moves=st.lists(st.one_of(st.just("arrive"), st.sampled_from(MOVES)), max_size=20),
    capacity=st.integers(1, 3),
    data=st.data(),
)
def test_a_draining_site_always_comes_to_its_end(
    moves: list[str], capacity: int, data: st.DataObject
) -> None:
    site = Site(capacity=capacity)
    ended = False
    for move in [*moves, "drain"]:
        what = event(data, site, move)
        if what is None or illegal(site, what):
            continue
        was_draining = site.state.draining
        site(what)
        ended = (ended and was_draining) or machine.Idle() in site.effects
        if site.state.draining:
            assert ended == (not site.state.active)
