"""What the page has, section by section: values that the template only has to set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasuki.core.run import OVER
from tasuki_controller.documents import EvaluatedScores, LeftOut
from tasuki_report.material import Material
from tasuki_report.numbers.curves import curves_of
from tasuki_report.numbers.forgetting import Forgotten, forgotten
from tasuki_report.numbers.lineage import Lineage, lineage_of
from tasuki_report.numbers.matrix import matrices_of
from tasuki_report.numbers.timeline import Timeline, timeline_of
from tasuki_report.page import between_sites, passing
from tasuki_report.page.chart import Chart, of_which
from tasuki_report.page.facts import Fact, facts_of, params_of
from tasuki_report.page.learning import evaluated, learning

MOST_HAPPENED = 200
MOST_LINKS = 500
MOST_ROUNDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Charts that belong together. `is_open`: drawn at once."""

    title: str
    charts: Sequence[Chart]
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationTable:
    """What all sites said of the same weights, row by row, with who is not in it."""

    title: str
    scores: EvaluatedScores
    left_out: dict[int, list[LeftOut]]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The page."""

    material: Material
    facts: Sequence[Fact]
    params: Sequence[Fact]
    evaluations: Sequence[EvaluationTable]
    evaluated: Sequence[Group]
    learning: Sequence[Group]
    matrices: Sequence[Group]
    forgetting: Sequence[Group]
    forgotten: Sequence[Forgotten]
    timeline: Timeline
    passing: Chart | None
    lineage: Lineage

    @property
    def is_over(self) -> bool:
        return self.material.standing.status in OVER

    @property
    def is_removed(self) -> bool:
        return self.material.verified is not None and self.material.verified.removed

    @property
    def charts(self) -> list[Chart]:
        """All of them, in the order of the page."""
        groups = (*self.evaluated, *self.learning, *self.matrices, *self.forgetting)
        found = [chart for group in groups for chart in group.charts]
        return found if self.passing is None else [*found, self.passing]


def view_of(material: Material) -> View:
    timeline, lost = timeline_of(material), forgotten(material.scores)
    return View(
        material=material,
        facts=facts_of(material),
        params=params_of(material.submitted.plan),
        evaluations=_evaluations(material),
        evaluated=_evaluated(material),
        learning=_learning(material),
        matrices=_matrices(material),
        forgetting=[_forgetting(each, is_open=not at) for at, each in enumerate(lost)],
        forgotten=lost,
        timeline=timeline,
        passing=passing.timeline(timeline),
        lineage=lineage_of(material),
    )


def _evaluations(material: Material) -> list[EvaluationTable]:
    left_out = {each.number: each.left_out for each in material.scores.evaluations}
    return [
        EvaluationTable(title=of_which(each.metric, each.split), scores=each, left_out=left_out)
        for each in material.scores.evaluated
    ]


def _evaluated(material: Material) -> list[Group]:
    best, policy = material.scores.best_round, material.submitted.plan.evaluate
    split = "" if policy is None else policy.split
    charts = [evaluated(each, best, split=split) for each in material.scores.evaluated]
    return _groups([[chart] for chart in charts if chart is not None])


def _learning(material: Material) -> list[Group]:
    return _groups([learning(each) for each in curves_of(material.turns)])


def _matrices(material: Material) -> list[Group]:
    found = matrices_of(material.turns, material.scores)
    return _groups([[between_sites.matrix(each)] for each in found])


def _groups(found: Sequence[Sequence[Chart]]) -> list[Group]:
    """The first is open: by that metric the run is looked at."""
    return [
        Group(title=charts[0].title, charts=charts, is_open=not at)
        for at, charts in enumerate(found)
    ]


def _forgetting(of: Forgotten, *, is_open: bool) -> Group:
    charts = [between_sites.newest(of), between_sites.over_rounds(of)]
    return Group(
        title=of_which(of.metric, of.split),
        charts=[chart for chart in charts if chart is not None],
        is_open=is_open,
    )
