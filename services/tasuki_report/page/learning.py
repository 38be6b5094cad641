"""Charts of how metrics went: at each site, and of the weights that all sites scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from statistics import quantiles

from tasuki_controller.documents import BestRound, EvaluatedRow, EvaluatedScores
from tasuki_report.numbers.curves import Curve, Curves, Values
from tasuki_report.page.chart import JSON, Chart, digits, of_which, round_axis, rows_high, said
from tasuki_report.page.palette import BLUE, GREEN, GREY, LINES, MARKS, ORANGE, SCALE, faint

MOST_LINES = len(LINES)
MOST_MARKED = 60

_TRAINED: Callable[[Curve], Values] = attrgetter("trained")
_RECEIVED: Callable[[Curve], Values] = attrgetter("received")
_WAYS = (("trained", _TRAINED), ("received", _RECEIVED))


def learning(curves: Curves) -> list[Chart]:
    """A line for each site where they can be told apart, else what they are together and a map."""
    if len(curves.sites) <= MOST_LINES:
        return [_lines(curves)]
    maps = [_map(curves, name, which) for name, which in _WAYS]
    return [_together(curves), *filter(None, maps)]


def _lines(curves: Curves) -> Chart:
    return Chart(
        title=curves.metric,
        caption="Solid: what each site says of the weights that it trained. Dashed, with hollow "
        "marks: of those that it received, before it trained." + _over_lanes(curves),
        traces=[
            _line(curves.rounds, curve, number, name)
            for number, curve in enumerate(curves.sites)
            for name, which in _WAYS
            if any(value is not None for value in which(curve))
        ],
        layout=_over_rounds(curves.metric, curves.rounds),
    )


def _over_lanes(curves: Curves) -> str:
    return (
        " A site trains in several lanes of a round: its value is their mean, weighted by samples."
        if curves.means
        else ""
    )


def _line(rounds: Sequence[int], curve: Curve, number: int, name: str) -> JSON:
    is_trained = name == "trained"
    mark = MARKS[number] if is_trained else f"{MARKS[number]}-open"
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(rounds) <= MOST_MARKED else "lines",
        "x": list(rounds),
        "y": digits(curve.trained if is_trained else curve.received),
        "name": said(f"{curve.site} {name}"),
        "legendgroup": said(curve.site),
        "connectgaps": True,
        "line": {"color": LINES[number], "dash": "solid" if is_trained else "dash", "width": 2},
        "marker": {"symbol": mark, "size": 7},
    }


def _together(curves: Curves) -> Chart:
    return Chart(
        title=f"{curves.metric}: all sites together",
        caption="The lines are medians over sites, of what each says of the weights that it "
        "trained (solid) and received (dashed); half of the sites lie in the dark bands, all in "
        "the pale ones. Within a round these are different weights." + _over_lanes(curves),
        traces=[
            trace
            for (name, which), colour, dash in zip(
                _WAYS, (BLUE, ORANGE), ("solid", "dash"), strict=True
            )
            for trace in _bands(curves, name, which, colour=colour, dash=dash)
        ],
        layout=_over_rounds(curves.metric, curves.rounds),
    )


def _bands(
    curves: Curves, name: str, which: Callable[[Curve], Values], *, colour: str, dash: str
) -> Iterator[JSON]:
    found = zip(curves.rounds, curves.over_sites(which), strict=True)
    there = {number: values for number, values in found if values}
    if not there:
        return
    fifths = [_five(values) for values in there.values()]
    for low, high, share in ((0, 4, 0.12), (1, 3, 0.3)):
        outline = [five[high] for five in fifths] + [five[low] for five in reversed(fifths)]
        yield {
            "type": "scatter",
            "x": [*there, *reversed(there)],
            "y": digits(outline),
            "fill": "toself",
            "fillcolor": faint(colour, share),
            "line": {"width": 0},
            "mode": "lines",
            "hoverinfo": "skip",
            "legendgroup": name,
            "showlegend": False,
        }
    yield {
        "type": "scatter",
        "x": list(there),
        "y": digits(five[2] for five in fifths),
        "name": f"{name}, median",
        "legendgroup": name,
        "mode": "lines",
        "line": {"color": colour, "dash": dash, "width": 2},
    }


def _five(values: Sequence[float]) -> tuple[float, ...]:
    """The least, the quartiles and the most of them; they come in order."""
    if len(values) == 1:
        return (values[0],) * 5
    return (values[0], *quantiles(values, method="inclusive"), values[-1])


def _map(curves: Curves, name: str, which: Callable[[Curve], Values]) -> Chart | None:
    if not any(value is not None for curve in curves.sites for value in which(curve)):
        return None
    low, high = _range(curves)
    return Chart(
        title=f"{curves.metric}: {name}, by site and round",
        caption="White, or black at night: nothing was reported, or what is no number.",
        traces=[
            {
                "type": "heatmap",
                "x": list(curves.rounds),
                "y": [said(curve.site) for curve in curves.sites],
                "z": [digits(which(curve)) for curve in curves.sites],
                "colorscale": SCALE,
                "zmin": low,
                "zmax": high,
                "hovertemplate": "%{y}, round %{x}: %{z}<extra></extra>",
            }
        ],
        layout={
            "height": rows_high(len(curves.sites)),
            "xaxis": round_axis(curves.rounds),
            "yaxis": {"autorange": "reversed", "type": "category", "dtick": 1},
        },
    )


def _range(curves: Curves) -> tuple[float, float]:
    """All but the outermost hundredth, for both maps: one that went astray leaves colours."""
    values = sorted(
        value
        for curve in curves.sites
        for value in (*curve.trained, *curve.received)
        if value is not None
    )
    edge = len(values) // 100
    return values[edge], values[-1 - edge]


def _over_rounds(metric: str, rounds: Sequence[int]) -> JSON:
    return {"xaxis": round_axis(rounds), "yaxis": {"title": {"text": said(metric)}}}


def evaluated(scores: EvaluatedScores, best: BestRound | None, *, split: str) -> Chart | None:
    """Mean and worst of the rounds that all sites scored, with each site's score.

    `split`: what the run's own evaluations are on, of which the best round is the best.
    """
    # Evaluations come as they were asked for: an older round's may be the newest of them.
    newest = {row.round: row for row in scores.rows if row.round is not None}
    if not newest:
        return None
    rounds = sorted(newest)
    rows = [newest[number] for number in rounds]
    kinds = (("mean", "circle", "solid", BLUE), ("worst", "triangle-down", "dash", ORANGE))
    traces = [_sites(rows)]
    for name, mark, dash, colour in kinds:
        line = {"color": colour, "dash": dash, "width": 2}
        shown = {"symbol": mark, "size": 8}
        values = digits(row.mean if name == "mean" else row.worst for row in rows)
        common: JSON = {"type": "scatter", "mode": "lines+markers", "x": rounds, "name": name}
        traces.append({**common, "y": values, "line": line, "marker": shown})
    here = ("evaluation", scores.metric, scores.split)
    if best is not None and (best.by, best.metric, split) == here:
        traces.append(_best(best))
    return Chart(
        title=of_which(scores.metric, scores.split),
        caption="All sites scored the same weights, those of the end of the round; of a round that "
        "was evaluated more than once, the newest scores. Mean, weighted by samples, and the worst "
        "site; each site is a small mark.",
        traces=traces,
        layout=_over_rounds(scores.metric, rounds),
    )


def _sites(rows: Sequence[EvaluatedRow]) -> JSON:
    each = [(row.round, score) for row in rows for score in row.sites]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [number for number, _ in each],
        "y": digits(score.value for _, score in each),
        "text": [said(score.site) for _, score in each],
        "hovertemplate": "%{text}, round %{x}: %{y}<extra></extra>",
        "name": "a site",
        "marker": {"color": GREY, "size": 4, "opacity": 0.6},
    }


def _best(best: BestRound) -> JSON:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [best.round],
        "y": digits([best.value]),
        "name": "best round",
        "marker": {"symbol": "star-open", "size": 18, "color": GREEN, "line": {"width": 3}},
    }
