"""A run on record, as a report is made from it: a relay's history with times, and no ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from support.runs import FIRST, Relay
from tasuki.core import run
from tasuki.core.model import Kind, TurnRecord
from tasuki.errors import LedgerBroken
from tasuki.ledger.sqlite import Row
from tasuki.wire.messages import encode
from tasuki_controller import documents, history
from tasuki_controller.ledger_in_words import ledger_rows
from tasuki_controller.scoreboard import scores_of
from tasuki_controller.turn_rows import turn_table
from tasuki_report import Material, collect, write_report

BEGAN = 1_800_000_000.0
STEP_S = 10.0
"""From each row to the next. A turn of a `Relay` says that it took 1.5 s."""


@dataclass(kw_only=True)
class OnRecord:
    """A `Source` of one run.

    Attributes:
        scores_instead: what sites say, where the ledger cannot tell it.
        broken: what does not hold of the ledger.
    """

    relay: Relay
    scores_instead: documents.Scores | None = None
    broken: str = ""

    @property
    def ledger(self) -> list[Row]:
        events = [self.relay.plan, FIRST, *self.relay.history]
        return [
            Row(run="r", seq=seq, at=BEGAN + STEP_S * seq, event=encode(event), outcome="", hash="")
            for seq, event in enumerate(events, start=1)
        ]

    @property
    def steps(self) -> list[history.Step]:
        return list(history.steps(self.ledger))

    @property
    def records(self) -> list[TurnRecord]:
        return history.records(self.steps)

    def submitted(self, run: str) -> documents.SubmittedRun:
        return documents.submitted_run(self.relay.state, self.ledger)

    def standing(self, run: str) -> documents.Standing:
        return documents.standing(self.relay.state, self.steps)

    def turns(self, run: str) -> documents.TurnTable:
        return turn_table(self.relay.state, self.records, history.merges(self.steps))

    def scores(self, run: str, *, metric: str | None, mode: str | None) -> documents.Scores:
        evaluations = history.evaluations(self.steps)
        return self.scores_instead or scores_of(
            self.relay.state, self.records, evaluations, metric=metric, mode=mode
        )

    def rows(self, run: str) -> Sequence[documents.LedgerRow]:
        return ledger_rows(self.ledger)

    def verify(self, run: str) -> documents.VerifiedLedger:
        if self.broken:
            raise LedgerBroken(self.broken)
        return documents.VerifiedLedger(
            run=run,
            rows=len(self.ledger),
            checkpoints=0,
            removed=self.relay.state.removed,
            verified=True,
        )

    @property
    def material(self) -> Material:
        return collect(self, "r")

    def page(self, path: Path) -> str:
        """Its report, which is left at that path."""
        write_report(self.material, path)
        return path.read_text(encoding="utf-8")


def trains(relay: Relay, named: Mapping[str, float] | None = None, **metrics: float) -> TurnRecord:
    """Whose turn it is trains, and reports these metrics, and those that are `named`."""
    record = replace(relay.record(), metrics={**(named or {}), **metrics})
    relay(run.TurnFinished(record=record))
    return record


def closes(relay: Relay) -> None:
    """The round's weights are with the controller."""
    relay(run.WeightsArrived(weights=relay.state.weights))


def scores(relay: Relay, site: str, **metrics: float) -> None:
    """A site scores the weights of the evaluation that is under way."""
    evaluation = relay.state.evaluation
    assert evaluation is not None
    its, weights = evaluation.relays[site], evaluation.asked.weights
    record = TurnRecord(
        id=its.expected,
        kind=Kind.EVALUATE,
        site=site,
        received=weights.digest,
        sent=weights,
        metrics=metrics,
        samples=10,
        seconds=0.5,
    )
    relay(run.TurnFinished(record=record))
