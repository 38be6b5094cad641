"""A run under test: the state, what it last asked for, and shorthand for what sites say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

from blake3 import blake3

from tasuki.core import run
from tasuki.core.model import Failure, OnSilent, Plan, Task, TurnId, TurnRecord, WeightsRef

SITES = ("a", "b", "c")
E = TypeVar("E")


def weights(label: str) -> WeightsRef:
    """Weights that differ if their labels do."""
    return WeightsRef(digest=f"blake3:{blake3(label.encode()).hexdigest()}", size=len(label) + 1)


def moved(id: TurnId, **parts: Any) -> TurnId:  # Any: of each part's own type
    """The same identity but for these parts."""
    return replace(id, **parts)


FIRST = weights("first")


def plan(
    *,
    sites: tuple[str, ...] = SITES,
    rounds: int = 2,
    on_silent: OnSilent = OnSilent.RETRY,
    min_sites: int = 2,
    max_attempts: int = 3,
    order: str | tuple[str, ...] = "fixed",
) -> Plan:
    failure = Failure(
        on_silent=on_silent, min_sites=min_sites, max_attempts=max_attempts, same_twice_ends=True
    )
    task = Task(trainer="t", rounds=rounds)
    return Plan(run="r", sites=sites, order=order, task=task, failure=failure)


class Relay:
    """Feeds a run machine; `effects` are those of the last event, `history` all events."""

    def __init__(self, of: Plan | None = None) -> None:
        self.plan = of or plan()
        self.state = run.submitted(self.plan, FIRST)
        self.effects: tuple[run.Effect, ...] = ()
        self.history: list[run.Event] = []
        self(run.RunSubmitted())

    def __call__(self, event: run.Event) -> tuple[run.Effect, ...]:
        self.state, self.effects = run.step(self.state, event)
        self.history.append(event)
        return self.effects

    def only(self, kind: type[E]) -> E:
        """The one effect of a kind."""
        (effect,) = [effect for effect in self.effects if isinstance(effect, kind)]
        return effect

    @property
    def kinds(self) -> list[str]:
        return [type(effect).__name__ for effect in self.effects]

    def record(self, *, ahead: int = 0, received: str | None = None) -> TurnRecord:
        """What the holder, or a site behind it, would report if all goes well."""
        id = replace(self.state.lanes[0].relay.expected, hop=self.state.lanes[0].relay.hop + ahead)
        before = self.state.weights if not ahead else sent(replace(id, hop=id.hop - 1))
        return TurnRecord(
            id=id,
            site=self.state.lanes[0].relay.itinerary[id.hop],
            received=received or before.digest,
            sent=sent(id),
            metrics={"accuracy": 0.5},
            samples=10,
            seconds=1.5,
        )

    def finish_turn(self) -> TurnRecord:
        record = self.record()
        self(run.TurnFinished(record=record))
        return record

    def finish_round(self) -> None:
        number = self.state.round
        while self.state.lanes[0].relay.holder is not None and self.state.round == number:
            self.finish_turn()
        self(run.WeightsArrived(weights=self.state.weights))

    def expire(self, phase: str = "") -> None:
        self(run.LeaseExpired(id=self.state.lanes[0].relay.expected, phase=phase))

    def fail(self, detail: str = "boom", *, error: str = "TrainerRaised") -> None:
        assert self.state.lanes[0].relay.holder is not None
        id, site = self.state.lanes[0].relay.expected, self.state.lanes[0].relay.holder
        self(run.TurnFailed(id=id, site=site, error=error, detail=detail))


def sent(id: TurnId) -> WeightsRef:
    """What training this turn gives."""
    return weights(str(id))


def drops(relay: Relay, event: run.Event, reason: str) -> None:
    """This event changes nothing and the machine says why."""
    before = relay.state
    assert (run.Drop(reason=reason),) == relay(event)
    assert before == relay.state


def turn(
    site: str = "a",
    *,
    round: int = 0,
    hop: int = 0,
    lane: int = 0,
    samples: int = 10,
    named: Mapping[str, float] = MappingProxyType({}),
    **metrics: float,
) -> TurnRecord:
    """A turn that was accepted. `named`: metrics whose names no argument can have."""
    record = Relay().record()
    id = replace(record.id, lane=lane, round=round, hop=hop)
    return replace(record, id=id, site=site, samples=samples, metrics={**named, **metrics})
