"""Draws the three machines of the core by running them.

    python docs/make_state_diagrams.py [--check]

Every state that a small federation can reach is given every event that can happen in it, and what
the machines answer is written into `protocol.md`. Nothing here knows what they should answer.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasuki.core import relay, run, turn
from tasuki.core.model import (
    CONTROLLER,
    EvaluatePolicy,
    Failure,
    Kind,
    LanesPolicy,
    OnSilent,
    Plan,
    StopPolicy,
    Task,
    Turn,
    TurnId,
    TurnRecord,
    WeightsRef,
)

PAGE = Path(__file__).with_name("protocol.md")
SITES = ("site-1", "site-2", "site-3")
ROUNDS = 2
MAX_ATTEMPTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One arrow: what a machine did with an event that it did not drop."""

    origin: str
    event: str
    target: str
    effects: tuple[str, ...]


# All machines are explored alike: states that differ only in names and counters are one.

Machine = Callable[[Any, Any], tuple[Any, tuple[Any, ...]]]  # Any: the states of each machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """How to walk through a machine's states."""

    step: Machine
    illegal: type[Exception]
    node: Callable[[Any], str]
    key: Callable[[Any], object]
    events: Callable[[Any], Iterable[Any]]
    before: Callable[[Any, Any], Any] = lambda state, _: state

    def moves(self, starts: Iterable[Any]) -> set[Move]:
        """Every arrow that can be reached from these states."""
        found: set[Move] = set()
        ahead = list(starts)
        known = {self.key(state) for state in ahead}
        while ahead:
            state = ahead.pop()
            for event in self.events(state):
                try:
                    after, effects = self.step(self.before(state, event), event)
                except self.illegal:
                    continue
                names = tuple(type(effect).__name__ for effect in effects)
                if after == state and set(names) <= {"Drop", "Settle"}:
                    continue
                found.add(
                    Move(
                        origin=self.node(state),
                        event=type(event).__name__,
                        target=self.node(after),
                        effects=tuple(dict.fromkeys(names)),
                    )
                )
                if self.key(after) not in known:
                    known.add(self.key(after))
                    ahead.append(after)
        return found


# The relay machine.


def _relay_starts() -> Iterator[relay.RelayState]:
    for policy in OnSilent:
        failure = Failure(on_silent=policy, max_attempts=MAX_ATTEMPTS)
        first = _weights("first")
        yield relay.RelayState(run="run", failure=failure, weights=first, base=first)


def _relay_key(state: relay.RelayState) -> object:
    return (
        state.failure,
        state.phase,
        state.round,
        state.hop,
        state.itinerary,
        state.at,
        state.weights == state.base,
        min(max(state.attempts, 0), MAX_ATTEMPTS),
        state.waits,
        state.losses,
        len(state.early),
    )


def _relay_events(state: relay.RelayState) -> Iterator[relay.Event]:
    if not state.itinerary:
        yield relay.RoundPlanned(itinerary=SITES)
    else:
        yield relay.GoneOn(absent=frozenset())
    yield relay.PassedOver(absent=frozenset())
    yield relay.PassedOver(absent=frozenset(SITES))
    yield relay.TakenBack()
    yield relay.WeightsLost(weights=state.weights)
    yield relay.RelayLost()
    for site in SITES:
        yield relay.SiteHeard(site=site)
        yield relay.SiteForgot(site=site)
    yield from _turn_ends(state)


def _turn_ends(
    state: relay.RelayState,
) -> Iterator[relay.TurnFinished | relay.TurnFailed | relay.TurnReturned | relay.LeaseExpired]:
    """How the turn that is out can end, and that the one behind it is heard of before."""
    if state.hop >= len(state.itinerary):
        return
    id, site = state.expected, state.itinerary[state.hop]
    record = _record(id, site, state.weights)
    if state.kind is Kind.EVALUATE:
        record = replace(record, kind=state.kind, sent=state.weights)
    yield relay.TurnFinished(record=record)
    yield relay.TurnFailed(id=id, site=site, error="TrainerRaised")
    yield relay.TurnReturned(id=id, site=site)
    yield relay.LeaseExpired(id=id)
    if state.hop + 1 < len(state.itinerary):
        later = replace(id, hop=id.hop + 1)
        following = _record(later, state.itinerary[state.hop + 1], record.sent)
        yield relay.TurnFinished(record=following)


RELAY = Exploration(
    step=relay.step,
    illegal=relay.IllegalEvent,
    node=lambda state: state.phase.value,
    key=_relay_key,
    events=_relay_events,
)


# The run machine.


def _run_starts() -> Iterator[run.RunState]:
    for policy in OnSilent:
        # Whoever skips nobody has all sites in each round.
        for min_sites in (1, len(SITES)) if policy is OnSilent.SKIP else (1,):
            plan = Plan(
                run="run",
                sites=SITES,
                task=Task(trainer="trainer", rounds=ROUNDS),
                failure=Failure(on_silent=policy, max_attempts=MAX_ATTEMPTS, min_sites=min_sites),
            )
            yield run.submitted(plan, _weights("first"))
    # What else can be so is not repeated with all of these.
    failure = Failure(on_silent=OnSilent.FAIL, max_attempts=1, min_sites=1)
    task, judged = Task(trainer="trainer", rounds=ROUNDS), EvaluatePolicy(every_n_rounds=1)
    stop = StopPolicy(hours=1.0)
    one = SITES[:1]
    plan = Plan(
        run="run", sites=one, order=one, task=task, failure=failure, evaluate=judged, stop=stop
    )
    yield run.submitted(plan, _weights("first"))
    # Two lanes of a turn each: some are passed over or late, of others the weights are lost.
    two = SITES[:2]
    failure = Failure(on_silent=OnSilent.SKIP, max_attempts=1, min_sites=2)
    lanes = LanesPolicy(count=2, every_n_rounds=ROUNDS, wait_s=60.0)
    plan = Plan(run="run", sites=two, task=task, failure=failure, lanes=lanes, stop=stop)
    yield run.submitted(plan, _weights("first"))
    failure = Failure(on_silent=OnSilent.FAIL, max_attempts=MAX_ATTEMPTS)
    plan = Plan(run="run", sites=two, task=task, failure=failure, lanes=LanesPolicy(count=2))
    yield run.submitted(plan, _weights("first"))


def _run_key(state: run.RunState) -> object:
    return (
        state.plan.failure,
        () if state.has_lanes else state.plan.sites,  # one more site makes no other lane
        state.status,
        tuple(_lane_key(lane) for lane in state.lanes),
        tuple(sorted(state.silent)),
        state.pausing,
        state.unattended,
        state.removed,
        state.evaluation and len(state.evaluation.relays),
        len(state.asked),
        state.enough,
    )


def _lane_key(lane: run.LaneState) -> object:
    # To be merged is to be at the end of every other round.
    relay = replace(lane.relay, round=lane.relay.round % ROUNDS)
    return (_relay_key(relay), lane.is_here, lane.is_late, bool(lane.turns))


def _run_events(state: run.RunState) -> Iterator[run.Event]:
    yield run.RunSubmitted()
    for number, lane in enumerate(state.lanes):
        yield run.WeightsArrived(weights=lane.relay.weights, lane=number)
        yield run.WeightsLost(weights=lane.relay.weights, lane=number)
        yield from _turn_ends(lane.relay)
    yield run.RelayLost()
    yield run.PauseRequested()
    yield run.ResumeRequested()
    yield run.StopRequested()
    for site in SITES:
        yield run.SiteHeard(site=site)
        yield run.SiteForgot(site=site)
    yield run.SiteAdded(site="late")
    yield run.RoundsAdded(rounds=ROUNDS + 1)
    yield run.RunRemoved()
    if state.has_lanes:
        yield run.WeightsMerged(done=state.done, weights=_weights("merged"))
        yield run.MergeFailed(done=state.done, cause="they are of two models")
        yield run.WaitOver(round=state.round)
    if state.plan.stop is not None:
        yield run.TimeUp()
    if state.plan.evaluate is not None:
        if state.evaluation is None:
            yield run.EvaluationRequested(weights=state.weights, after=None)
        else:
            yield from _turn_ends(next(iter(state.evaluation.relays.values())))


RUN = Exploration(
    step=run.step,
    illegal=run.IllegalEvent,
    node=lambda state: state.status.value,
    key=_run_key,
    events=_run_events,
)


# The turn machine.

IDLE = "idle"


def _turn_node(state: turn.SiteState) -> str:
    return IDLE if state.current is None else state.current.phase.value


def _turn_key(state: turn.SiteState) -> object:
    kind = state.current and state.current.turn.kind
    return (_turn_node(state), kind, len(state.waiting), state.draining)


def _turn_events(state: turn.SiteState) -> Iterator[turn.Event]:
    lanes = {lane: fence[0] for lane, fence in state.seen.items()}
    for name, kind in (("a", Kind.TRAIN), ("b", Kind.TRAIN), ("c", Kind.EVALUATE)):
        term = max(lanes.get((name, 0), 0), state.fenced.get((name, 0), 0)) + 1
        yield turn.TurnArrived(turn=_turn(name, term, kind), sender=CONTROLLER)
        yield turn.TermRaised(run=name, lane=0, term=term)
        yield turn.RunOver(run=name)
        yield turn.RunBegan(run=name)
    yield turn.Restarted()
    yield turn.DrainRequested()
    if state.current is not None:
        held = state.current.turn
        yield turn.WeightsReady(id=held.id)
        yield turn.TrainingFinished(record=_record(held.id, held.site, held.weights))
        yield turn.TrainingFailed(id=held.id, error="TrainerRaised", detail="")
        yield turn.HandedOver(id=held.id)


def _as_journaled(state: turn.SiteState, event: object) -> turn.SiteState:
    """What a restart finds: training is never written down, nor is a wish to drain."""
    if not isinstance(event, turn.Restarted):
        return state
    active = tuple(
        replace(held, phase=turn.Phase.TAKEN) if held.phase is turn.Phase.TRAINING else held
        for held in state.active
    )
    return replace(state, active=active, draining=False)


TURN = Exploration(
    step=turn.step,
    illegal=turn.IllegalEvent,
    node=_turn_node,
    key=_turn_key,
    events=_turn_events,
    before=_as_journaled,
)


# Small values of the right kind.


def _weights(name: str) -> WeightsRef:
    return WeightsRef(digest=f"blake3:{name.encode().hex():0>64}"[:71], size=1)


def _record(id: TurnId, site: str, received: WeightsRef) -> TurnRecord:
    sent = _weights(f"{id.lane}-{id.round}-{id.hop}")
    return TurnRecord(id=id, site=site, received=received.digest, sent=sent)


def _turn(name: str, term: int, kind: Kind) -> Turn:
    return Turn(
        id=TurnId(run=name, term=term, round=0, hop=0),
        itinerary=("site-1", "site-2") if kind is Kind.TRAIN else ("site-1",),
        kind=kind,
        weights=_weights("first"),
        task=Task(trainer="trainer"),
    )


# Drawing.


def diagram(moves: set[Move], *, start: str, ends: tuple[str, ...]) -> str:
    """A picture for where states change, and a table of all that happens."""
    arrows: dict[tuple[str, str], set[str]] = {}
    for move in moves:
        if move.origin != move.target:
            arrows.setdefault((move.origin, move.target), set()).add(move.event)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start}"]
    for (origin, target), events in sorted(arrows.items()):
        lines.append(f"    {origin} --> {target}: {', '.join(sorted(events))}")
    lines += [f"    {end} --> [*]" for end in ends]
    return "\n".join([*lines, "```", "", *_table(moves)])


def _table(moves: set[Move]) -> Iterator[str]:
    yield "| in state | on event | goes to | may call for |"
    yield "|---|---|---|---|"
    cells: dict[tuple[str, str], tuple[set[str], dict[str, None]]] = {}
    for move in sorted(moves, key=lambda move: (move.origin, move.event, move.target)):
        targets, effects = cells.setdefault((move.origin, move.event), (set(), {}))
        targets.add(move.target)
        effects.update(dict.fromkeys(move.effects))
    for (origin, event), (targets, effects) in cells.items():
        called = ", ".join(sorted(effects)) or "nothing"
        yield f"| {origin} | {event} | {', '.join(sorted(targets))} | {called} |"


def drawn(page: str) -> str:
    """The page with the machines as they are now."""
    over = tuple(sorted(status.value for status in run.OVER))
    run_machine = diagram(RUN.moves(_run_starts()), start=run.Status.SUBMITTED.value, ends=over)
    turn_machine = diagram(TURN.moves([turn.SiteState(site="site-1")]), start=IDLE, ends=())
    resting = relay.Phase.RESTING.value
    relay_machine = diagram(RELAY.moves(_relay_starts()), start=resting, ends=())
    page = _between(page, "run", run_machine)
    return _between(_between(page, "relay", relay_machine), "turn", turn_machine)


def _between(page: str, name: str, content: str) -> str:
    begin, end = f"<!-- begin {name} machine -->", f"<!-- end {name} machine -->"
    found = re.search(f"{begin}.*?{end}", page, re.DOTALL)
    if found is None:
        raise SystemExit(f"{PAGE.name} has no place for the {name} machine: {begin} ... {end}")
    return f"{page[: found.start()]}{begin}\n{content}\n{end}{page[found.end() :]}"


def main(arguments: list[str]) -> int:
    page = PAGE.read_text()
    current = drawn(page)
    if "--check" not in arguments:
        PAGE.write_text(current)
        return 0
    if page == current:
        return 0
    sys.stderr.write(f"{PAGE.name} is out of date: run python docs/make_state_diagrams.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
