"""`tasuki turns`: every turn of a run, as a table, as CSV or as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from tasuki.disk.writing import write_whole
from tasuki.errors import SettingsError
from tasuki.observe.printable import headline, shortened
from tasuki_cli.columns import (
    Column,
    how_many_fit,
    number,
    short_name,
    table_of,
)
from tasuki_cli.records import Archive, print_json
from tasuki_controller.documents import TurnRow, TurnTable
from tasuki_controller.metric_names import base_name, metric_to_show, metrics_of
from tasuki_report.csv_text import NO_NUMBER
from tasuki_report.turn_csv import csv_of

MOST_NAMED = 8
MOST_REASON = 24


def show(run: str, archive: Archive, *, as_csv: bool, output: Path | None, as_json: bool) -> None:
    """A row for each turn; `output`: a file for the CSV."""
    if as_json and (as_csv or output is not None):
        raise SettingsError("give --csv or --json, not both; -o FILE is for CSV")
    table = archive.turns(run)
    if as_json:
        print_json(table)
    elif output is not None:
        write_whole(output, csv_of(table).encode())
        Console().print(Text(f"{output}: {len(table.turns)} turns of {run}"), soft_wrap=True)
    elif as_csv:
        typer.echo(csv_of(table), nl=False)
    else:
        _show_table(table, Console(highlight=False))


def _show_table(table: TurnTable, console: Console) -> None:
    if not table.turns:
        console.print(f"{table.run}: no turn is over yet")
        return
    first, last = _needed(table)
    digests = _digests(table.turns)
    metrics = _metric_columns(table)
    bases = list(metrics)
    # Digests give way to the first metric, and to no other.
    wanted = [*list(metrics.values())[:1], digests, *list(metrics.values())[1:]]
    count = how_many_fit([*first, *last], wanted, width=console.width)
    shown = [group for group in wanted[:count] if group is not digests]
    columns = [column for group in shown for column in group]
    tail = digests if digests in wanted[:count] else []
    console.print(table_of([*first, *columns, *tail, *last]), soft_wrap=True)
    _say_what_is_left_out(console, bases[len(shown) :], without_digests=not tail)


def _needed(table: TurnTable) -> tuple[list[Column], list[Column]]:
    turns = table.turns

    def told(value: object) -> str:
        return "-" if value is None else str(value)

    first = [
        Column(head="round", cells=[str(turn.round) for turn in turns]),
        *([Column(head="lane", cells=[str(turn.lane) for turn in turns])] * table.has_lanes),
        Column(head="turn", cells=[str(turn.turn) for turn in turns]),
        Column(head="site", cells=[turn.site for turn in turns], is_text=True),
        Column(head="samples", cells=[told(turn.samples) for turn in turns]),
        Column(
            head="seconds",
            cells=["-" if turn.seconds is None else f"{turn.seconds:.1f}" for turn in turns],
        ),
    ]
    notes = [_note(turn) for turn in turns]
    return first, [Column(head="", cells=notes, is_text=True)] if any(notes) else []


def _note(turn: TurnRow) -> str:
    if turn.skipped:
        return f"skipped: {shortened(headline(turn.skipped), MOST_REASON)}"
    return "unchanged" if turn.unchanged else ""


def _digests(turns: Sequence[TurnRow]) -> list[Column]:
    def short(digest: str | None) -> str:
        return "-" if digest is None else digest.partition(":")[2][:8]

    return [
        Column(head="received\nweights", cells=[short(turn.received) for turn in turns]),
        Column(head="sent\nweights", cells=[short(turn.sent) for turn in turns]),
    ]


def _metric_columns(table: TurnTable) -> dict[str, list[Column]]:
    """By what they measure: of the weights received, and of those trained."""
    names = metrics_of(table)
    groups: dict[str, list[Column]] = {}
    for name in metrics_of(table, first=metric_to_show(names, table.best)):
        base = base_name(name)
        head = short_name(base) if name == base else f"received\n{short_name(base)}"
        cells = [_cell(turn.metrics, name) for turn in table.turns]
        groups.setdefault(base, []).append(Column(head=head, cells=cells))
    return groups


def _cell(values: Mapping[str, float | None], metric: str) -> str:
    value = values.get(metric)
    return NO_NUMBER if metric in values and value is None else number(value)


def _say_what_is_left_out(
    console: Console, metrics: Sequence[str], *, without_digests: bool
) -> None:
    named = [short_name(name) for name in metrics[:MOST_NAMED]]
    if len(metrics) > MOST_NAMED:
        named.append(f"{len(metrics) - MOST_NAMED} more")
    if without_digests:
        named.append("digests")
    if named:
        said = f"no room for: {', '.join(named)}; --csv and --json have all"
        console.print(Text(said), style="dim")
