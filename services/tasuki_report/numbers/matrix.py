"""Site x site: what the model that was last trained at one site scores at another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tasuki.core.scores import RECEIVED
from tasuki_controller.documents import EvaluatedScores, Scores, TurnRow, TurnTable
from tasuki_report.numbers.curves import by_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A score, and the round of whose model it is."""

    value: float | None
    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """By one metric, from one kind of scores.

    Attributes:
        cells: by who scored, and who trained last; of rolling scores the newest of each pair, of
            evaluations those of the newest round that the column's site has ended.
        split: what an evaluation was on; empty: the trainer's choice. None: rolling scores.
    """

    metric: str
    split: str | None
    cells: Mapping[tuple[str, str], Cell]

    @property
    def sites(self) -> list[str]:
        return sorted({site for pair in self.cells for site in pair}, key=by_number)


def matrices_of(table: TurnTable, scores: Scores) -> list[Matrix]:
    """By evaluation first. One with nothing off its diagonal says no more than the curves."""
    rolling = [
        Matrix(metric=each.metric, split=None, cells=dict(_rolling(table, each.metric)))
        for each in scores.rolling
    ]
    evaluated = [
        Matrix(metric=each.metric, split=each.split, cells=dict(_evaluated(table, scores, each)))
        for each in scores.evaluated
    ]
    return [each for each in (*evaluated, *rolling) if len(each.sites) > 1]


def _rolling(table: TurnTable, metric: str) -> Iterator[tuple[tuple[str, str], Cell]]:
    """Later ones come later, and replace what was before in a mapping."""
    trained_by: dict[str, str] = {}
    for turn in _accepted(table):
        before = trained_by.get(turn.received or "")
        if before is not None and RECEIVED + metric in turn.metrics:
            value = turn.metrics[RECEIVED + metric]
            yield (turn.site, before), Cell(value=value, round=turn.round)
        if not turn.unchanged:
            trained_by[turn.sent or ""] = turn.site
            if metric in turn.metrics:
                yield (turn.site, turn.site), Cell(value=turn.metrics[metric], round=turn.round)


def _evaluated(
    table: TurnTable, scores: Scores, evaluated: EvaluatedScores
) -> Iterator[tuple[tuple[str, str], Cell]]:
    """A column is of one round, so that its cells compare: who was left out then has none."""
    trained_by = {turn.sent: turn.site for turn in _accepted(table) if not turn.unchanged}
    digests = {each.number: each.digest for each in scores.evaluations}
    columns = [(trained_by.get(digests.get(row.number)), row) for row in evaluated.rows]
    newest: dict[str | None, int] = {}
    for by, row in columns:
        newest[by] = max(row.round or 0, newest.get(by, 0))
    for by, row in columns:
        if by is not None and row.round == newest[by]:
            for score in row.sites:
                yield (score.site, by), Cell(value=score.value, round=row.round)


def _accepted(table: TurnTable) -> Iterator[TurnRow]:
    return (turn for turn in table.turns if not turn.skipped)
