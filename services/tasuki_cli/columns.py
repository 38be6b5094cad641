"""Tables that stay legible in a narrow terminal: a column is there if there is room for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from tasuki.observe.printable import printable

GAP = 2
MOST_TEXT = 24
"""A column of text is folded where it is wider; one of numbers never is."""

MOST_NAME = 16
"""A name that others chose is cut in a head: it is whole where machines read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A head, which may have two lines, and a cell for each row."""

    head: str
    cells: Sequence[str]
    is_text: bool = False

    @property
    def width(self) -> int:
        lines = (*self.head.splitlines(), *self.cells)
        widest = max(map(cell_len, lines), default=0)
        return min(widest, MOST_TEXT) if self.is_text else widest


def how_many_fit(
    needed: Iterable[Column], wanted: Sequence[Sequence[Column]], *, width: int
) -> int:
    """How many of the wanted groups, the first before the others, fit beside those needed."""
    left = width - sum(column.width + GAP for column in needed)
    for count, group in enumerate(wanted):
        left -= sum(column.width + GAP for column in group)
        if left < 0:
            return count
    return len(wanted)


def table_of(columns: Sequence[Column]) -> Table:
    """Side by side. What the cells hold is text of others, not markup."""
    table = Table(box=None, header_style="bold", padding=(0, GAP, 0, 0))
    for column in columns:
        table.add_column(
            Text(column.head),
            justify="left" if column.is_text else "right",
            overflow="fold",
            max_width=column.width if column.is_text else None,
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, row))
    return table


def short_name(name: str) -> str:
    """A name that others chose, on one line of a head."""
    line = one_line(name)
    return line if len(line) <= MOST_NAME else f"{line[: MOST_NAME - 1]}…"


def one_line(text: str) -> str:
    """Words of others where only one line is: what would steer a terminal is spelled out."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def number(value: float | None) -> str:
    """As an accuracy is written; a loss that would be nothing but zeros keeps its digits."""
    if value is None:
        return "-"
    return f"{value:.4f}" if value == 0 or 0.001 <= abs(value) < 1e6 else f"{value:.4g}"
