"""A run shown while it goes on: in a terminal, in a notebook, or in lines where nothing moves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TextIO, cast

from rich.console import Console

from tasuki.observe.outlet import Outlet
from tasuki_cli.display import RunDisplay
from tasuki_python.happening import Item, Printed

BEAT_S = 0.5
"""How often whoever waits for what happens is let go, so that an interrupt is heard."""


def show_live(items: Iterator[Item | None]) -> None:
    """Until there are no more of them."""
    with RunDisplay(Console(file=cast("TextIO", Outlet(sys.stdout)))) as display:
        for item in items:
            if isinstance(item, Printed):
                display.print(item.site, item.line)
            elif item is not None:
                display.watch(item)
