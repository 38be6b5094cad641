"""Tables that stay legible in a narrow terminal: a column is there if there is room for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from tasuki.observe.printable import shortened

GAP = 2

MOST_NAME = 16
"""A name that others chose is cut in a head: it is whole where machines read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A head, which may have two lines, and a cell of one line for each row."""

    head: str
    cells: Sequence[str]
    is_text: bool = False

    @property
    def width(self) -> int:
        return max(map(cell_len, (*self.head.splitlines(), *self.cells)), default=0)


def how_many_fit(
    needed: Iterable[Column], wanted: Sequence[Sequence[Column]], *, width: int
) -> int:
    """How many of the wanted groups, the first before the others, fit beside those needed."""
    left = width + GAP - sum(column.width + GAP for column in needed)
    for count, group in enumerate(wanted):
        left -= sum(column.width + GAP for column in group)
        if left < 0:
            return count
    return len(wanted)


def table_of(columns: Sequence[Column]) -> Text:
    """Side by side, a line for each row: ten thousand of them take no time, and grep finds one."""
    heads = [column.head.splitlines() or [""] for column in columns]
    tall = max(map(len, heads))
    above = zip(*([""] * (tall - len(head)) + head for head in heads), strict=True)
    rows = zip(*(column.cells for column in columns), strict=True)
    widths = [(column.width, column.is_text) for column in columns]
    head, body = ("\n".join(_line(row, widths) for row in lines) for lines in (above, rows))
    return Text.assemble((head, "bold"), "\n", body)


def _line(cells: Sequence[str], widths: Sequence[tuple[int, bool]]) -> str:
    padded = []
    for cell, (width, is_text) in zip(cells, widths, strict=True):
        blank = " " * (width - cell_len(cell))
        padded.append(cell + blank if is_text else blank + cell)
    return (" " * GAP).join(padded).rstrip()


def short_name(name: str) -> str:
    """A name that others chose, on one line of a head."""
    return shortened(name, MOST_NAME)


def number(value: float | None) -> str:
    """As an accuracy is written; a loss that would be nothing but zeros keeps its digits."""
    if value is None:
        return "-"
    return f"{value:.4f}" if value == 0 or 0.001 <= abs(value) < 1e6 else f"{value:.4g}"
