"""Whom a site hears: its controller, about runs that count, by the roster that counts now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import get_args

import structlog

from tasuki.core.control import Control, RosterIssued
from tasuki.core.model import CONTROLLER, Turn
from tasuki.core.trust import Submission
from tasuki.core.turn.proof import OTHER_RUN, why_other
from tasuki.errors import MessageError, StorageError
from tasuki.ports import Delivery, Handler
from tasuki.trust.member import Said, submission_of
from tasuki.wire.messages import decode
from tasuki_site.site import Site

log = structlog.get_logger()

_KINDS: tuple[type, ...] = get_args(Control)


class Roll:
    """What is checked of a message beyond its own signatures.

    Args:
        ask: asks the controller for its roster.
        taken: told of each roster that counts from now on.
        again: takes a turn anew that was kept for a roster.
    """

    def __init__(
        self,
        site: Site,
        *,
        ask: Callable[[], None],
        taken: Callable[[], None],
        again: Handler,
    ) -> None:
        self._site = site
        self._ask = ask
        self._taken = taken
        self._again = again
        self._kept: list[tuple[Delivery, asyncio.TimerHandle]] = []

    def check_run(self, turn: Turn) -> Submission:
        """Which run of its name a turn is of, which is known here or a later one.

        Raises:
            MessageError: it is of a run that had its name before, or nobody signed it.
        """
        known = self._site.journal.submission(turn.id.run)
        said = submission_of(turn)
        if reason := why_other(known, said):
            raise MessageError(
                f"{turn.id} is of another run than the one known here", reason=reason
            )
        return said

    def read(self, delivery: Delivery) -> Said[Control]:
        """What the controller says; a roster counts already when this returns.

        Raises:
            MessageError: it is not the controller's, of another run, or of a roster that is not to
                be taken.
        """
        message: Control = decode(delivery.body, _KINDS)
        if isinstance(message, RosterIssued):
            self._take(message)
            return Said(message=message)
        if delivery.sender != CONTROLLER:
            who = delivery.sender or "somebody"
            raise MessageError(f"{who} speaks for the controller", reason="wrong_sender")
        said: Said[Control] = self._site.member.read(
            delivery.body, type(message), sender=CONTROLLER
        )
        known = self._site.journal.submission(message.run)
        # Of a run that had no turn here yet nobody knows whether it is the later one.
        is_certain = known.began or not said.about
        if known.about and said.about != known.about and is_certain:
            raise MessageError(
                f"the controller speaks of another {message.run} than the one known here",
                reason=OTHER_RUN,
            )
        return said

    # Rosters.

    def keep(self, delivery: Delivery, why: MessageError) -> None:
        """A turn goes by a roster that has yet to come: it is refused only if none does."""
        log.info("waits for a roster", site=self._site.name, reason=str(why))
        later = asyncio.get_running_loop().call_later
        self._kept.append((delivery, later(self._site.stall_s, self._give_up, delivery, why)))
        self._ask()

    def close(self) -> None:
        """The service ends; what is kept comes again after its next start."""
        for _, timer in self._kept:
            timer.cancel()
        self._kept.clear()

    def _take(self, message: RosterIssued) -> None:
        """Its authority's signature counts, and not who brings it."""
        keys = self._site.member.keys
        if keys is None:
            return
        try:
            is_new = keys.rosters.take(message.roster)
        except StorageError as exc:
            is_new = True  # until the next start
            log.warning("roster cannot be kept", site=self._site.name, reason=str(exc))
        if is_new:
            log.info("roster taken", site=self._site.name, number=keys.rosters.number)
            self._taken()
            kept, self._kept = self._kept, []
            for delivery, timer in kept:
                timer.cancel()
                self._again(delivery)

    def _give_up(self, delivery: Delivery, why: MessageError) -> None:
        self._kept = [each for each in self._kept if each[0] is not delivery]
        self._site.bury(delivery, why)
