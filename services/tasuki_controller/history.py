"""Runs as their ledger tells them: replay, submission, verification.

A run's first two rows are its plan and its first weights; every other row is an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import get_args

from tasuki.core import run as machine
from tasuki.core.model import EVALUATION, Plan, TurnRecord, WeightsRef
from tasuki.core.report import TurnRefused
from tasuki.core.run import Evaluation, RunState
from tasuki.errors import LedgerBroken, MessageError
from tasuki.ledger.sqlite import Row, SqliteLedger
from tasuki.wire.messages import decode
from tasuki_controller.checkpoints import Anchor, Document, document, first

EVENTS: tuple[type, ...] = get_args(machine.Event)
_FIRST_ROWS = (Plan, WeightsRef)


def replay(rows: Iterable[Row]) -> RunState | None:
    """The run's state now, or None if it was never wholly submitted."""
    return state_after(steps(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A row with what it led to.

    Attributes:
        event: what the row records; of its first two: its plan and its first weights.
        before, after: the run's state; None as long as it has no weights.
        effects: what was to be done; nothing for a row that changed nothing.
    """

    row: Row
    event: object
    before: RunState | None
    after: RunState | None
    effects: tuple[machine.Effect, ...] = ()

    @property
    def outcome(self) -> str:
        """Why it changed nothing, or ""."""
        return self.row.outcome


class Replay:
    """Decides again what rows of a ledger led to, run by run."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger
        self._newest: dict[str, Step] = {}

    def know(self, step: Step) -> None:
        """What somebody else has decided need not be decided again."""
        self._newest[step.row.run] = step

    def step(self, row: Row) -> Step:
        """What this row led to; what came before it is read if it was not seen.

        Raises:
            LedgerBroken: it, or a row before it, is no event of this version.
        """
        before = self._newest.get(row.run)
        if row.seq != (before.row.seq + 1 if before else 1):
            before = None
            for earlier in islice(self._ledger.rows(row.run), row.seq - 1):
                before = step_of(earlier, before)
        self.know(step_of(row, before))
        return self._newest[row.run]


def step_of(row: Row, before: Step | None) -> Step:
    """What a row led to, after the one before it.

    Raises:
        LedgerBroken: it is no event of this version.
    """
    state = after = before.after if before else None
    effects: tuple[machine.Effect, ...] = ()
    try:
        event: object = decode(row.event, _kinds(row))
        if isinstance(event, WeightsRef) and before and isinstance(before.event, Plan):
            after = machine.submitted(before.event, event)
        elif isinstance(event, machine.Event) and state and not row.outcome:
            after, effects = machine.step(state, event)
    except (MessageError, machine.IllegalEvent) as exc:
        raise LedgerBroken(f"row {row.seq} of {row.run} cannot be replayed: {exc}") from exc
    return Step(row=row, event=event, before=state, after=after, effects=effects)


def _kinds(row: Row) -> tuple[type, ...]:
    """What a row may record."""
    if row.seq <= len(_FIRST_ROWS):
        return (_FIRST_ROWS[row.seq - 1],)
    return (*EVENTS, TurnRefused) if row.outcome else EVENTS


def steps(rows: Iterable[Row]) -> Iterator[Step]:
    """What each row of a run led to.

    Raises:
        LedgerBroken: a row is no event of this version.
    """
    step: Step | None = None
    for row in rows:
        step = step_of(row, step)
        yield step


def state_after(steps: Iterable[Step]) -> RunState | None:
    """As `replay`, of rows that were replayed."""
    state = None
    for step in steps:
        state = step.after
    return None if state is None or state.status is machine.Status.SUBMITTED else state


def documents(steps: Sequence[Step], *, of_before: bool = False) -> dict[int, Document]:
    """What each checkpoint's JSON must say, by the number of its round; 0 is the start.

    `of_before`: as it was written when it named the turns of its last round alone.
    """
    expected: dict[int, Document] = {}
    for step in steps:
        state, anchor = step.after, Anchor(seq=step.row.seq, hash=step.row.hash)
        if state is None:
            continue
        if step.before is None:
            expected[0] = document(state.plan, 0, first(state.weights), anchor)
        for effect in step.effects:
            if isinstance(effect, machine.SaveCheckpoint):
                number = effect.round + 1
                saved = replace(effect, earlier=()) if of_before else effect
                expected[number] = document(state.plan, number, saved, anchor)
    return expected if len(steps) > len(_FIRST_ROWS) else {}


def check_origin(found: Sequence[Step], ledger: SqliteLedger) -> None:
    """Whether the run began from just the weights that the run which it names has ended with.

    Raises:
        LedgerBroken: from others.
    """
    state = state_after(found)
    origin = None if state is None else state.plan.origin
    if origin is None:
        return
    began = documents(found)[0]["digest"]
    there = documents(list(steps(ledger.rows(origin.run))))
    ended = there[origin.round]["digest"] if origin.round in there else None
    if not began == origin.digest == ended:
        raise LedgerBroken(
            f"round {origin.round} of {origin.run} did not end with the weights that "
            f"{found[0].row.run} began from"
        )


def records(steps: Iterable[Step]) -> list[TurnRecord]:
    """Every turn that was accepted and not undone, in its order."""
    closed: list[TurnRecord] = []
    saved: tuple[TurnRecord, ...] = ()
    state: RunState | None = None
    for step in steps:
        state = step.after
        for effect in step.effects:
            if isinstance(effect, machine.SaveCheckpoint):
                saved = effect.records
                closed.extend((*effect.earlier, *saved))
    if state is None:
        return closed
    # The last round's stay in the state until the next one is planned.
    return [*closed, *state.unmerged, *(each for each in state.records if each not in saved)]


def evaluations(steps: Iterable[Step]) -> list[Evaluation]:
    """Every evaluation, in the order in which they began; the last may be under way."""
    found: dict[int, Evaluation] = {}
    for step in steps:
        closed = [e.evaluation for e in step.effects if isinstance(e, machine.CloseEvaluation)]
        under_way = None if step.after is None else step.after.evaluation
        for each in (*closed, *([] if under_way is None else [under_way])):
            found[each.asked.number] = each
    return list(found.values())


def merges(steps: Iterable[Step]) -> list[machine.SaveCheckpoint]:
    """The checkpoints whose weights are made of those of several lanes, in their order."""
    effects = (effect for step in steps for effect in step.effects)
    return [e for e in effects if isinstance(e, machine.SaveCheckpoint) and e.parts]


def newly_skipped(
    before: RunState | None, event: object, after: RunState
) -> tuple[machine.Skip, ...]:
    """The turns that were passed over by this event."""
    if before is not None and isinstance(event, machine.WaitOver):
        known = set(before.skipped)  # of a lane that is late, they take the place of its others
        return tuple(skip for skip in after.skipped if skip not in known)
    return after.skipped[len(before.skipped) if before else 0 :]


def last_row(steps: Sequence[Step]) -> Row:
    """The row that ended the run; the newest as long as it goes on. Scores may be asked for later.

    `steps`: at least one.
    """
    last = steps[-1].row
    for step in reversed(steps):
        if step.after is None or not step.after.is_over:
            break
        last = step.row
    return last


def failure(rows: Iterable[Row]) -> str | None:
    """The class of the last error that a site reported; one of scoring ends no run."""
    failed = [
        event
        for event in map(decode_event, rows)
        if isinstance(event, machine.TurnFailed) and event.id.lane < EVALUATION
    ]
    return failed[-1].error if failed else None


def decode_event(row: Row) -> object:
    """What a row records."""
    return decode(row.event, (*EVENTS, Plan, WeightsRef, TurnRefused))


def runs(ledger: SqliteLedger) -> dict[str, RunState]:
    """Every run of a ledger, as it stands now."""
    states = ((run, replay(ledger.rows(run))) for run in ledger.runs())
    return {run: state for run, state in states if state is not None}
