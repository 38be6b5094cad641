"""What the controller knows of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tasuki.core.model import OnSilent, Plan, TurnId, TurnRecord, WeightsRef
from tasuki.core.relay import RelayState


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
class RunState:
    """One run, now.

    Attributes:
        relay: the round under way; at rest before the first, and in a pause.
        last: the site that trained last.
        turns: how many were accepted and not undone.
        silent: sites whose lease ran out and that have not been heard of since, or not come on.
        trained: sites that have a turn in one of the rounds that were closed.
        took: how long each site's last turns trained, the newest last.
        pausing: an operator asked for a pause at the end of the round.
        unattended: the pause ends by itself once enough sites are back.
        removed: its weights are gone, or are about to go.
    """

    plan: Plan
    relay: RelayState
    status: Status = Status.SUBMITTED
    reason: str = ""
    last: str | None = None
    turns: int = 0
    skipped: tuple[Skip, ...] = ()
    silent: frozenset[str] = frozenset()
    trained: frozenset[str] = frozenset()
    took: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    pausing: bool = False
    unattended: bool = False
    removed: bool = False

    @property
    def term(self) -> int:
        return self.relay.term

    @property
    def round(self) -> int:
        return self.relay.round

    @property
    def hop(self) -> int:
        return self.relay.hop

    @property
    def itinerary(self) -> tuple[str, ...]:
        return self.relay.itinerary

    @property
    def weights(self) -> WeightsRef:
        """The newest accepted weights."""
        return self.relay.weights

    @property
    def base(self) -> WeightsRef:
        """The weights that the round started from."""
        return self.relay.base

    @property
    def records(self) -> tuple[TurnRecord, ...]:
        """The round's accepted results, in their order."""
        return self.relay.records

    @property
    def expected(self) -> TurnId:
        """The one turn whose result may be accepted now."""
        return self.relay.expected

    @property
    def holder(self) -> str | None:
        """Who has the weights now, as far as is known; nobody between rounds or in a pause."""
        return self.relay.holder

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
    relay = RelayState(run=plan.run, failure=plan.failure, weights=weights, base=weights)
    return RunState(plan=plan, relay=relay)
