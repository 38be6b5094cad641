"""What the controller knows of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tasuki.core.model import CONTROLLER, OnSilent, Plan, TurnId, TurnRecord, WeightsRef


class Status(StrEnum):
    """Where a run stands."""

    SUBMITTED = "submitted"
    RELAYING = "relaying"  # a turn is out
    CLOSING = "closing"  # every turn of the round is in; its weights are being collected
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


OVER = frozenset({Status.FINISHED, Status.FAILED, Status.STOPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A planned turn that its run's policy passed over."""

    round: int
    hop: int
    site: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """How an attempt ended, in its site's words."""

    error: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """One run, now.

    Attributes:
        weights: the newest accepted weights.
        base: the weights that the round started from; the controller has these on disk.
        at: whose queue the newest weights were sent to; `CONTROLLER` if it has them itself.
        attempts: how often the expected turn has been issued.
        failed: how the attempt before this one failed; None if it did not, or ended otherwise.
        losses: how often this round began anew because its weights were lost.
        silent: sites whose lease ran out and that have not been heard of since, or not come on.
        trained: sites that have a turn in one of the rounds that were closed.
        took: how long each site's last turns trained, the newest last.
        early: results that arrived before their predecessor's.
        pausing: an operator asked for a pause at the end of the round.
        unattended: the pause ends by itself once enough sites are back.
    """

    plan: Plan
    status: Status = Status.SUBMITTED
    reason: str = ""
    term: int = 0
    round: int = 0
    hop: int = 0
    itinerary: tuple[str, ...] = ()
    weights: WeightsRef
    base: WeightsRef
    at: str = CONTROLLER
    attempts: int = 0
    failed: Failed | None = None
    losses: int = 0
    silent: frozenset[str] = frozenset()
    early: tuple[TurnRecord, ...] = ()
    records: tuple[TurnRecord, ...] = ()
    last: str | None = None
    turns: int = 0
    skipped: tuple[Skip, ...] = ()
    trained: frozenset[str] = frozenset()
    took: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    pausing: bool = False
    unattended: bool = False

    @property
    def expected(self) -> TurnId:
        """The one turn whose result may be accepted now."""
        return TurnId(run=self.plan.run, term=self.term, round=self.round, hop=self.hop)

    @property
    def holder(self) -> str | None:
        """Who has the weights now, as far as is known; nobody between rounds or in a pause."""
        return self.itinerary[self.hop] if self.status is Status.RELAYING else None

    @property
    def successor(self) -> str:
        """Whom the holder hands over to."""
        following = self.itinerary[self.hop + 1 : self.hop + 2]
        return following[0] if following else CONTROLLER

    @property
    def eligible(self) -> tuple[str, ...]:
        """The sites that the next round is planned with."""
        if self.plan.failure.on_silent is not OnSilent.SKIP:
            return self.plan.sites
        return tuple(site for site in self.plan.sites if site not in self.silent)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The sites whose every turn was passed over: the weights have nothing of theirs."""
        skipped = {skip.site for skip in self.skipped}
        named = {record.site for record in self.records} | self.trained
        return tuple(site for site in self.plan.sites if site in skipped - named)


def submitted(plan: Plan, weights: WeightsRef) -> RunState:
    """A run before its first event."""
    return RunState(plan=plan, weights=weights, base=weights)
