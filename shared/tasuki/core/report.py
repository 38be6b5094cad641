"""What a site says to the controller. Past tense, self-contained, safe to say twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import get_args

from tasuki.core.model import TurnId, TurnRecord, WeightsRef

OVERDUE = "TrainerOverdue"
"""The error of a turn whose trainer was ended since it took too long."""

OWN = frozenset(
    {
        "TrainerError",
        "TrainerNotFound",
        "TrainerRaised",
        "WeightsError",
        "NonFiniteWeights",
        "ManifestMismatch",
        "GateRejected",
    }
)
"""Errors that a site's own code or the gate raised. Others may be gone the next time."""

LASTING = frozenset({"TurnTooLarge", "CannotEvaluate"})
"""Errors that no other attempt can change."""

MOST_ERROR = 64
MOST_DETAIL = 2000
"""Characters of what is told of an error. The controller keeps no more, whatever a site says."""

_HEAD, _CUT = 500, "\n...\n"


def shortened(detail: str) -> str:
    """What fits into a report: how it begins says what it was, how it ends often where."""
    if len(detail) <= MOST_DETAIL:
        return detail
    return detail[:_HEAD] + _CUT + detail[_HEAD + len(_CUT) - MOST_DETAIL :]


class Stage(StrEnum):
    """What a turn that is out is at."""

    GIVEN_OUT = "given_out"  # not with its site yet: the controller sends it, and no report says so
    WAITING = "waiting"  # for the turns before it to make room
    TAKEN = "taken"  # waiting for its weights
    TRAINING = "training"  # or evaluating
    TRAINED = "trained"  # its result is being handed over


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStarted:
    """A site service came up. `fresh`: it has no journal and knows of no turn.

    `roster`: the number of the one that it goes by; 0: none.
    """

    site: str
    fresh: bool
    version: str
    trainers: tuple[str, ...] = ()
    roster: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteBeat:
    """A site without a turn is there."""

    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteMeasured:
    """A site's own series, for whoever watches the controller. No sign of life of a turn."""

    site: str
    series: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterWanted:
    """A site heard of a newer roster than the one that it has, which is `roster`."""

    site: str
    roster: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnTaken:
    """A site journaled a turn. `history`: the round's records that it came with, encoded."""

    id: TurnId
    site: str
    history: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnProgressed:
    """The heartbeat of a turn, with whatever its trainer logged last.

    Attributes:
        phase: a `Stage`, or a word of a newer site's.
        still_s: how long the turn has not come on; 0 while it does.
    """

    id: TurnId
    site: str
    phase: str
    values: Mapping[str, float] = field(default_factory=dict)
    still_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDone:
    """A site trained, and the next queue has the weights; or it evaluated: these are its scores."""

    record: TurnRecord
    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundDone:
    """The last site of the itinerary trained; its weights are in the controller's queue."""

    id: TurnId
    site: str
    weights: WeightsRef
    history: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnAbandoned:
    """A site has no result for this turn. `returned`: it gave the turn back untrained.

    `history`: the round's records that a turn came with that was given back, encoded.
    """

    id: TurnId
    site: str
    error: str
    detail: str = ""
    returned: bool = False
    history: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRefused:
    """A site dropped a turn or its result, and why; what it can never take fails by that."""

    id: TurnId
    site: str
    reason: str


Report = (
    SiteStarted
    | SiteBeat
    | SiteMeasured
    | RosterWanted
    | TurnTaken
    | TurnProgressed
    | TurnDone
    | RoundDone
    | TurnAbandoned
    | TurnRefused
)

REPORTS: tuple[type, ...] = get_args(Report)
