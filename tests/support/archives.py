"""A run's records as a data folder or a controller has them, without either."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from support.runs import Relay
from tasuki.core.model import CheckpointPolicy, TurnRecord
from tasuki.core.run import Skip
from tasuki.ledger.sqlite import Row
from tasuki_controller import documents
from tasuki_controller.checkpoints import Kept
from tasuki_controller.scoreboard import scores_of
from tasuki_controller.turn_rows import turn_table


class Archive:
    """Of a run with these turns. What nobody asks for here it does not have."""

    def __init__(
        self, *records: TurnRecord, skipped: tuple[Skip, ...] = (), best: str | None = None
    ) -> None:
        plan = replace(Relay().plan, checkpoint=CheckpointPolicy(best=best))
        self.state = replace(Relay().state, plan=plan, skipped=skipped)
        self.records = records

    def runs(self, *, even_removed: bool = False) -> Sequence[documents.RunRow]:
        return [documents.run_row(self.state)]

    def rows(self, run: str) -> Sequence[documents.LedgerRow]:
        raise NotImplementedError(run)

    def kept_rows(self, run: str) -> Iterator[Row]:
        raise NotImplementedError(run)

    def turns(self, run: str) -> documents.TurnTable:
        assert "r" == run
        return turn_table(self.state, self.records)

    def scores(self, run: str, *, metric: str | None, mode: str | None) -> documents.Scores:
        assert "r" == run
        return scores_of(self.state, self.records, [], metric=metric, mode=mode)

    def verify(self, run: str) -> documents.VerifiedLedger:
        raise NotImplementedError(run)

    def remove(self, run: str, *, stop: bool) -> documents.RemovedRun:
        raise NotImplementedError(run, stop)

    def copy_weights(self, run: str, folder: Path, *, round: int | None) -> Kept:
        raise NotImplementedError(run, folder, round)
