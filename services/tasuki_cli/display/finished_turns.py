"""Every turn of a run that is over, or was left: a row for each."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from rich.table import Table
from rich.text import Text

from tasuki.core.model import TurnRecord
from tasuki.core.run import Skip
from tasuki.core.scores import RECEIVED
from tasuki.observe.printable import printable
from tasuki_cli.columns import number


def turns_table(records: Sequence[TurnRecord], skipped: Sequence[Skip], metric: str) -> Table:
    """Each turn: round, site, what was received, what was handed on, how long it took."""
    table = Table(box=None, header_style="bold")
    shown = printable(metric)  # a site may have named it
    has_lanes = any(skip.lane for skip in skipped) or any(record.id.lane for record in records)
    lane = ("lane",) if has_lanes else ()
    for name in ("round", *lane, "site", f"received {shown}", f"trained {shown}", "seconds"):
        table.add_column(Text(name), justify="left" if name == "site" else "right")
    # Skipped turns first: one that was left out when its round was planned has a hop that another
    # site's turn has as well, and would have come before it.
    rows: list[tuple[tuple[int, int, int], tuple[str | Text, ...]]] = [
        ((skip.round, skip.lane, skip.hop), _skip_row(skip)) for skip in skipped
    ]
    ids = [(record.id.round, record.id.lane, record.id.hop) for record in records]
    rows += zip(ids, (_turn_row(record, metric) for record in records), strict=True)
    for (round, at, _), row in sorted(rows, key=itemgetter(0)):
        table.add_row(str(round + 1), *([str(at + 1)] if has_lanes else []), *row)
    return table


def also(skipped: int, unchanged: int) -> str:
    """What a run's line says beside its turns, where there is any of it."""
    counts = ((skipped, "skipped"), (unchanged, "handed on unchanged"))
    return "".join(f", {count} {what}" for count, what in counts if count)


def _turn_row(record: TurnRecord, metric: str) -> tuple[str, ...]:
    received, trained = record.metrics.get(RECEIVED + metric), record.metrics.get(metric)
    shown = (number(received), number(trained), f"{record.seconds:.1f}")
    site = f"{record.site} (unchanged)" if record.is_unchanged else record.site
    return (site, *shown)


def _skip_row(skip: Skip) -> tuple[str | Text, ...]:
    reason = Text(printable(skip.reason))  # the site's own words, not markup
    return (skip.site, "skipped", reason, "-")
