"""What sites say, as far as they have signed it: by whom, about which run, and not once more."""

from __future__ import annotations

from dataclasses import replace

from tasuki.core.model import Lane, TurnId, TurnRecord
from tasuki.core.relay import TurnFailed, TurnReturned
from tasuki.core.report import (
    REPORTS,
    Report,
    RosterWanted,
    SiteBeat,
    SiteMeasured,
    SiteStarted,
    TurnDone,
    TurnProgressed,
    TurnTaken,
)
from tasuki.core.run import Event
from tasuki.core.run.reports import Refused, turn_of
from tasuki.core.turn.proof import OTHER_RUN
from tasuki.errors import MessageError
from tasuki.ports import Delivery
from tasuki.trust.member import Said
from tasuki.wire.messages import encode
from tasuki_controller.controller import Controller

REPLAYED = "replayed"

MOST_SAID = 64 * 2**10
"""Bytes of a signed report that go on record with what it led to. None that is honest has more."""


class Hearing:
    """Reads reports, and the records in them."""

    def __init__(self, controller: Controller) -> None:
        self._c = controller
        self._signs: dict[Lane, tuple[TurnId, float]] = {}  # when the newest of each was signed
        self._presence: dict[str, float] = {}  # likewise, of each site

    def report(self, delivery: Delivery) -> Said[Report]:
        """A site's report; a result in it is its own.

        Raises:
            MessageError: it is none, is not signed as it has to be, or is of another run.
        """
        member, sender = self._c.member, delivery.sender
        body = member.open(delivery.body, sender=sender)
        said: Said[Report] = member.read(body, REPORTS, sender=sender)
        report = said.message
        if isinstance(report, SiteStarted | SiteBeat | SiteMeasured | RosterWanted):
            return said
        self._check_run(turn_of(report).run, by=said.by, about=said.about)
        if isinstance(report, TurnDone):
            self._read(encode(report.record))
        return said

    def record(self, written: bytes) -> TurnRecord | Refused:
        """A result as its site has signed it, whoever brings it."""
        try:
            return self._read(written)
        except MessageError as exc:
            return Refused(reason=exc.reason, detail=str(exc))

    def is_replayed(self, said: Said[Report]) -> bool:
        """Whether it is a sign of life that is not newer than one which was heard.

        Nothing else depends on a site's clock: one that was set back counts as silent by this until
        it has caught up, unless its site hands over a result or starts a turn.
        """
        report = said.message
        if said.by and isinstance(report, SiteStarted | SiteBeat):
            newest = self._presence.get(said.by, 0.0)
            self._presence[said.by] = max(newest, said.at)
            return said.at <= newest
        if not (said.by and isinstance(report, TurnTaken | TurnProgressed)):
            return False
        id, at = self._signs.get(report.id.of_lane, (None, 0.0))
        return id == report.id and said.at <= at

    def note_sign(self, id: TurnId, said: Said[Report]) -> None:
        """It was a sign of life of the turn that is out."""
        self._signs[id.of_lane] = (id, said.at)

    def _read(self, written: bytes) -> TurnRecord:
        said = self._c.member.read_record(written)
        self._check_run(said.message.id.run, by=said.by, about=said.about)
        return said.message

    def _check_run(self, run: str, *, by: str, about: str) -> None:
        known = self._c.submission(run)
        if by and known.about and about != known.about:
            raise MessageError(f"{by} speaks of another {run} than the one here", reason=OTHER_RUN)


def proved(event: Event, said: Said[Report]) -> Event:
    """With what its site has signed, if that is to stay on record."""
    if isinstance(event, TurnFailed | TurnReturned) and len(said.proof) <= MOST_SAID:
        return replace(event, said=said.proof)
    return event
