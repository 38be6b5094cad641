"""What a site's service tells whoever watches it: for metrics, never for deciding.

A watcher is called on the event loop and must neither block nor raise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tasuki.core.model import TurnId
from tasuki.errors import MessageError, TasukiError


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLettered:
    """A message could not be read, and went to the dead letters."""

    queue: str
    error: MessageError


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDropped:
    """A turn or its result was not taken; `reason` is one of the turn machine's words."""

    id: TurnId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trainer had a result that passed the gate, this long after it was asked."""

    id: TurnId
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GateClosed:
    """A trainer had a result that must not be handed on."""

    id: TurnId
    error: TasukiError


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """The next queue confirmed weights and turn, this long after the result was there."""

    id: TurnId
    seconds: float
    size: int


Fact = DeadLettered | TurnDropped | Trained | GateClosed | HandedOver
Watcher = Callable[[Fact], None]
