"""Runs as their ledger tells them: replay, submission, verification.

A run's first two rows are its plan and its first weights; every other row is an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import get_args

from tasuki.core import run as machine
from tasuki.core.model import Plan, TurnRecord, WeightsRef
from tasuki.core.report import TurnRefused
from tasuki.core.run import RunState
from tasuki.errors import LedgerBroken, MessageError
from tasuki.ledger.sqlite import Row, SqliteLedger
from tasuki.wire.messages import decode
from tasuki_controller.checkpoints import Anchor, Document, document

EVENTS: tuple[type, ...] = get_args(machine.Event)


def replay(rows: Iterable[Row]) -> RunState | None:
    """The run's state now, or None if it was never wholly submitted."""
    state = None
    for state, _, _ in steps(rows):  # noqa: B007 - the last one is wanted
        pass
    return None if state is None or state.status is machine.Status.SUBMITTED else state


def steps(rows: Iterable[Row]) -> Iterator[tuple[RunState, tuple[machine.Effect, ...], Row]]:
    """Every state that the run went through, with what was to be done and the row that led there.

    Raises:
        LedgerBroken: a row is no event of this version.
    """
    plan: Plan | None = None
    state: RunState | None = None
    for row in rows:
        try:
            if row.seq == 1:
                plan = decode(row.event, Plan)
            elif row.seq == 2 and plan is not None:
                state = machine.submitted(plan, decode(row.event, WeightsRef))
            elif state is not None and not row.outcome:
                event: machine.Event = decode(row.event, EVENTS)
                state, effects = machine.step(state, event)
                yield state, effects, row
        except (MessageError, machine.IllegalEvent) as exc:
            raise LedgerBroken(f"row {row.seq} of {row.run} cannot be replayed: {exc}") from exc


def documents(rows: list[Row]) -> dict[int, Document]:
    """What each checkpoint's JSON must say, by the number of its round; 0 is the start."""
    expected: dict[int, Document] = {}
    for state, effects, row in steps(rows):
        if not expected:
            first = Anchor(seq=rows[1].seq, hash=rows[1].hash)
            expected[0] = document(state.plan, 0, state.base, (), first)
        anchor = Anchor(seq=row.seq, hash=row.hash)
        for effect in effects:
            if isinstance(effect, machine.SaveCheckpoint):
                number = effect.round + 1
                expected[number] = document(
                    state.plan, number, effect.weights, effect.records, anchor
                )
    return expected


def records(rows: Iterable[Row]) -> list[TurnRecord]:
    """Every turn that was accepted and not undone, in its order."""
    closed: list[TurnRecord] = []
    open_round: tuple[TurnRecord, ...] = ()
    for state, effects, _ in steps(rows):
        open_round = state.records
        for effect in effects:
            if isinstance(effect, machine.SaveCheckpoint):
                closed.extend(effect.records)
                open_round = ()
    return [*closed, *(record for record in open_round if record not in closed)]


def failure(rows: Iterable[Row]) -> str | None:
    """The class of the last error that a site reported."""
    failed = [
        state_event
        for state_event in map(decode_event, rows)
        if isinstance(state_event, machine.TurnFailed)
    ]
    return failed[-1].error if failed else None


def decode_event(row: Row) -> object:
    """What a row records."""
    return decode(row.event, (*EVENTS, Plan, WeightsRef, TurnRefused))


def runs(ledger: SqliteLedger) -> dict[str, RunState]:
    """Every run of a ledger, as it stands now."""
    states = ((run, replay(ledger.rows(run))) for run in ledger.runs())
    return {run: state for run, state in states if state is not None}
