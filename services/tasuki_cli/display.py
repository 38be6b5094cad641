"""What a run looks like in a terminal: the ring, who holds the weights, rounds, what is logged."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tasuki.core.model import TurnRecord
from tasuki.core.report import TurnProgressed
from tasuki.core.run import RunState, Status, TurnFailed, TurnFinished
from tasuki_controller.service import Update

RECEIVED = "received_"
MOST_SITES = 12


class RunDisplay:
    """Shows one run while it goes on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state: RunState | None = None
        self._values: Mapping[str, float] = {}
        self._records: list[TurnRecord] = []
        self._live = Live(console=console, refresh_per_second=8, get_renderable=self._render)

    def __enter__(self) -> RunDisplay:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def watch(self, update: Update) -> None:
        """Take in what happened."""
        if update.run is not None:
            self._state = update.run
        match update.what:
            case TurnProgressed(values=values):
                self._values = values
            case TurnFinished(record=record) if not update.outcome:
                self._values = {}
                self._records.append(record)
            case TurnFailed(site=site, error=error, detail=detail) if not update.outcome:
                self.print(site, f"{error}: {detail}")

    def print(self, site: str, line: str) -> None:
        """A line of a trainer's, above the display."""
        self._console.print(Text.assemble((f"{site} ", "cyan"), line), soft_wrap=True)

    def _render(self) -> RenderableType:
        state = self._state
        if state is None:
            return Text("starting ...", style="dim")
        done = f"round {min(state.round + 1, state.plan.task.rounds)} of {state.plan.task.rounds}"
        head = Text.assemble(
            (f"{state.plan.run} ", "bold"), f"{state.status}  {done}  {state.turns} turns accepted"
        )
        if state.reason:
            head.append(f"  {state.reason}", style="yellow")
        return Group(head, self._ring(state), Text(_shown(self._values), style="green"))

    def _ring(self, state: RunState) -> Text:
        ring = Text("  ")
        first = max(0, min(state.hop - MOST_SITES // 2, len(state.itinerary) - MOST_SITES))
        for hop, site in list(enumerate(state.itinerary))[first : first + MOST_SITES]:
            holds = hop == state.hop and state.status is Status.RELAYING
            mark = "●" if holds else "✓" if hop < state.hop else "○"
            ring.append(f"{mark} {site}", style="bold magenta" if holds else "dim")
            ring.append("  →  " if hop + 1 < len(state.itinerary) else "  ↺", style="dim")
        return ring


def turns_table(records: list[TurnRecord], metric: str) -> Table:
    """Each turn: round, site, what was received, what was handed on, how long it took."""
    table = Table(box=None, header_style="bold")
    for name in ("round", "site", f"received {metric}", f"trained {metric}", "seconds"):
        table.add_column(name, justify="left" if name == "site" else "right")
    for record in records:
        table.add_row(
            str(record.id.round + 1),
            record.site,
            _number(record.metrics.get(RECEIVED + metric)),
            _number(record.metrics.get(metric)),
            f"{record.seconds:.1f}",
        )
    return table


def _shown(values: Mapping[str, float]) -> str:
    return "  " + "  ".join(f"{name} {value:.4g}" for name, value in sorted(values.items()))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
