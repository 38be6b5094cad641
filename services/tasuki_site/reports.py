"""What a site says to the controller: in order, and for as long as it takes to be confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

import tasuki
from tasuki.core.model import CONTROLLER, Kind, Turn, TurnId, TurnRecord
from tasuki.core.report import (
    MOST_ERROR,
    Report,
    RosterWanted,
    RoundDone,
    SiteBeat,
    SiteMeasured,
    SiteStarted,
    TurnAbandoned,
    TurnDone,
    TurnProgressed,
    TurnRefused,
    TurnTaken,
    shortened,
)
from tasuki.core.run.reports import turn_of
from tasuki.wire import names
from tasuki.wire.messages import encode
from tasuki_site.facts import TurnDropped
from tasuki_site.site import Site

log = structlog.get_logger()


def named(id: TurnId) -> dict[str, str]:
    """Whose turn a line of the log is about, and which."""
    return {"run": id.run, "turn": str(id)}


class Reports:
    """Those that wait to be published, and one method for each kind."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._name = site.name
        self._waiting: asyncio.Queue[tuple[Callable[[], Report], Callable[[], None]]] = (
            asyncio.Queue()
        )
        self._newest: dict[object, Report] = {}
        self._log = log.bind(site=site.name)

    async def publish(self) -> None:
        """One after the other, so that they arrive in the order in which things happened."""
        while True:
            take, then = await self._waiting.get()
            member = self._site.member
            body = member.close(self._signed(take()), to=CONTROLLER)
            await self._site.transport.publish(names.to_controller(), [(body,)])
            then()
            self._waiting.task_done()

    async def all_confirmed(self) -> None:
        """Returns once nothing waits any more, or the site has waited for that for long enough.

        What was not said is said again after the next start, or the lease tells it.
        """
        try:
            async with asyncio.timeout(self._site.farewell_s):
                await self._waiting.join()
        except TimeoutError:
            count = self._waiting.qsize()
            self._log.warning("ends before its reports were confirmed", waiting=count)

    def started(self) -> None:
        """A journal that is new stays so until the broker has this: the run may depend on it."""
        journal = self._site.journal
        self._say(
            SiteStarted(
                site=self._name,
                fresh=not journal.is_introduced,
                version=tasuki.__version__,
                roster=self._site.member.roster_number,
            ),
            then=journal.introduce,
        )

    def idle(self) -> None:
        self._say_newest("idle", SiteBeat(site=self._name))

    def measured(self, series: Mapping[str, float]) -> None:
        self._say_newest("measured", SiteMeasured(site=self._name, series=series))

    def roster_wanted(self) -> None:
        self._say(RosterWanted(site=self._name, roster=self._site.member.roster_number))

    def taken(self, turn: Turn) -> None:
        self._log.info("turn taken", **named(turn.id))
        self._say(TurnTaken(id=turn.id, site=self._name, history=turn.history))

    def progressed(
        self, id: TurnId, *, phase: str, values: Mapping[str, float], still_s: float
    ) -> None:
        report = TurnProgressed(
            id=id, site=self._name, phase=phase, values=values, still_s=round(still_s, 3)
        )
        self._say_newest(id, report)

    def finished(self, turn: Turn, record: TurnRecord) -> None:
        """The last site of a round tells the whole of it; scores are told alone."""
        if turn.kind is Kind.EVALUATE:
            self._log.info("evaluated", **named(turn.id), digest=record.received)
            self._say(TurnDone(record=record, site=self._name))
            return
        if turn.successor != CONTROLLER:
            self._say(TurnDone(record=record, site=self._name))
            return
        history = (*turn.history, encode(record))
        self._say(RoundDone(id=turn.id, site=self._name, weights=record.sent, history=history))

    def handed_over(self, turn: Turn, record: TurnRecord) -> None:
        """The site's own proof: results reach the ledger through the hands of others too."""
        to, digest = turn.successor, record.sent.digest
        self._log.info("handed over", **named(turn.id), to=to, digest=digest)

    def failed(self, id: TurnId, *, error: str, detail: str) -> None:
        self._log.warning("turn failed", **named(id), error=error, detail=detail)
        error, detail = error[:MOST_ERROR], shortened(detail)
        self._say(TurnAbandoned(id=id, site=self._name, error=error, detail=detail))

    def returned(self, id: TurnId, history: tuple[bytes, ...]) -> None:
        self._say(
            TurnAbandoned(id=id, site=self._name, error="GivenBack", returned=True, history=history)
        )

    def dropped(self, id: TurnId, *, reason: str) -> None:
        self._log.info("dropped", **named(id), reason=reason)
        self._site.watcher(TurnDropped(id=id, reason=reason))
        self._say(TurnRefused(id=id, site=self._name, reason=reason))

    def _signed(self, report: Report) -> bytes:
        """As it travels, about the run of its turn."""
        if isinstance(report, SiteStarted | SiteBeat | SiteMeasured | RosterWanted):
            return self._site.member.sign(report)
        submission = self._site.journal.submission(turn_of(report).run)
        return self._site.member.sign(report, about=submission.about)

    def _say(self, report: Report, *, then: Callable[[], None] = lambda: None) -> None:
        self._waiting.put_nowait((lambda: report, then))

    def _say_newest(self, key: object, report: Report) -> None:
        """In place of the last of its kind, if that waits: while the broker is away they pile up.

        Hours of them would otherwise come before what the run waits for.
        """
        is_waiting = key in self._newest
        self._newest[key] = report
        if not is_waiting:
            self._waiting.put_nowait((lambda: self._newest.pop(key), lambda: None))
