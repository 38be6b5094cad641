"""A notebook's cell shows a run as a terminal does, and keeps what it showed last."""

from __future__ import annotations

from threading import Event

from rich.text import Text

from tasuki_cli.display import notebook
from tasuki_cli.display.notebook import NotebookScreen


class Cell:
    """What was put up, and what replaced it."""

    def __init__(self) -> None:
        self.pages: list[str] = []
        self.was_replaced = Event()

    def show(self, page: str) -> None:
        self.pages.append(page)

    def replace(self, page: str) -> None:
        self.pages.append(page)
        self.was_replaced.set()


def screen(cell: Cell, says: list[str]) -> NotebookScreen:
    def show(page: str) -> notebook.Replace:
        cell.show(page)
        return cell.replace

    return NotebookScreen(lambda: Text(says[-1]), width=40, show=show)


def test_a_cell_shows_what_is_so_now_in_the_place_of_what_was() -> None:
    cell, says = Cell(), ["round 1"]
    shown = screen(cell, says)
    shown.start()
    says.append("round 2")
    assert cell.was_replaced.wait(20)
    says.append("over")
    shown.stop()
    assert ["round 1", "round 2", "over"] == [
        word for page in cell.pages for word in says if word in page
    ]


def test_what_sites_say_is_no_html() -> None:
    cell = Cell()
    shown = screen(cell, ["<script>alert(1)</script>"])
    shown.start()
    shown.stop()
    assert "<script>" not in cell.pages[-1]
    assert "&lt;script&gt;" in cell.pages[-1]
