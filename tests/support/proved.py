"""A run on record whose controller has signed every row, and whose sites all that they said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from support.evaluations import asked_for, scores, waited_for
from support.evaluations import fails as fails_to_score
from support.lanes import Lanes, lanes_plan
from support.members import NOW, Signatory
from support.runs import FIRST
from tasuki.core import run
from tasuki.core.model import CONTROLLER, OnSilent, Plan
from tasuki.core.report import TurnAbandoned
from tasuki.core.trust import Roster
from tasuki.ledger.sqlite import GENESIS, Row, SqliteLedger, chained, row_hash
from tasuki.trust.member import Member
from tasuki.trust.rosters import verified
from tasuki.trust.rows import covered_by_row
from tasuki.trust.signing import public_key
from tasuki.wire.messages import encode
from tasuki_controller.proving import Proved, prove

SITES = "abcd"
PLAN = lanes_plan(sites=SITES, on_silent=OnSilent.RETRY)


class Lab:
    """A federation of which everybody has a key."""

    def __init__(self, sites: str = SITES, *, now: float = NOW) -> None:
        self.signatory = Signatory(now=now)
        self.issued = self.signatory.roster((CONTROLLER, *sites))
        self.members = {
            name: self.signatory.member(name, self.issued) for name in (CONTROLLER, *sites)
        }

    @property
    def roster(self) -> Roster:
        return self.read(self.issued)

    def read(self, issued: bytes) -> Roster:
        return verified(issued, public_key(self.signatory.authority.public))

    def sign_row(self, hash: str, *, by: str = CONTROLLER) -> bytes:
        covered = covered_by_row(hash, federation=self.signatory.federation)
        return self.signatory.keys[by][0].over(covered)


class SignedRun(Lanes):
    """Feeds a run, and puts on record what it is told, as the controller's service does."""

    def __init__(self, lab: Lab, of: Plan = PLAN, *, ledger: SqliteLedger | None = None) -> None:
        self.lab, self.about = lab, ""
        self.ledger = ledger or SqliteLedger(":memory:", sign=lab.sign_row)
        for first in (of, FIRST):
            row, _ = self.ledger.append(of.run, encode(first), at=NOW)
            self.about = self.about or row.hash
        super().__init__(of)

    def __call__(self, event: run.Event) -> tuple[run.Effect, ...]:
        event = self._signed(event)
        effects = super().__call__(event)
        dropped = next((each.reason for each in effects if isinstance(each, run.Drop)), "")
        at = NOW + len(self.history)
        self.ledger.append(self.plan.run, encode(event), at=at, outcome=dropped)
        return effects

    def _signed(self, event: run.Event) -> run.Event:
        match event:
            case run.TurnFinished(record=record):
                return replace(
                    event, record=self.member(record.site).write(record, about=self.about)
                )
            case run.TurnFailed(id=id, site=site, error=error, detail=detail):
                said = TurnAbandoned(id=id, site=site, error=error, detail=detail)
            case run.TurnReturned(id=id, site=site):
                said = TurnAbandoned(id=id, site=site, error="", returned=True)
            case _:
                return event
        return replace(event, said=self.member(site).sign(said, about=self.about))

    def member(self, name: str) -> Member:
        return self.lab.members[name]

    @property
    def rows(self) -> list[Row]:
        return list(self.ledger.rows(self.plan.run))


def troubled(lab: Lab, *, ledger: SqliteLedger | None = None) -> SignedRun:
    """Of two lanes: a failure, a silence, a turn given back, a result too late, and scores."""
    it = SignedRun(lab, ledger=ledger)
    it.trains(0)
    it.gives_up(1)
    late = it.says(1)
    it.goes_silent(1)
    it(run.TurnFinished(record=late))  # of a term that is over
    relay = it.relay_of(0)
    it(run.TurnReturned(id=relay.expected, site=relay.holder or ""))
    it.ends()
    asked_for(it)
    fails_to_score(it, waited_for(it)[0], error="CannotEvaluate")
    for site in waited_for(it):
        scores(it, site)
    return it


def proof(rows: list[Row], roster: Roster) -> Proved:
    """As `tasuki ledger RUN --verify --roster FILE` has it."""
    return prove(chained(rows, "r"), roster)


Sign = Callable[[str], bytes]


def rewritten(
    rows: list[Row], sign: Sign, *, change: Callable[[Row], Row | None] = lambda row: row
) -> list[Row]:
    """The whole ledger again, with changed rows or without some, in a chain that holds."""
    previous, made = GENESIS, list[Row]()
    for row in filter(None, map(change, rows)):
        seq = len(made) + 1
        previous = row_hash(previous, row.run, seq, row.at, row.event, row.outcome)
        made.append(replace(row, seq=seq, hash=previous, signature=sign(previous)))
    return made
