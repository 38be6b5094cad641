"""The chart of who had the weights when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from tasuki_report.numbers.timeline import How, Skipped, Spell, Timeline
from tasuki_report.page.chart import JSON, ROW, Chart, said
from tasuki_report.page.palette import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION

WAITED, SCORED = "on its way, or waited", "scored"
_LOOKS: Mapping[str, tuple[str, int]] = {
    WAITED: (GREY, 3),
    How.TRAINED: (BLUE, 9),
    How.UNDONE: (SKY, 5),
    How.FAILED: (VERMILLION, 7),
    How.SILENT: (ORANGE, 7),
    How.RETURNED: (PURPLE, 7),
    SCORED: (GREEN, 13),
}
"""Colour and thickness of what a site did; no two have both alike in grey."""

_MARKS: Mapping[str, str] = {
    How.FAILED: "x",
    How.SILENT: "hourglass",
    How.RETURNED: "triangle-left",
}
LINE = 0.75
"""How high a lane's line is, of the row of a site that has no more than one."""

LEAST_SHARE = 1 / 1500
"""Of the whole time: what was shorter is drawn as if it had taken so long, to be seen at all."""


def timeline(of: Timeline) -> Chart | None:
    """A row for each site with a line for each lane; a bar for each spell with the weights."""
    if not of.spells:
        return None
    sites, places = of.sites, Places(of)
    least = LEAST_SHARE * (of.spells[-1].until - of.spells[0].since)
    return Chart(
        title="Who had the weights when",
        caption="A thin bar: the weights were on their way to the site, or waited there. A thick "
        "one: it trained. A tall tick: it scored in an evaluation. Times are those at which the "
        "controller learned of it; how long a training took is what its site says. However short, "
        "a turn can be seen." + _lines_of(of.lanes),
        traces=[
            *map(_key, _there(of)),
            _about(of.spells, places, lanes=of.has_lanes),
            *_ends(of.spells, places, lanes=of.has_lanes),
            *_skips(of, places),
        ],
        layout={
            "height": round(max(240, 110 + ROW * len(sites) * max(1, LINE * of.lanes))),
            "shapes": [_bars(how, of, places, least=least) for how in _there(of)],
            "xaxis": {"type": "date", "title": {"text": "time (UTC)"}},
            "yaxis": {
                "tickvals": list(range(len(sites))),
                "ticktext": [said(site) for site in sites],
                "range": [len(sites) - 0.3, -0.7],
                "zeroline": False,
            },
            "showlegend": True,
        },
    )


class Places:
    """Where in the chart a site's row is, and in it the line of a lane."""

    def __init__(self, of: Timeline) -> None:
        self._rows = {site: number for number, site in enumerate(of.sites)}
        self._lanes = of.lanes

    def __call__(self, of: Spell | Skipped) -> float:
        below = (of.lane - (self._lanes + 1) / 2) / self._lanes
        return round(self._rows[of.site] + 0.8 * below, 4)

    def middle(self, site: str) -> float:
        return self._rows[site]


def _lines_of(lanes: int) -> str:
    if lanes == 1:
        return ""
    return f" Each site has {lanes} lines, one for each lane, the first at the top."


def _there(of: Timeline) -> list[str]:
    ways = {spell.how for spell in of.spells}
    return [WAITED, *(how for how in How if how in ways), *([SCORED] if of.scored else [])]


def _bars(how: str, of: Timeline, places: Places, *, least: timedelta) -> JSON:
    """All that are alike are one path: ten thousand elements would take a browser seconds."""
    colour, thick = _LOOKS[how]
    bars = [
        f"M{_moment(begins)},{place:g}H{_moment(max(ends, begins + least))}"
        for place, begins, ends in _parts(how, of, places)
    ]
    return {"type": "path", "path": "".join(bars), "line": {"color": colour, "width": thick}}


def _parts(how: str, of: Timeline, places: Places) -> Iterator[tuple[float, datetime, datetime]]:
    if how == SCORED:
        yield from ((places.middle(each.site), each.at, each.at) for each in of.scored)
    for spell in of.spells:
        if how == WAITED and spell.began is not None and spell.began > spell.since:
            yield places(spell), spell.since, spell.began
        elif spell.how == how:
            yield places(spell), spell.began or spell.since, spell.until


def _key(how: str) -> JSON:
    """What a kind of bar means, for the legend: a trace of nothing."""
    colour, thick = _LOOKS[how]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": str(how),
        "x": [None],
        "y": [None],
        "line": {"color": colour, "width": thick},
    }


def _about(spells: Sequence[Spell], places: Places, *, lanes: bool) -> JSON:
    """What is said of a bar: of where it ends, which is not drawn."""
    return {
        "type": "scatter",
        "mode": "none",
        "showlegend": False,
        "x": [_ms(spell.until) for spell in spells],
        "y": [places(spell) for spell in spells],
        "customdata": [
            [
                *(spell.round, _turn(spell, lanes=lanes), spell.how),
                *(round(spell.waited_s, 3), round(spell.held_s, 3)),
            ]
            for spell in spells
        ],
        "hovertemplate": "round %{customdata[0]}, turn %{customdata[1]}: %{customdata[2]} after "
        "%{customdata[4]} s, waited %{customdata[3]} s<extra></extra>",
    }


def _ends(spells: Sequence[Spell], places: Places, *, lanes: bool) -> Iterator[JSON]:
    """A mark where a spell ended badly: colours are not all."""
    for how, mark in _MARKS.items():
        ended = [spell for spell in spells if spell.how == how]
        if ended:
            looks = {"symbol": mark, "size": 9, "color": _LOOKS[how][0]}
            words = [f"round {s.round}, turn {_turn(s, lanes=lanes)}" for s in ended]
            where = [(_ms(s.until), places(s)) for s in ended]
            yield _marks(str(how), where, words, {**looks, "line": {"width": 1}}, is_known=False)


def _skips(of: Timeline, places: Places) -> Iterator[JSON]:
    if of.skipped:
        looks = {"symbol": "x-thin", "size": 9, "color": VERMILLION, "line": {"width": 2}}
        words = [
            said(f"round {s.round}, turn {_turn(s, lanes=of.has_lanes)}: {s.reason}")
            for s in of.skipped
        ]
        where = [(_ms(s.at), places(s)) for s in of.skipped]
        yield _marks("skipped", where, words, looks, is_known=True)


def _turn(of: Spell | Skipped, *, lanes: bool) -> int | str:
    """Which of its round, with its lane if there are several."""
    return f"{of.turn} of lane {of.lane}" if lanes else of.turn


def _marks(
    name: str,
    where: Sequence[tuple[int, float]],
    words: Sequence[str],
    looks: JSON,
    *,
    is_known: bool,
) -> JSON:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "showlegend": is_known,
        "x": [x for x, _ in where],
        "y": [y for _, y in where],
        "text": list(words),
        "marker": looks,
        "hovertemplate": f"{name}: %{{text}}<extra></extra>",
    }


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _moment(at: datetime) -> str:
    """As the library reads it in a path."""
    return at.strftime("%Y-%m-%d_%H:%M:%S.%f")[:-3]
