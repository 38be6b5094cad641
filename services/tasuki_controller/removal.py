"""Removing runs of a data folder that no process works in; a controller does it itself.

Recorded first, then done: whatever a crash leaves, the next removal in this folder takes with it.
"""

from __future__ import annotations

from contextlib import closing

from tasuki.core import run as machine
from tasuki.core.run import RunState
from tasuki.errors import UnknownRun
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.ports import Clock
from tasuki.weights.spool import Spool
from tasuki.wire.messages import decode, encode
from tasuki_controller import documents, history
from tasuki_controller.continuing import check_over
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.outbox import TO_BE_DONE
from tasuki_controller.weight_store import free, weights_of

_TOLD = machine.Fence | machine.Conclude
"""What a controller still has to tell its sites, whatever became of the weights."""


def remove(folder: DataFolder, run: str, clock: Clock, *, stop: bool) -> documents.RemovedRun:
    """Let a run's weights go. Harmless for one of which they are gone.

    Args:
        stop: a run that is not over ends first.

    Raises:
        UnknownRun: there is none, or it never began.
        RunUnderWay: it is not over.
        DataInUse: a process works in this folder.
        StorageError: some of it is still there; remove it again.
    """
    folder.rows(run)  # before the lock is made in a folder that is none of ours
    with folder.locked(), closing(folder.ledger()) as ledger:
        state = history.replay(ledger.rows(run))
        if state is None:
            raise UnknownRun(f"run {run!r} was submitted and never begun: submit it again")
        if stop and not state.is_done:
            state, _ = _record(ledger, state, machine.StopRequested(), clock)
        check_over(state)
        freed = folder.checkpoints(run).size()
        state, outcome = _record(ledger, state, machine.RunRemoved(), clock)
        _let_go(folder, ledger, run)
        _finish(folder, ledger, run)
    row = documents.run_row(state)
    return documents.RemovedRun(**dict(row), outcome=outcome, freed=freed)


def _record(
    ledger: SqliteLedger, state: RunState, event: machine.Event, clock: Clock
) -> tuple[RunState, str]:
    """The state after it, and why it changed nothing, if so."""
    after, effects = machine.step(state, event)
    outcome = next((e.reason for e in effects if isinstance(e, machine.Drop)), "")
    if not outcome:
        to_be_done = (effect for effect in effects if isinstance(effect, TO_BE_DONE))
        lasting = [encode(effect, travels=False) for effect in to_be_done]
        ledger.append(state.plan.run, encode(event), at=clock.now(), effects=lasting)
    return after, outcome


def _finish(folder: DataFolder, ledger: SqliteLedger, run: str) -> None:
    """Strike out what needs weights that are gone, and do what a crash has left undone."""
    for pending in ledger.pending():
        effect = decode(pending.effect, TO_BE_DONE, travelled=False)
        if isinstance(effect, machine.DiscardWeights):
            _let_go(folder, ledger, pending.run)
            ledger.strike(pending)
        elif pending.run == run and not isinstance(effect, _TOLD):
            ledger.strike(pending)


def _let_go(folder: DataFolder, ledger: SqliteLedger, run: str) -> None:
    """Its checkpoints, and what a controller that stopped midway has in its spool for it."""
    if folder.spool_path.exists():
        runs, spool = history.runs(ledger), Spool(folder.spool_path)
        for weights in weights_of(runs[run]):
            free(spool, weights, run=run, runs=runs, folder=folder.runs_path)
    folder.checkpoints(run).remove()
