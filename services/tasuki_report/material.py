"""What a report is made from: documents, be they from a data folder or from a controller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from tasuki.errors import LedgerBroken
from tasuki_controller import documents


class Source(Protocol):
    """Where runs are on record. Each method raises UnknownRun for one that is not."""

    def submitted(self, run: str) -> documents.SubmittedRun:
        """What is run."""

    def standing(self, run: str) -> documents.Standing:
        """How it went, so far."""

    def turns(self, run: str) -> documents.TurnTable:
        """Every turn."""

    def scores(self, run: str, *, metric: str | None, mode: str | None) -> documents.Scores:
        """By all metrics, if `metric` is None."""

    def rows(self, run: str) -> Sequence[documents.LedgerRow]:
        """Its ledger."""

    def verify(self, run: str) -> documents.VerifiedLedger:
        """Raises LedgerBroken: it is not what was recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """All that a report tells of a run.

    Attributes:
        verified: what of the ledger holds; None: `broken` says what does not.
        at: when this was asked.
    """

    submitted: documents.SubmittedRun
    standing: documents.Standing
    turns: documents.TurnTable
    scores: documents.Scores
    rows: Sequence[documents.LedgerRow]
    verified: documents.VerifiedLedger | None
    broken: str = ""
    at: datetime

    @property
    def run(self) -> str:
        return self.submitted.run


def collect(source: Source, run: str) -> Material:
    """Ask for everything, and have the ledger checked.

    Raises:
        UnknownRun: there is no such run.
        LedgerBroken: so much so that nothing can be told of it.
    """
    verified, broken = _verify(source, run)
    return Material(
        submitted=source.submitted(run),
        standing=source.standing(run),
        turns=source.turns(run),
        scores=source.scores(run, metric=None, mode=None),
        rows=source.rows(run),
        verified=verified,
        broken=broken,
        at=datetime.now(UTC),
    )


def _verify(source: Source, run: str) -> tuple[documents.VerifiedLedger | None, str]:
    try:
        return source.verify(run), ""
    except LedgerBroken as exc:  # the report is made all the same, and says so
        return None, str(exc)
