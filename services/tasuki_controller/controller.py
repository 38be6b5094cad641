"""What a controller consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tasuki.core.trust import Submission
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.moments import UNWATCHED, Moments
from tasuki.ports import Clock, Route, Transport
from tasuki.trust.member import NOBODY, Member
from tasuki.weights.spool import Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """What a controller is made of.

    Attributes:
        member: signs and seals what the controller sends, and checks what it gets.
        runs: the folder of all runs' checkpoints.
        patience_s: how long weights that should be coming may stand still.
        alone_s: how long another controller may take to go when this one starts.
        hears_since: the event loop's time from which reports could come without a break; None if
            they cannot now.
        held_up: why they cannot, in words; empty if they can.
        refused: why what is sent there waits, in words; empty if it does not.
        only: leave every other run of the ledger alone.
    """

    transport: Transport
    ledger: SqliteLedger
    runs: Path
    spool: Spool
    clock: Clock
    member: Member = NOBODY
    patience_s: float = 10.0
    alone_s: float = 0.0
    hears_since: Callable[[], float | None] = lambda: 0.0
    held_up: Callable[[], str] = lambda: ""
    refused: Callable[[Route], str] = lambda _: ""
    only: str | None = None
    moments: Moments = UNWATCHED
    submissions: dict[str, Submission] = field(default_factory=dict)  # those that were asked for

    def submission(self, run: str) -> Submission:
        """What all that is signed about a run names it by; nothing where nobody signs."""
        if self.member.keys is None:
            return Submission()
        if run not in self.submissions:
            if (first := next(self.ledger.rows(run), None)) is None:
                return Submission()
            self.submissions[run] = Submission(about=first.hash, began=first.at)
        return self.submissions[run]
