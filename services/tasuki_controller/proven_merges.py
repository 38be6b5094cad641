"""Whether the merges of a run follow from its rows, and from its files where those are still there.

A hash proves that a row is what was written; this, that a merge has made what it should of what
sites have handed in, and that the lanes went on from it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tasuki.core import run as machine
from tasuki.core.model import TurnRecord, WeightsRef
from tasuki.core.run import Part, RunState
from tasuki.errors import LedgerBroken, StorageError
from tasuki.weights.container import merge
from tasuki.weights.digest import verify_digest
from tasuki_controller.checkpoints import Checkpoints
from tasuki_controller.history import Step


def check_merges(steps: Iterable[Step]) -> int:
    """How many times several lanes were made one; each follows from the turns before it.

    Raises:
        LedgerBroken: naming the first row that does not follow from those before it.
    """
    merges, newest, began = 0, None, ""
    for step in steps:
        if step.before is None or step.outcome or not step.before.has_lanes:
            continue
        began = began or step.before.merged.digest
        _check_follows(step, step.before, newest)
        newest = step if isinstance(step.event, machine.WeightsMerged) else newest
        for effect in step.effects:
            if isinstance(effect, machine.SaveCheckpoint):
                _check_parts(step, effect, began)
                began = effect.weights.digest
                merges += len(effect.parts) > 1
    return merges


def _check_follows(step: Step, before: RunState, merged: Step | None) -> None:
    """Raises LedgerBroken: what was accepted then is none that the rows before lead to."""
    reasons = [effect.reason for effect in step.effects if isinstance(effect, machine.Drop)]
    if not reasons:
        return
    said = f"row {step.row.seq} of {step.row.run} does not follow from the rows before it"
    if isinstance(step.event, machine.TurnFinished):
        raise LedgerBroken(f"{said}: {_began_elsewhere(step.event.record, before, merged)}")
    raise LedgerBroken(f"{said}: {type(step.event).__name__}, {reasons[0]}")


def _began_elsewhere(record: TurnRecord, before: RunState, merged: Step | None) -> str:
    """What a site has trained, and what its lane had by then."""
    relay = before.relay_of(record.id.lane)
    there = "" if relay is None else relay.weights.digest
    said = (
        f"{record.site} trained {record.received} in lane {record.id.lane + 1}, which had {there}"
    )
    if merged is not None and there == before.merged.digest:
        said += f", what all lanes were made one of by row {merged.row.seq}: one of both is forged"
    return said


def _check_parts(step: Step, saved: machine.SaveCheckpoint, began: str) -> None:
    """Raises LedgerBroken: the lanes that went in are not those that were trained since."""
    lanes: dict[int, list[TurnRecord]] = {}
    for record in (*saved.earlier, *saved.records):
        lanes.setdefault(record.id.lane, []).append(record)
    where = f"row {step.row.seq} of {step.row.run}"
    for number, turns in lanes.items():
        received = [began, *(turn.sent.digest for turn in turns)]
        for turn, before in zip(turns, received, strict=False):
            if turn.received != before:
                raise LedgerBroken(
                    f"{where}: lane {number + 1} had {before}, and {turn.site} trained "
                    f"{turn.received}"
                )
    expected = [
        Part(lane=number, weights=turns[-1].sent, samples=sum(turn.samples for turn in turns))
        for number, turns in sorted(lanes.items())
    ]
    if list(saved.parts) != expected:
        raise LedgerBroken(f"{where} makes one of other lanes than were trained since the last")
    alone = expected[0].weights.digest if expected else began
    if len(expected) < 2 and saved.weights.digest != alone:
        raise LedgerBroken(f"{where}: all lanes go on from {alone}, and not from what it says")


def merged_again(steps: Sequence[Step], checkpoints: Checkpoints) -> int:
    """How many merges were made once more, of those whose parts are all still on disk.

    Raises:
        LedgerBroken: one comes to other weights than its row says.
        StorageError, DiskFull: there is no room for that.
    """
    done, merging = 0, None
    for step in steps:
        if isinstance(step.event, machine.WeightsMerged) and merging is not None:
            done += _is_made_again(step, step.event.weights, merging, checkpoints)
        found = [e for e in step.effects if isinstance(e, machine.MergeWeights)]
        merging = found[0] if found else merging
    return done


def _is_made_again(
    step: Step, weights: WeightsRef, merging: machine.MergeWeights, checkpoints: Checkpoints
) -> bool:
    """Whether it was: a controller may let go of parts meanwhile."""
    paths = [checkpoints.find_anywhere(part.weights) for part in merging.parts]
    there = [path for path in paths if path is not None]
    if len(there) < len(paths):
        return False
    try:
        made = _made_one(there, merging)
    except (FileNotFoundError, StorageError):
        if all(path.exists() for path in there):
            raise
        return False
    if made.digest != weights.digest:
        raise LedgerBroken(
            f"row {step.row.seq} of {step.row.run} says that all lanes were made one with "
            f"{weights.digest}, and their weights make {made.digest}"
        )
    return True


def _made_one(paths: Sequence[Path], merging: machine.MergeWeights) -> WeightsRef:
    for path, part in zip(paths, merging.parts, strict=True):
        if verify_digest(path) != part.weights.digest:
            raise LedgerBroken(f"{path} has other bytes than the ledger says")
    parts = [
        merge.Part(path=path, samples=part.samples)
        for path, part in zip(paths, merging.parts, strict=True)
    ]
    with tempfile.TemporaryDirectory(prefix="tasuki-") as place:
        return merge.merge(parts, Path(place) / "merged", equally=merging.equally)
