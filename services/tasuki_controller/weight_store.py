"""The weights of runs that the controller keeps: the first ones, and those of each round's end."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path

from tasuki.core import run as machine
from tasuki.core.model import CONTROLLER, Plan, WeightsRef
from tasuki.core.run import RunState
from tasuki.disk.errors import disk_errors
from tasuki.disk.writing import copy_whole, sync
from tasuki.errors import DiskFull, ManifestMismatch, StorageError, WeightsError
from tasuki.weights.container import read_manifest
from tasuki.weights.container.merge import Part, merge
from tasuki.weights.spool import Spool
from tasuki_controller import history
from tasuki_controller.checkpoints import HELD, LATEST, Anchor, Checkpoints, document, first
from tasuki_controller.controller import Controller
from tasuki_controller.intake import Intake

MERGED = "merged.safetensors"
"""Where weights are while they are merged."""


class WeightStore:
    """Finds weights wherever they are, and saves what a round ended with."""

    def __init__(self, controller: Controller, intake: Intake) -> None:
        self._c = controller
        self._intake = intake

    def is_here(self, run: str, weights: WeightsRef) -> bool:
        """Whether these weights are on this disk."""
        kept = self._of(run).find(weights) or self._c.spool.find(weights)
        return kept is not None or self._held(run, weights).exists()

    async def obtain(self, run: str, weights: WeightsRef, at: str) -> Path | None:
        """These weights as a file: kept here, arriving here, or stuck in a site's stream."""
        kept = self._of(run).find(weights) or self._c.spool.find(weights)
        held = self._held(run, weights)
        if kept is None and held.exists():
            return held
        return kept or await self._intake.obtain(weights, at)

    def check_model(self, run: str, path: Path) -> None:
        """Whether these weights are of the model of a run.

        Raises:
            ManifestMismatch: they have other tensors than what the run keeps.
            BadWeights: they are none.
        """
        newest = self._of(run).named(LATEST)
        theirs = read_manifest(path)
        if newest is None:
            return
        if (difference := read_manifest(newest.path).difference(theirs)) is not None:
            raise ManifestMismatch(f"these weights are of another model than {run}: {difference}")

    def check_room(self, plan: Plan, weights: WeightsRef) -> None:
        """Whether the disk has room for what each lane goes on from, arrives with, and a merge.

        Raises:
            DiskFull: it has not, and that would show only after every lane was trained.
        """
        needed = (2 * plan.lanes.count + 1) * weights.size
        with disk_errors(self._c.runs):
            self._c.runs.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._c.runs).free
        if free < needed:
            raise DiskFull(
                f"{plan.lanes.count} lanes of {weights.size} bytes need {needed} bytes beside the "
                f"checkpoints, and {self._c.runs} has {free}: free some, or let fewer circulate"
            )

    def hold(self, run: str, path: Path, weights: WeightsRef) -> None:
        """Keep weights that are of use, whatever becomes of the checkpoint or spool they are in.

        Raises:
            DiskFull, StorageError: they are not kept.
        """
        held = self._held(run, weights)
        with disk_errors(held):
            held.parent.mkdir(parents=True, exist_ok=True)
        if not held.exists():
            copy_whole(path, held)
            sync(held.parent)

    def keep_held(self, run: str, state: RunState) -> None:
        """Let those go that nobody is to score any more, and no lane to go on from."""
        evaluation = () if state.evaluation is None else (state.evaluation.asked,)
        of = self._of(run)
        of_lanes = (weights for weights in _of_lanes(state) if of.find(weights) is None)
        to_score = (asked.weights for asked in (*evaluation, *state.asked))
        wanted = {self._held(run, weights) for weights in (*to_score, *of_lanes)}
        for path in (self._c.runs / run / HELD).glob("*.safetensors"):
            if path not in wanted:
                path.unlink(missing_ok=True)

    async def save(
        self,
        plan: Plan,
        effect: machine.SaveCheckpoint,
        *,
        decided_in: int | None,
        runs: Mapping[str, RunState],
    ) -> None:
        """Keep a round's weights with what led to them.

        Args:
            decided_in: the number of that row; None: an older version recorded it.
            runs: all there are. Two of them may come to the same weights.

        Raises:
            StorageError, DiskFull: they are not kept.
        """
        run, number = plan.run, effect.round + 1
        if decided_in is None:
            content = history.documents(list(history.steps(self._c.ledger.rows(run))))[number]
        else:
            row = self._c.ledger.row(run, decided_in)
            anchor = Anchor(seq=row.seq, hash=row.hash)
            content = document(plan, number, effect, anchor)
        # It was there when this was decided; if not now, it did not survive a power cut since.
        source = await self.obtain(run, effect.weights, CONTROLLER)
        if source is None:
            raise StorageError(f"the weights of round {number} are gone from spool and stream")
        self._of(run).save(source, content, plan.checkpoint)
        for weights in {effect.weights, *(part.weights for part in effect.parts)}:
            free(self._c.spool, weights, run=run, runs=runs, folder=self._c.runs)
        if effect.parts:
            self.keep_held(run, runs[run])

    async def keep_lane(
        self, run: str, weights: WeightsRef, *, runs: Mapping[str, RunState]
    ) -> bool:
        """Keep what a lane goes on from, until it goes on from others; False if it is gone.

        Raises:
            StorageError, DiskFull: it is not kept.
        """
        if self._of(run).find(weights) is None and weights in _of_lanes(runs[run]):
            source = await self.obtain(run, weights, CONTROLLER)
            if source is None:
                return False
            await asyncio.to_thread(self.hold, run, source, weights)
        free(self._c.spool, weights, run=run, runs=runs, folder=self._c.runs)
        self.keep_held(run, runs[run])
        return True

    async def merge(
        self, run: str, effect: machine.MergeWeights
    ) -> machine.WeightsMerged | machine.WeightsLost | machine.MergeFailed:
        """Make one of the lanes' weights, and hold that.

        Raises:
            StorageError, DiskFull: there is none.
        """
        found: list[Part] = []
        for part in effect.parts:
            path = await self.obtain(run, part.weights, CONTROLLER)
            if path is None:
                return machine.WeightsLost(weights=part.weights, lane=part.lane)
            found.append(Part(path=path, samples=part.samples))
        written = self._c.runs / run / MERGED
        try:
            merged = await asyncio.to_thread(merge, found, written, equally=effect.equally)
        except (ManifestMismatch, WeightsError) as exc:
            return machine.MergeFailed(done=effect.done, cause=str(exc))
        held = self._held(run, merged)
        with disk_errors(held):
            held.parent.mkdir(parents=True, exist_ok=True)
            written.replace(held)
            sync(held.parent)
        return machine.WeightsMerged(done=effect.done, weights=merged)

    def name_best(self, plan: Plan, round: int) -> None:
        """The end of this round (from 0) is the best one now."""
        self._of(plan.run).name_best(round + 1, plan.checkpoint)

    def keep_first(self, plan: Plan, weights: Path, ref: WeightsRef) -> None:
        """Keep what a run starts from as its round 0."""
        seq, previous = self._c.ledger.head(plan.run)
        self._of(plan.run).save(
            weights,
            document(plan, 0, first(ref), Anchor(seq=seq, hash=previous)),
            plan.checkpoint,
        )

    async def discard(self, run: str, *, runs: Mapping[str, RunState]) -> None:
        """Let everything of a run go that no other run needs. Safe to do again.

        Raises:
            StorageError: some of it is still there.
        """
        for weights in weights_of(runs[run]):
            free(self._c.spool, weights, run=run, runs=runs, folder=self._c.runs)
        await asyncio.to_thread(self._of(run).remove)

    def _of(self, run: str) -> Checkpoints:
        return Checkpoints(self._c.runs / run)

    def _held(self, run: str, weights: WeightsRef) -> Path:
        return self._of(run).held_path(weights)


def free(
    spool: Spool, weights: WeightsRef, *, run: str, runs: Mapping[str, RunState], folder: Path
) -> None:
    """A run needs these weights in the spool no more; they go unless another one has to keep them.

    Args:
        folder: where the runs' checkpoints are.
    """
    others = {other: state for other, state in runs.items() if other != run}
    if not is_needed(weights, runs=others, folder=folder):
        spool.drop(weights)


def is_needed(weights: WeightsRef, *, runs: Mapping[str, RunState], folder: Path) -> bool:
    """Whether one of these runs has weights in the spool alone.

    Also one that is over may still have to save what it ended with; of its lanes it needs no more.
    """
    return any(
        not state.removed
        and weights in ({state.merged} if state.has_lanes and state.is_over else weights_of(state))
        and Checkpoints(folder / run).find(weights) is None
        for run, state in runs.items()
    )


def weights_of(state: RunState) -> set[WeightsRef]:
    """What may lie in the spool for a run."""
    relays = [lane.relay for lane in state.lanes]
    results = (record for relay in relays for record in (*relay.records, *relay.early))
    going_on = (weights for relay in relays for weights in (relay.base, relay.weights))
    return {state.merged, *going_on, *(record.sent for record in results)}


def _of_lanes(state: RunState) -> set[WeightsRef]:
    """What the lanes of a run go on from, or fall back to; one model has its checkpoints."""
    if not state.has_lanes:
        return set()
    return {state.merged, *(lane.relay.base for lane in state.lanes if not state.is_over)}
