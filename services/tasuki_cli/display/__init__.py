"""What a run looks like: while it goes on, and as a table of its turns when it is over."""

from tasuki_cli.display.show import RunDisplay
from tasuki_cli.display.turns_table import also, turns_table

__all__ = ["RunDisplay", "also", "turns_table"]
