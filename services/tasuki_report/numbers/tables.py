"""What the CSV files have: the numbers that the page draws, by the name of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from tasuki_controller.documents import Scores
from tasuki_report.csv_text import NO_NUMBER, csv_text, foreign
from tasuki_report.material import Material
from tasuki_report.numbers.lineage import Lineage, lineage_of
from tasuki_report.numbers.matrix import Matrix, matrices_of
from tasuki_report.numbers.timeline import Timeline, timeline_of
from tasuki_report.turn_csv import csv_of

_OF_EVALUATIONS = (
    *("metric", "split", "evaluation", "round", "digest"),
    *("mean", "worst", "worst_site", "spread", "scored", "left_out"),
)
_OF_SPELLS = (
    *("site", "round", "lane", "turn", "term", "how"),
    *("since", "began", "until", "waited_s", "held_s"),
)
Rows = Iterator[tuple[object, ...]]


def tables_of(material: Material) -> Mapping[str, str]:
    """Each file's text by its name. A file without rows has its head."""
    scores, timeline, lineage = material.scores, timeline_of(material), lineage_of(material)
    matrices = matrices_of(material.turns, scores)
    return {
        "turns.csv": csv_of(material.turns),
        "evaluations.csv": csv_text(
            _OF_EVALUATIONS,
            _evaluations(scores),
        ),
        "evaluated_scores.csv": csv_text(
            ("metric", "split", "evaluation", "round", "site", "score", "samples", "forgotten"),
            _evaluated(scores),
        ),
        "rolling_scores.csv": csv_text(
            ("metric", "round", "site", "score", "samples", "forgotten", "lanes"),
            _rolling(scores),
        ),
        "matrix.csv": csv_text(
            ("by", "split", "metric", "scored_at", "trained_at", "score", "round"),
            (row for matrix in matrices for row in _matrix(matrix)),
        ),
        "timeline.csv": csv_text(_OF_SPELLS, _spells(timeline)),
        "happened.csv": csv_text(("row", "at", "what", "led_to", "detail"), _happened(timeline)),
        "lineage.csv": csv_text(
            ("round", "lane", "turn", "site", "received", "sent"),
            (
                (turn.round, turn.lane, turn.turn, turn.site, turn.received, turn.sent)
                for turn in lineage.turns
            ),
        ),
        "merges.csv": csv_text(
            ("round", "digest", "lane", "lane_digest", "samples"), _merges(lineage)
        ),
    }


def _evaluations(scores: Scores) -> Rows:
    asked = {each.number: each for each in scores.evaluations}
    for of in scores.evaluated:
        for row in of.rows:
            yield (
                *(foreign(of.metric), foreign(of.split), row.number, row.round),
                asked[row.number].digest if row.number in asked else None,
                *(_number(row.mean), _number(row.worst), row.worst_site, _number(row.spread)),
                len(row.sites),
                " ".join(each.site for each in asked[row.number].left_out)
                if row.number in asked
                else None,
            )


def _evaluated(scores: Scores) -> Rows:
    for of in scores.evaluated:
        for row in of.rows:
            for each in row.sites:
                where = (foreign(of.metric), foreign(of.split), row.number, row.round, each.site)
                yield *where, _number(each.value), each.samples, each.forgotten


def _rolling(scores: Scores) -> Rows:
    for of in scores.rolling:
        for row in of.rounds:
            for each in row.sites:
                where = (foreign(of.metric), row.round, each.site)
                yield *where, _number(each.value), each.samples, each.forgotten, each.lanes


def _matrix(matrix: Matrix) -> Rows:
    by = ("rolling", "") if matrix.split is None else ("evaluation", foreign(matrix.split))
    for (scored_at, trained_at), cell in sorted(matrix.cells.items()):
        pair = (scored_at, trained_at, _number(cell.value), cell.round)
        yield *by, foreign(matrix.metric), *pair


def _spells(timeline: Timeline) -> Rows:
    for each in timeline.spells:
        yield (
            *(each.site, each.round, each.lane, each.turn, each.term, each.how.value),
            *map(_time, (each.since, each.began, each.until)),
            *(round(each.waited_s, 3), round(each.held_s, 3)),
        )


def _happened(timeline: Timeline) -> Rows:
    for row in timeline.happened:
        led_to = foreign("; ".join(row.led_to))
        yield row.seq, _time(row.at), foreign(row.what), led_to, foreign(row.detail)


def _merges(lineage: Lineage) -> Rows:
    """Those on the way to the weights of the lineage."""
    for merge in lineage.merges:
        for each in merge.lanes:
            yield merge.round, merge.digest, each.lane, each.digest, each.samples


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds")


def _number(value: float | None) -> object:
    return NO_NUMBER if value is None else value
