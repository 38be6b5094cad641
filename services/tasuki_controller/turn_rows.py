"""A run's turns as rows of a table: those that were accepted and those that were passed over."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

from tasuki.core.model import TurnRecord
from tasuki.core.run import RunState, SaveCheckpoint, Skip
from tasuki_controller.documents import MergedLane, MergedWeights, TurnRow, TurnTable


def turn_table(
    state: RunState, records: Iterable[TurnRecord], merges: Iterable[SaveCheckpoint] = ()
) -> TurnTable:
    """Every turn of a run that was accepted and not undone, and every one that was skipped.

    `merges`: the checkpoints that are made of several lanes' weights.
    """
    # Skipped turns first: one that was left out when its round was planned has a hop that another
    # site's turn has as well, and would have come before it.
    rows = [*map(_skipped, state.skipped), *map(_accepted, records)]
    turns = sorted(rows, key=lambda row: (row.round, row.lane, row.turn))
    merged = list(map(merged_weights, merges))
    best = state.plan.checkpoint.best
    return TurnTable(run=state.plan.run, best=best, turns=turns, merges=merged)


def merged_weights(saved: SaveCheckpoint) -> MergedWeights:
    """What all lanes go on from after a round, and what went into it."""
    lanes = [
        MergedLane(lane=part.lane + 1, digest=part.weights.digest, samples=part.samples)
        for part in saved.parts
    ]
    return MergedWeights(round=saved.round + 1, digest=saved.weights.digest, lanes=lanes)


def _skipped(skip: Skip) -> TurnRow:
    return TurnRow(
        round=skip.round + 1,
        lane=skip.lane + 1,
        turn=skip.hop + 1,
        site=skip.site,
        skipped=skip.reason,
    )


def _accepted(record: TurnRecord) -> TurnRow:
    # JSON has no NaN: what is no number is null here and at a controller.
    metrics = {name: value if isfinite(value) else None for name, value in record.metrics.items()}
    return TurnRow(
        round=record.id.round + 1,
        lane=record.id.lane + 1,
        turn=record.id.hop + 1,
        site=record.site,
        samples=record.samples,
        seconds=record.seconds,
        metrics=metrics,
        unchanged=record.is_unchanged,
        received=record.received,
        sent=record.sent.digest,
    )
