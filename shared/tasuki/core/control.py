"""What the controller says out of band. Small, repeatable, and harmless if it is lost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceRaised:
    """Anything of this lane below this term is void."""

    run: str
    lane: int
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The run is over: its trainers may end and its spool files go."""

    run: str


Control = FenceRaised | RunEnded
