"""What can happen to a relay: what sites and queues did, and what its run decided."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasuki.core.model import TurnId, TurnRecord, WeightsRef


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFinished:
    """A site trained and handed over."""

    record: TurnRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFailed:
    """A site gave its turn up: its trainer failed, or its result did not pass the gate.

    `said`: the report as its site signed it; empty where nobody signs.
    """

    id: TurnId
    site: str
    error: str  # the class of `tasuki.errors` that says it best
    detail: str = ""
    said: bytes = field(default=b"", compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnReturned:
    """A site that is shutting down gave its turn back untrained. `said`: as of a failed one."""

    id: TurnId
    site: str
    said: bytes = field(default=b"", compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseExpired:
    """The turn has not come on for a lease.

    Attributes:
        phase: the `Stage` that it stands still in, as its holder says; empty: its holder is silent.
    """

    id: TurnId
    phase: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteHeard:
    """A site that had been silent said something."""

    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteForgot:
    """A site came back without its journal: it no longer knows its turn."""

    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsLost:
    """These weights cannot be had anywhere any more."""

    weights: WeightsRef
    lane: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLost:
    """The queues are empty though a turn was out: a new broker, or a new simulation."""


# What its run decided. Not on record: it follows from what is.


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPlanned:
    """Who has a turn, in which order."""

    itinerary: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """The expected turn is not waited for any more, nor are those of absent sites behind it."""

    absent: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """No turn is out from now on. `is_blamed`: what was out has cost an attempt."""

    is_blamed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneOn:
    """A relay that was taken back goes on, without the turns of absent sites."""

    absent: frozenset[str]


Event = (
    TurnFinished
    | TurnFailed
    | TurnReturned
    | LeaseExpired
    | SiteHeard
    | SiteForgot
    | WeightsLost
    | RelayLost
    | RoundPlanned
    | PassedOver
    | TakenBack
    | GoneOn
)
