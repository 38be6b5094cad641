"""What the controller says out of band. Small, repeatable, and harmless if it is lost."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.core.model import MOST


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceRaised:
    """Anything of this lane below this term is void."""

    run: str
    lane: int
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The run is over: its trainers may end and its spool files go.

    A run that finished can be given more rounds: what comes with a later term is of those.
    """

    run: str
    term: int = MOST


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterIssued:
    """Who is a member from now on. `roster`: as the authority signed it, of itself the proof."""

    roster: bytes


Control = FenceRaised | RunEnded | RosterIssued
