"""A view of a run in a terminal or a notebook: legible from 80 columns on."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tasuki.observe.printable import one_line
from tasuki_cli.columns import number
from tasuki_cli.display.seen_scores import Trend
from tasuki_cli.display.turn_out import Progress
from tasuki_cli.display.view import MOST_VALUES, LaneLine, SiteRow, View

ROUNDS_BAR, TURN_BAR = 40, 20
"""Columns of a bar."""

ARROWS = {1: " ↑", -1: " ↓", 0: "  "}
BETTER, WORSE = "cyan", "yellow"  # told apart by those who do not tell red from green


def draw(view: View) -> RenderableType:
    return Group(*_parts(view))


def _parts(view: View) -> Iterator[RenderableType]:
    yield _line((view.run, "bold"), f"  {view.status}  {view.head}")
    share = min(1.0, view.done / max(view.rounds, 1))
    yield _line(*_bar(share, ROUNDS_BAR), f" {share:.0%}", f"  {view.left}" if view.left else "")
    yield _table(view)
    yield from (_lane(lane) for lane in view.lanes)
    if view.doing:
        yield _turn(view.doing, view.progress)
    yield from (Text(said) for said in (view.scoring, view.evaluated, view.by_round) if said)
    yield from (Text(f"! {notice}", style=WORSE) for notice in view.notices)
    if view.unseen:
        yield Text(f"! and {view.unseen} older", style="dim")
    if view.reason:
        yield Text(f"reason: {view.reason}", style="red")


def _line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _bar(share: float, width: int) -> tuple[tuple[str, str], tuple[str, str]]:
    done = int(share * width)
    return ("━" * done, "magenta"), ("─" * (width - done), "dim")


def _lane(lane: LaneLine) -> Text:
    if lane.is_late:
        return _line(f"{lane.name}  {lane.place}  ", (lane.doing, WORSE))
    return _line(f"{lane.name}  {lane.place}  ", *_at(lane.doing, lane.progress))


def _turn(doing: str, now: Progress) -> Text:
    return _line(*_at(doing, now))


def _at(doing: str, now: Progress) -> Iterator[str | tuple[str, str]]:
    """What a turn is at, and how far it is."""
    values = [f"{one_line(name)} {value:.4g}" for name, value in sorted(now.values.items())]
    said = "  ".join([*filter(None, [now.told]), *values[:MOST_VALUES]])
    yield doing
    if now.share is not None:
        yield from ("  ", *_bar(now.share, TURN_BAR))
    yield (f"  {said}", "green")


def _table(view: View) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("site", no_wrap=True, vertical="bottom")
    for kind in view.kinds:
        table.add_column(Text(f"{kind}  \n{view.metric}  "), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, overflow="ellipsis")
    for row in view.rows:
        table.add_row(*_cells(view, row), style="bold magenta" if row.holds else None)
    if view.more:
        table.add_row("", Text(f"... and {view.more} more", style="dim"))
    return table


def _cells(view: View, row: SiteRow) -> Iterator[Text]:
    yield Text(row.mark)
    yield Text(row.site)
    for kind in view.kinds:
        yield _score(row.scores.get(kind), less_is_better=view.less_is_better)
    yield Text(row.news, style="yellow")


def _score(trend: Trend | None, *, less_is_better: bool) -> Text:
    if trend is None:
        return Text("-  ", style="dim")
    is_better = (trend.change < 0) is less_is_better
    return Text.assemble(
        number(trend.value), (ARROWS[trend.change], BETTER if is_better else WORSE)
    )
