"""From which turns a run's weights descend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from tasuki_controller.documents import BestRound, MergedWeights, TurnRow
from tasuki_report.material import Material

ALL = 0
"""No lane's own weights, but what all of them were made one of; or the only ones there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The chain of turns up to some weights; of several lanes, the turns of all that went in.

    Attributes:
        of: which weights: of the end of the best round, or the newest if `best` is None.
        turns: from the first to the last; each received what the one before it in its lane sent.
        merges: where lanes were made one on the way, from the first to the last.
        began: what the first of them received.
        is_whole: whether those are the weights that the run began with.
    """

    of: str
    best: BestRound | None
    turns: Sequence[TurnRow]
    merges: Sequence[MergedWeights]
    began: str
    is_whole: bool

    @property
    def rounds(self) -> list[tuple[int, list[TurnRow]]]:
        """Its turns by round."""
        return [(number, list(turns)) for number, turns in groupby(self.turns, _round)]

    @property
    def lanes(self) -> list[tuple[int, int, list[TurnRow]]]:
        """Its turns by round and lane."""
        return [(*place, list(turns)) for place, turns in groupby(self.turns, _round_and_lane)]


def lineage_of(material: Material) -> Lineage:
    """Of the best weights, or the newest if no round is best."""
    best = material.scores.best_round or material.standing.best_round
    accepted = [turn for turn in material.turns.turns if not turn.skipped]
    merges = material.turns.merges
    if best is not None:
        accepted = [turn for turn in accepted if turn.round <= best.round]
        merges = [merge for merge in merges if merge.round <= best.round]
    of = _end(accepted, merges, material) if best is not None else material.standing.digest
    chain, made_one, wanted = _back(accepted, merges, of)
    return Lineage(
        of=of,
        best=best,
        turns=chain,
        merges=made_one,
        began=", ".join(wanted),
        is_whole=wanted == [material.submitted.weights.digest],
    )


def _end(accepted: Sequence[TurnRow], merges: Sequence[MergedWeights], material: Material) -> str:
    if merges:
        return merges[-1].digest
    return (accepted[-1].sent if accepted else None) or material.submitted.weights.digest


def _back(
    accepted: Sequence[TurnRow], merges: Sequence[MergedWeights], of: str
) -> tuple[list[TurnRow], list[MergedWeights], list[str]]:
    """Turns and merges that lead to these weights, and what the first of them received."""
    chain: list[TurnRow] = []
    made_one: list[MergedWeights] = []
    wanted: Mapping[int, str] = {ALL: of}
    # Of one round, its merge is the last.
    both: list[TurnRow | MergedWeights] = [*accepted, *merges]
    steps = sorted(both, key=lambda step: step.round)
    for step in steps[::-1]:
        if isinstance(step, MergedWeights):
            if set(wanted.values()) == {step.digest}:
                made_one.append(step)
                wanted = {each.lane: each.digest for each in step.lanes}
            continue
        lane = step.lane if step.lane in wanted else ALL
        if step.sent == wanted.get(lane) and step.received is not None:
            chain.append(step)
            wanted = {**wanted, lane: step.received}
    return chain[::-1], made_one[::-1], list(dict.fromkeys(wanted.values()))


def _round(turn: TurnRow) -> int:
    return turn.round


def _round_and_lane(turn: TurnRow) -> tuple[int, int]:
    return turn.round, turn.lane
