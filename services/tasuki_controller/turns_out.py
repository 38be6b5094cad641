"""The turns that are out: whether each comes on, and whether we could hear of it.

When a lease has run out is decided in `core.relay.lease`; here is who asks whom before that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial

from tasuki.core import run as machine
from tasuki.core.control import FenceRaised
from tasuki.core.model import TurnId
from tasuki.core.report import Stage
from tasuki.core.run import RunState
from tasuki.core.run.reports import ComesOn
from tasuki.errors import Unroutable
from tasuki.wire import names
from tasuki_controller.controller import Controller
from tasuki_controller.leases import Leases
from tasuki_controller.turn_now import TurnNow

ANSWER_S = 20.0
"""How long a broker may take to confirm: after a shorter time yet its connection is made anew."""


class TurnsOut:
    """Their leases, and how they go.

    Args:
        runs: every run, as it stands at the time.
        apply: takes what came of it.
        soon: lets something be done after what was heard before it.
        spawn: lets work go on beside.
    """

    def __init__(
        self,
        controller: Controller,
        runs: Mapping[str, RunState],
        *,
        apply: Callable[[str, machine.Event], object],
        soon: Callable[[Callable[[], object]], None],
        spawn: Callable[[Coroutine[object, object, None]], object],
    ) -> None:
        self._c = controller
        self._runs = runs
        self._apply = apply
        self._soon = soon
        self.leases = Leases(
            lambda id: spawn(self._make_sure(id)),
            doubt=lambda id: spawn(self._ask_broker(id)),
            hears_since=controller.hears_since,
        )

    def come_on(self, sign: ComesOn) -> None:
        """A sign of life of a turn that is out."""
        self.leases.heard(sign.id, phase=sign.phase, still_s=sign.still_s)

    def turns_now(self, run: str) -> list[TurnNow]:
        """As `turn_now`, of each lane."""
        return [self.turn_now(run, lane) for lane in range(len(self._runs[run].lanes))]

    def turn_now(self, run: str, lane: int = 0) -> TurnNow:
        """How the turn of this lane that is out goes, as far as is known."""
        held_up, id = self._c.held_up(), self._runs[run].lanes[lane].relay.expected
        lease, now = self.leases.of(id), asyncio.get_running_loop().time()
        if lease is None:
            return TurnNow(held_up=held_up)
        still_s, held_s = max(0.0, now - lease.moved_at), self.leases.held_s(id)
        if not (lease.phase or self.leases.is_given_out(id)) or lease.phase == Stage.GIVEN_OUT:
            # What we do ourselves says nothing, and nobody else can say anything of it yet.
            return TurnNow(
                phase=Stage.GIVEN_OUT,
                still_s=still_s,
                held_s=held_s,
                held_up=held_up,
                refused=self._refused(run, lane),
            )
        silent_s = max(0.0, now - lease.heard_at)
        return TurnNow(
            phase=lease.phase, still_s=still_s, silent_s=silent_s, held_s=held_s, held_up=held_up
        )

    def _refused(self, run: str, lane: int) -> str:
        holder = self._runs[run].lanes[lane].relay.holder
        return "" if holder is None else self._c.refused(names.to_turns(holder))

    async def _make_sure(self, id: TurnId) -> None:
        """Before a lease runs out. A sign of life may come meanwhile, or an excuse."""
        await self._ask_broker(id)
        self._soon(partial(self._expire, id))

    def _expire(self, id: TurnId) -> None:
        if (expired := self.leases.run_out(id)) is not None:
            self._apply(id.run, expired)

    async def _ask_broker(self, id: TurnId) -> None:
        """A broker that takes nothing from sites does not say so to whoever only listens.

        So it is given what its reader knows already; with its confirmation it takes from others
        too. If it is short of memory or disk, it says that long before its time is over.
        """
        relay = self._runs[id.run].relay_of(id.lane)
        if relay is None or (holder := relay.holder) is None:
            return
        known = FenceRaised(run=id.run, lane=id.lane, term=id.term)
        body = self._c.member.sign(known, about=self._c.submission(id.run).about)
        with suppress(TimeoutError, Unroutable):
            async with asyncio.timeout(ANSWER_S):
                await self._c.transport.publish(names.to_control(holder), [(body,)])
