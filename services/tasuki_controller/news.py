"""What a controller tells those who look on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tasuki.core.run import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Something that an onlooker may want to show: a report, an event, and the run after it."""

    run: RunState | None
    what: object
    outcome: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDiscarded:
    """A message was dead-lettered, dropped or ignored."""

    queue_kind: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldUp:
    """The broker holds everybody up, and why; empty: it does so no more."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOut:
    """How long the turn of a lane that is out has been so, for who looks on from now on."""

    held_s: float
    lane: int = 0


Watcher = Callable[[Update], None]
