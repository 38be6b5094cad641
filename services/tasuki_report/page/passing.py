"""The chart of who had the weights when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from tasuki_report.numbers.timeline import How, Spell, Timeline
from tasuki_report.page.chart import JSON, ROW, Chart, said
from tasuki_report.page.palette import BLUE, GREY, ORANGE, PURPLE, SKY, VERMILLION

_LOOKS: Mapping[str, tuple[str, int]] = {
    "waited": (GREY, 3),
    How.TRAINED: (BLUE, 9),
    How.UNDONE: (SKY, 5),
    How.FAILED: (VERMILLION, 7),
    How.SILENT: (ORANGE, 7),
    How.RETURNED: (PURPLE, 7),
}
"""Colour and thickness of what a site did; no two have both alike in grey."""

_MARKS: Mapping[str, str] = {
    How.FAILED: "x",
    How.SILENT: "hourglass",
    How.RETURNED: "triangle-left",
}
LEAST_SHARE = 1 / 1500
"""Of the whole time: what was shorter is drawn as if it had taken so long, to be seen at all."""


def timeline(of: Timeline) -> Chart | None:
    """A row for each site; a bar for each spell with the weights."""
    if not of.spells:
        return None
    sites = of.sites
    places = {site: number for number, site in enumerate(sites)}
    least = LEAST_SHARE * (of.spells[-1].until - of.spells[0].since).total_seconds() * 1000
    return Chart(
        title="Who had the weights when",
        caption="A thin bar: the weights were on their way to the site, or waited there. A thick "
        "one: it trained. Times are those at which the controller learned of it; how long a "
        "training took is what its site says. However short, a turn can be seen.",
        traces=[
            *(_bars(how, of.spells, places, least=least) for how in _there(of)),
            *_ends(of.spells, places),
            *_skips(of, places),
        ],
        layout={
            "height": max(240, 110 + ROW * len(sites)),
            "xaxis": {"type": "date", "title": {"text": "time (UTC)"}},
            "yaxis": {
                "tickvals": list(range(len(sites))),
                "ticktext": [said(site) for site in sites],
                "range": [len(sites) - 0.3, -0.7],
                "zeroline": False,
            },
        },
    )


def _there(of: Timeline) -> list[str]:
    ways = {spell.how for spell in of.spells}
    return ["waited", *(how for how in How if how in ways)]


def _bars(how: str, spells: Sequence[Spell], places: Mapping[str, int], *, least: float) -> JSON:
    colour, thick = _LOOKS[how]
    x: list[float | None] = []
    y: list[int | None] = []
    about: list[list[float] | None] = []
    for spell, begins, ends in _parts(how, spells):
        x += [_ms(begins), max(_ms(ends), round(_ms(begins) + least)), None]
        y += [places[spell.site]] * 2 + [None]
        about += [[spell.round, spell.turn, round((ends - begins).total_seconds(), 3)]] * 2
        about.append(None)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "on its way, or waited" if how == "waited" else str(how),
        "x": x,
        "y": y,
        "customdata": about,
        "line": {"color": colour, "width": thick, "simplify": False},
        "hovertemplate": "round %{customdata[0]}, turn %{customdata[1]}: %{customdata[2]} s",
    }


def _parts(how: str, spells: Sequence[Spell]) -> Iterator[tuple[Spell, datetime, datetime]]:
    for spell in spells:
        if how == "waited" and spell.began is not None and spell.began > spell.since:
            yield spell, spell.since, spell.began
        elif spell.how == how:
            yield spell, spell.began or spell.since, spell.until


def _ends(spells: Sequence[Spell], places: Mapping[str, int]) -> Iterator[JSON]:
    """A mark where a spell ended badly: colours are not all."""
    for how, mark in _MARKS.items():
        ended = [spell for spell in spells if spell.how == how]
        if ended:
            looks = {"symbol": mark, "size": 9, "color": _LOOKS[how][0]}
            words = [f"round {s.round}, turn {s.turn}" for s in ended]
            where = [(_ms(s.until), places[s.site]) for s in ended]
            yield _marks(str(how), where, words, {**looks, "line": {"width": 1}}, is_known=False)


def _skips(of: Timeline, places: Mapping[str, int]) -> Iterator[JSON]:
    if of.skipped:
        looks = {"symbol": "x-thin", "size": 9, "color": VERMILLION, "line": {"width": 2}}
        words = [said(f"round {s.round}, turn {s.turn}: {s.reason}") for s in of.skipped]
        where = [(_ms(s.at), places[s.site]) for s in of.skipped]
        yield _marks("skipped", where, words, looks, is_known=True)


def _marks(
    name: str,
    where: Sequence[tuple[int, int]],
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
