"""What a run looks like in a terminal: the ring, who holds the weights, rounds, what is logged."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from operator import itemgetter

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tasuki.core.model import TurnRecord
from tasuki.core.report import TurnProgressed
from tasuki.core.run import (
    OVER,
    RunState,
    Skip,
    Status,
    TurnFailed,
    TurnFinished,
    why_not_again,
)
from tasuki.core.scores import RECEIVED
from tasuki.observe.printable import headline, printable
from tasuki_cli.columns import number
from tasuki_controller.news import HeldUp, TurnOut, Update
from tasuki_controller.turn_now import TurnNow, doing, trouble

MOST_SITES = 12
MOST_METRICS = 6
UNCHANGED = "trained nothing: it handed on exactly what it received"


class RunDisplay:
    """Shows one run while it goes on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state: RunState | None = None
        self._values: Mapping[str, float] = {}
        self._told: set[str] = set()
        self._beat: tuple[TurnProgressed, float] | None = None  # the newest, and when it came
        self._held_since = time.monotonic()  # by whoever has the turn that is out
        self._held_up = ""
        self._trouble_told: str | bool = False  # what was told of the turn's trouble last
        self._live = Live(console=console, refresh_per_second=8, get_renderable=self.render)

    def __enter__(self) -> RunDisplay:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def watch(self, update: Update) -> None:
        """Take in what happened."""
        before = self._state
        if update.run is not None:
            if self._state is None or self._state.expected != update.run.expected:
                self._beat, self._held_since = None, time.monotonic()
            self._note(self._state, update.run)
            self._state = update.run
        match update.what:
            case TurnProgressed(values=values) if not update.outcome:
                self._values = values
                self._beat = (update.what, time.monotonic())
            case TurnOut(held_s=held_s):
                self._held_since = time.monotonic() - held_s
            case HeldUp(reason=reason):
                self._held_up = reason
            case TurnFinished(record=record) if not update.outcome:
                self._values = {}
                if not self._console.is_terminal:  # there is no ring in which it would show
                    self.print(record.site, _turn_line(record, self._state))
                if record.is_unchanged:
                    self.print(record.site, f"{UNCHANGED} in round {record.id.round + 1}")
            case TurnFailed() if not update.outcome:
                self._tell_failure(update.what, before)
        self._tell_trouble()

    def print(self, site: str, line: str) -> None:
        """A line of a trainer's, above the display."""
        if self._console.is_terminal:
            self._console.print(Text.assemble((f"{site} ", "cyan"), line), soft_wrap=True)
        else:  # a trainer that prints a lot waits for this
            self._console.file.write(f"{site} {line}\n")
            self._console.file.flush()

    def _tell_failure(self, failed: TurnFailed, before: RunState | None) -> None:
        self.print(failed.site, printable(f"{failed.error}: {self._once(failed.detail)}"))
        if before is not None and (said := why_not_again(before.relay, failed)):
            self.print(failed.site, said)

    def _once(self, detail: str) -> str:
        """All of it the first time; an attempt that fails as the last one is a line."""
        if detail in self._told:
            return f"{headline(detail)} (as before)"
        self._told.add(detail)
        return detail

    def _note(self, before: RunState | None, state: RunState) -> None:
        """What an operator must not miss stays above the display, where it does not scroll by."""
        for skip in state.skipped[len(before.skipped) if before else 0 :]:
            said = f"skipped in round {skip.round + 1}: {skip.reason}"
            self.print(skip.site, printable(said))
        is_new = before is None or (before.status, before.reason) != (state.status, state.reason)
        if is_new and state.reason and state.status not in OVER:
            self.print(state.plan.run, printable(_standing(state)))
        elif before is not None and before.reason and not state.reason:
            self.print(state.plan.run, "goes on")

    def _tell_trouble(self) -> None:
        """Once when it begins and once when it ends; how long it lasts is in the display."""
        state = self._state
        if state is None or state.status in OVER:
            return
        found = self._find_trouble(state)
        before, self._trouble_told = self._trouble_told, self._held_up or bool(found)
        if self._trouble_told == before:
            return
        if found:
            self.print(state.plan.run, printable(found))
        elif not state.reason:
            self.print(state.plan.run, "goes on")

    def _find_trouble(self, state: RunState) -> str:
        """What the state itself does not tell: that comes first."""
        return self._held_up if state.reason else trouble(state, self._turn_now())

    def _turn_now(self) -> TurnNow:
        now = time.monotonic()
        held_s = now - self._held_since
        if self._beat is None:
            return TurnNow(held_s=held_s, held_up=self._held_up)
        beat, at = self._beat
        silent_s = now - at
        return TurnNow(
            phase=beat.phase,
            still_s=beat.still_s + silent_s,
            silent_s=silent_s,
            held_s=held_s,
            held_up=self._held_up,
        )

    def render(self) -> RenderableType:
        """What is shown now."""
        state = self._state
        if state is None:
            return Text("starting ...", style="dim")
        done = f"round {min(state.round + 1, state.plan.task.rounds)} of {state.plan.task.rounds}"
        head = Text.assemble(
            (f"{state.plan.run} ", "bold"), f"{state.status}  {done}  {state.turns} turns accepted"
        )
        for said in filter(None, (state.reason, self._find_trouble(state))):
            head.append(f"  {printable(headline(said))}", style="yellow")
        does = doing(state.holder or "", self._turn_now().phase)
        values = Text(f"  {does}{_shown(self._values)}".rstrip(), style="green")
        return Group(head, self._ring(state), values)

    def _ring(self, state: RunState) -> Text:
        ring = Text("  ")
        first = max(0, min(state.hop - MOST_SITES // 2, len(state.itinerary) - MOST_SITES))
        passed = {(skip.hop, skip.site) for skip in state.skipped if skip.round == state.round}
        for hop, site in list(enumerate(state.itinerary))[first : first + MOST_SITES]:
            holds = hop == state.hop and state.status is Status.RELAYING
            done = "✗" if (hop, site) in passed else "✓"
            mark = "●" if holds else done if hop < state.hop else "○"
            ring.append(f"{mark} {site}", style="bold magenta" if holds else "dim")
            ring.append("  →  " if hop + 1 < len(state.itinerary) else "  ↺", style="dim")
        return ring


def turns_table(records: Sequence[TurnRecord], skipped: Sequence[Skip], metric: str) -> Table:
    """Each turn: round, site, what was received, what was handed on, how long it took."""
    table = Table(box=None, header_style="bold")
    shown = printable(metric)  # a site may have named it
    for name in ("round", "site", f"received {shown}", f"trained {shown}", "seconds"):
        table.add_column(Text(name), justify="left" if name == "site" else "right")
    # Skipped turns first: one that was left out when its round was planned has a hop that another
    # site's turn has as well, and would have come before it.
    rows: list[tuple[tuple[int, int], tuple[str | Text, ...]]] = [
        ((skip.round, skip.hop), _skip_row(skip)) for skip in skipped
    ]
    rows += [((record.id.round, record.id.hop), _turn_row(record, metric)) for record in records]
    for _, row in sorted(rows, key=itemgetter(0)):
        table.add_row(*row)
    return table


def also(skipped: int, unchanged: int) -> str:
    """What a run's line says beside its turns, where there is any of it."""
    counts = ((skipped, "skipped"), (unchanged, "handed on unchanged"))
    return "".join(f", {count} {what}" for count, what in counts if count)


def _turn_row(record: TurnRecord, metric: str) -> tuple[str, ...]:
    received, trained = record.metrics.get(RECEIVED + metric), record.metrics.get(metric)
    shown = (number(received), number(trained), f"{record.seconds:.1f}")
    site = f"{record.site} (unchanged)" if record.is_unchanged else record.site
    return (str(record.id.round + 1), site, *shown)


def _skip_row(skip: Skip) -> tuple[str | Text, ...]:
    reason = Text(printable(skip.reason))  # the site's own words, not markup
    return (str(skip.round + 1), skip.site, "skipped", reason, "-")


def _turn_line(record: TurnRecord, state: RunState | None) -> str:
    """A turn that is over, for a log in which nothing moves."""
    of = f" of {state.plan.task.rounds}" if state else ""
    metrics = sorted(record.metrics.items())[:MOST_METRICS]
    shown = ", ".join(f"{printable(name)} {value:.4g}" for name, value in metrics)
    more = ", ..." if len(record.metrics) > MOST_METRICS else ""
    said = f"round {record.id.round + 1}{of} done in {record.seconds:.1f} s"
    return f"{said}: {shown}{more}" if shown else said


def _standing(state: RunState) -> str:
    reason = headline(state.reason)
    return reason if state.status is Status.RELAYING else f"{state.status}: {reason}"


def _shown(values: Mapping[str, float]) -> str:
    return "  " + "  ".join(
        f"{printable(name)} {value:.4g}" for name, value in sorted(values.items())
    )
