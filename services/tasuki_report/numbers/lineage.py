"""From which turns a run's weights descend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from tasuki_controller.documents import BestRound, TurnRow
from tasuki_report.material import Material


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The chain of turns up to some weights.

    Attributes:
        of: which weights: of the end of the best round, or the newest if `best` is None.
        turns: from the first to the last; each received what the one before it sent.
        began: what the first of them received.
        is_whole: whether those are the weights that the run began with.
    """

    of: str
    best: BestRound | None
    turns: Sequence[TurnRow]
    began: str
    is_whole: bool

    @property
    def rounds(self) -> list[tuple[int, list[TurnRow]]]:
        """Its turns by round."""
        return [(number, list(turns)) for number, turns in groupby(self.turns, _round)]


def lineage_of(material: Material) -> Lineage:
    """Of the best weights, or the newest if no round is best."""
    best = material.scores.best_round or material.standing.best_round
    accepted = [turn for turn in material.turns.turns if not turn.skipped]
    if best is not None:
        accepted = [turn for turn in accepted if turn.round <= best.round]
    of = _end(accepted, material) if best is not None else material.standing.digest
    chain, wanted = _back(accepted, of)
    is_whole = wanted == material.submitted.weights.digest
    return Lineage(of=of, best=best, turns=chain, began=wanted, is_whole=is_whole)


def _end(accepted: Sequence[TurnRow], material: Material) -> str:
    return (accepted[-1].sent if accepted else None) or material.submitted.weights.digest


def _back(accepted: Sequence[TurnRow], of: str) -> tuple[list[TurnRow], str]:
    chain, wanted = [], of
    for turn in reversed(accepted):
        if turn.sent == wanted and turn.received is not None:
            chain.append(turn)
            wanted = turn.received
    return chain[::-1], wanted


def _round(turn: TurnRow) -> int:
    return turn.round
