"""What a run looks like: while it goes on, and as a table of its turns when it is over."""

from tasuki_cli.display.finished_turns import also, turns_table
from tasuki_cli.display.show import RunDisplay

__all__ = ["RunDisplay", "also", "turns_table"]
