"""Weights that come to the controller: at a round's end, or rescued from a silent site's stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from tasuki.core.model import CONTROLLER, WeightsRef
from tasuki.errors import MessageError, StorageError, Unroutable
from tasuki.ports import Delivery, Settlement, Transport
from tasuki.trust.member import NOBODY, Member
from tasuki.weights.position import KeptPosition, PositionFile
from tasuki.weights.receiver import Receiver
from tasuki.weights.spool import Spool
from tasuki.wire import names

log = structlog.get_logger()

STREAM = names.weights_stream(CONTROLLER)

READER_S = 60.0
"""How long a stream may take to accept a reader: after a broker's restart it takes half of that."""


class Intake:
    """Spools what arrives, and lets others wait for it.

    Args:
        patience_s: how long weights that should be coming may stand still.
        refused: told of each chunk that was not taken, and why.
        member: the controller: each transfer is sealed for it too, also those for a site.
        is_there: whether the broker is; one that is away is waited for.
    """

    def __init__(
        self,
        transport: Transport,
        spool: Spool,
        *,
        patience_s: float,
        refused: Callable[[str], None],
        member: Member = NOBODY,
        is_there: Callable[[], bool] = lambda: True,
    ) -> None:
        self._transport = transport
        self._refused = refused
        self._member = member
        self._spool = spool
        self._patience_s = patience_s
        self._is_there = is_there
        self._own = self._receiver(STREAM, position=PositionFile(spool.folder))

    async def open(self) -> None:
        """Read the controller's own stream, from where an earlier process got to."""
        await self._own.open()

    def close(self) -> None:
        """The service ends: look for nothing any more."""
        self._own.stop()

    async def obtain(self, weights: WeightsRef, at: str) -> Path | None:
        """Wait for these weights as long as chunks keep arriving; None if they stop coming."""
        find = partial(self._spool.find, weights)
        if at == CONTROLLER:
            return await self._own.obtain(find, patience_s=self._patience_s)
        stuck = self._receiver(names.weights_stream(at))
        try:
            await self._open(stuck)
            return await stuck.obtain(find, patience_s=self._patience_s)
        except Unroutable as exc:
            log.warning("weights cannot be rescued", site=at, reason=str(exc))
            return None  # gone with the site's stream
        finally:
            await stuck.close()

    def _receiver(self, stream: str, *, position: KeptPosition | None = None) -> Receiver:
        return Receiver(
            self._transport,
            stream,
            self._spool,
            refuse=self._refuse,
            member=self._member,
            position=position,
            ends_by=(StorageError,),
        )

    async def _open(self, stuck: Receiver) -> None:
        """A stream that nobody can read, of a broker that is there, is as good as gone.

        Raises:
            Unroutable: so it is, or there is none.
        """
        while True:
            try:
                async with asyncio.timeout(READER_S):
                    return await stuck.open()
            except TimeoutError:
                if self._is_there():
                    raise Unroutable(f"{stuck.stream} gives no reader anything") from None

    def _refuse(self, delivery: Delivery, why: MessageError) -> None:
        queue, sender = delivery.queue, delivery.sender
        log.warning("chunk refused", queue=queue, sender=sender, reason=str(why))
        self._refused(why.reason)
        self._transport.settle(delivery, Settlement.DONE)
