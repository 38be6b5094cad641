"""What a controller consists of, and what it tells those who look on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tasuki.core.run import RunState
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.moments import UNWATCHED, Moments
from tasuki.ports import Clock, Transport
from tasuki.weights.spool import Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Something that an onlooker may want to show: a report, an event, and the run after it."""

    run: RunState | None
    what: object
    outcome: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRefused:
    """A message was dead-lettered, dropped or ignored."""

    queue_kind: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldUp:
    """The broker holds everybody up, and why; empty: it does so no more."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOut:
    """How long the turn that is out has been so, for who looks on from now on."""

    held_s: float


Watcher = Callable[[Update], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """What a controller is made of.

    Attributes:
        runs: the folder of all runs' checkpoints.
        patience_s: how long weights that should be coming may stand still.
        alone_s: how long another controller may take to go when this one starts.
        hears_since: the event loop's time from which reports could come without a break; None if
            they cannot now.
        held_up: why they cannot, in words; empty if they can.
        only: leave every other run of the ledger alone.
    """

    transport: Transport
    ledger: SqliteLedger
    runs: Path
    spool: Spool
    clock: Clock
    patience_s: float = 10.0
    alone_s: float = 0.0
    hears_since: Callable[[], float | None] = lambda: 0.0
    held_up: Callable[[], str] = lambda: ""
    only: str | None = None
    moments: Moments = UNWATCHED
