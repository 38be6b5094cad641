"""A site under test: its machine, a journal that outlives it, and shorthand for turns."""

from __future__ import annotations

from dataclasses import replace

from support.runs import SITES, weights
from tasuki.core import turn as machine
from tasuki.core.model import CONTROLLER, Kind, Lane, Task, Turn, TurnId, TurnRecord
from tasuki.core.turn import Phase, Progress, SiteState


def turn(
    *,
    run: str = "r",
    lane: int = 0,
    term: int = 1,
    round: int = 0,
    hop: int = 1,
    itinerary: tuple[str, ...] = SITES,
) -> Turn:
    id = TurnId(run=run, lane=lane, term=term, round=round, hop=hop)
    return Turn(id=id, itinerary=itinerary, weights=weights(str(id)), task=Task(trainer="t"))


def evaluation(*, run: str = "r", term: int = 1, round: int = 0) -> Turn:
    """A turn of `b` that evaluates, on its own lane."""
    asked = turn(run=run, lane=2**40, term=term, round=round, hop=0, itinerary=("b",))
    return replace(asked, kind=Kind.EVALUATE)


def result(of: Turn) -> TurnRecord:
    if of.kind is Kind.EVALUATE:
        received = of.weights
        return TurnRecord(
            id=of.id,
            site=of.site,
            received=received.digest,
            sent=received,
            metrics={"accuracy": 0.5},
            samples=9,
            kind=of.kind,
        )
    sent = weights(f"trained {of.id}")
    return TurnRecord(id=of.id, site=of.site, received=of.weights.digest, sent=sent)


class Site:
    """Feeds a turn machine; `effects` are those of the last event.

    `journal` is what is on disk: the newest turn of each lane, as `tasuki_site.journal` keeps it.
    """

    def __init__(self, name: str = "b", *, capacity: int = 1) -> None:
        self.state = SiteState(site=name, capacity=capacity)
        self.effects: tuple[machine.Effect, ...] = ()
        self.journal: dict[Lane, Progress] = {}
        self.fences: dict[Lane, int] = {}

    def __call__(self, event: machine.Event) -> tuple[machine.Effect, ...]:
        self.state, self.effects = machine.step(self.state, event)
        for effect in self.effects:
            self.keep_down(effect)
        return self.effects

    def keep_down(self, effect: machine.Effect) -> None:
        """What this effect leaves on the disk."""
        if isinstance(effect, machine.Journal):
            id = effect.progress.turn.id
            self.journal[id.run, id.lane] = effect.progress
        elif isinstance(effect, machine.JournalFence):
            self.fences[effect.run, effect.lane] = effect.term
        elif isinstance(effect, machine.ForgetLanes):
            self.journal = {lane: it for lane, it in self.journal.items() if lane[0] != effect.run}
            self.fences = {lane: it for lane, it in self.fences.items() if lane[0] != effect.run}

    @property
    def kinds(self) -> list[str]:
        return [type(effect).__name__ for effect in self.effects]

    def take(self, turn: Turn, *, sender: str = CONTROLLER) -> tuple[machine.Effect, ...]:
        return self(machine.TurnArrived(turn=turn, sender=sender))

    def train(self, turn: Turn) -> None:
        self.take(turn)
        self(machine.WeightsReady(id=turn.id))

    def keep(self, turn: Turn) -> TurnRecord:
        self.train(turn)
        self(machine.TrainingFinished(record=result(turn)))
        return result(turn)

    def restart(self) -> tuple[machine.Effect, ...]:
        """What a crash leaves is the journal."""
        rows = sorted(self.journal.values(), key=lambda row: row.phase is not Phase.TRAINED)
        open_ = [row for row in rows if row.phase is not Phase.DONE]
        capacity = self.state.capacity
        self.state = SiteState(
            site=self.state.site,
            capacity=capacity,
            active=tuple(open_[:capacity]),
            waiting=tuple(open_[capacity:]),
            seen={lane: row.turn.id.fence for lane, row in self.journal.items()},
            fenced=dict(self.fences),
        )
        done = tuple(row for row in rows if row.phase is Phase.DONE)
        return self(machine.Restarted(done=done))
