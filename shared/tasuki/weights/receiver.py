"""The one way in: weights are read from a stream into a spool, for a controller and for a site.

A broker that was killed and is back can accept a reader of a stream and then never give it
anything; and a reader who asks an empty broker for what comes after all that the old one had gets
nothing until there is as much again. Whoever misses weights reads anew before giving them up for
lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from tasuki.core.model import WeightsRef
from tasuki.errors import MessageError, TasukiError
from tasuki.ports import Delivery, Handler, Settlement, Subscription, Transport
from tasuki.trust.member import NOBODY, Member
from tasuki.weights.chunks import Chunk, SealedChunk, check_known, decode_chunk
from tasuki.weights.position import KeptPosition, Reading
from tasuki.weights.seals import Seals
from tasuki.weights.spool import Spool
from tasuki.weights.unclaimed import Name

log = structlog.get_logger()

PREFETCH = 8  # chunks in memory at a time
UNWANTED = 1024  # transfers that may still come and are remembered as void
BROKEN = 256  # transfers that were not what they promised, and whose turns may still come
REFUSED = 256  # transfers of which a piece was refused, and whose turns may still come

E = TypeVar("E", bound=TasukiError)

Refuse = Callable[[Delivery, MessageError], None]
"""Settles a message that is no chunk, and tells of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A chunk that was taken in. `is_over`: with it its transfer is complete, or broken."""

    transfer: bytes
    is_last: bool
    is_over: bool


class Receiver:
    """One reader of one weights stream.

    Args:
        refuse: called with each message that is no chunk that may be taken in.
        member: who reads it: its keys unseal what is sealed.
        position: where it is kept how far the stream was read; None: it is read from its start. On
            a transport that does not last there is nothing to go on with.
        ends_by: errors that end the service. Whoever waits for weights is told, and what was not
            taken in stays in the stream for the next start.
        handler: gets what comes, and calls `take_in` with it in its own time.
    """

    def __init__(
        self,
        transport: Transport,
        stream: str,
        spool: Spool,
        *,
        refuse: Refuse,
        member: Member = NOBODY,
        position: KeptPosition | None = None,
        ends_by: tuple[type[TasukiError], ...] = (),
        handler: Handler | None = None,
    ) -> None:
        self.stream = stream
        self._transport = transport
        self._spool = spool
        self._refuse = refuse
        self._seals = Seals(member)
        self._position = position if transport.is_durable else None
        self._ends_by = ends_by
        self._handler = handler or self._take_in_at_once
        self._reading = Reading()
        self._broken: dict[Name, TasukiError] = {}  # in the order in which they became so
        self._refused: dict[Name, MessageError] = {}  # in that order too
        self._unwanted: dict[bytes, None] = {}  # in the order in which they became so
        self._end: TasukiError | None = None
        self._came_at = 0.0  # when the last chunk did, by the event loop
        self._news = asyncio.Event()
        self._reader: Subscription | None = None
        self._begun = 0
        self._opened = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._renewal: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Read on from where an earlier process got to; returns once the broker has accepted it.

        Raises:
            Unroutable, NotPermitted: there is no such stream, or it may not be read.
        """
        await self._begin(None if self._position is None else self._position.next_offset())
        self._opened.set()

    async def close(self) -> None:
        """Read no more."""
        self.stop()
        await self._leave()

    def stop(self) -> None:
        """Begin no reader any more; the one that there is goes with its connection."""
        if self._renewal is not None:
            self._renewal.cancel()

    async def obtain(self, find: Callable[[], Path | None], *, patience_s: float) -> Path | None:
        """What `find` finds, as soon as it does; None if chunks have not come for so long.

        Weights count as lost only once a reader that the broker has just accepted misses them.

        Raises:
            TasukiError: one of `ends_by`.
            Unroutable, NotPermitted: the stream cannot be read any more.
        """
        await self._opened.wait()
        seen = self._begun
        if (path := await self._wait(find, patience_s)) is not None:
            return path
        log.warning("weights do not come: reads their stream anew", stream=self.stream)
        # Whoever waits may wait no longer; without a reader nobody else would get anything.
        self._renewal = asyncio.ensure_future(self._begin_anew(seen=seen))
        self._renewal.add_done_callback(self._note_renewal)
        await asyncio.shield(self._renewal)
        return await self._wait(find, patience_s)

    def take_in(self, delivery: Delivery) -> Taken | None:
        """Spool what a message brings; None if that is nothing that may be taken in."""
        self._came_at = asyncio.get_running_loop().time()
        try:
            chunk = decode_chunk(delivery.body)
            check_known(delivery)
            is_over = self._spooled(chunk, delivery.sender)
            self._note_position(chunk, delivery, is_over=is_over)
        except MessageError as exc:
            self._refuse(delivery, exc)
            return None
        except self._ends_by as exc:
            self._end = exc
            self._news.set()
            return None
        self._transport.settle(delivery, Settlement.DONE)
        if chunk.is_last or is_over:
            self._news.set()
        return Taken(transfer=chunk.transfer, is_last=chunk.is_last, is_over=is_over)

    def check(self, transfer: bytes, *, senders: Collection[str]) -> None:
        """Whether a transfer may still be what one of these promised.

        What anybody else sends under the same name is not what is waited for.

        Raises:
            TasukiError: why it will not; only once.
        """
        for sender in senders:
            if (error := self._broken.pop((sender, transfer), None)) is not None:
                raise error

    def check_refused(self, transfer: bytes, *, senders: Collection[str]) -> None:
        """For whoever waited in vain; not before, since a bad piece may be among good ones.

        Raises:
            MessageError: pieces of it were refused, and why; only once.
        """
        for sender in senders:
            if (error := self._refused.pop((sender, transfer), None)) is not None:
                raise error

    def expect(self, transfer: bytes) -> None:
        """It is wanted, be it that one of this name was discarded before."""
        self._unwanted.pop(transfer, None)

    def discard(self, transfer: bytes, weights: WeightsRef) -> None:
        """Nobody needs these weights any more, nor those pieces of them that still come."""
        self._unwanted[transfer] = None
        while len(self._unwanted) > UNWANTED:
            del self._unwanted[next(iter(self._unwanted))]
        self._seals.forget(transfer)
        self._spool.discard(transfer, weights)

    def _take_in_at_once(self, delivery: Delivery) -> None:
        self.take_in(delivery)

    async def _begin(self, offset: int | None) -> None:
        await self._leave()
        self._reader = await self._transport.consume(
            self.stream, self._handler, prefetch=PREFETCH, offset=offset
        )
        self._begun += 1

    async def _begin_anew(self, *, seen: int) -> None:
        """From the oldest there is, unless another did that since `_begun` was `seen`."""
        async with self._one_at_a_time:
            if self._begun == seen:
                await self._begin(None)

    def _note_renewal(self, renewal: asyncio.Future[None]) -> None:
        """One that failed left no reader: whoever waits, or comes to wait, has to know."""
        error = None if renewal.cancelled() else renewal.exception()
        if isinstance(error, TasukiError):
            self._end = error
            self._news.set()

    async def _leave(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.cancel()

    async def _wait(self, find: Callable[[], Path | None], patience_s: float) -> Path | None:
        clock = asyncio.get_running_loop().time
        began = clock()
        while (path := find()) is None:
            if self._end is not None:
                raise self._end
            left_s = max(began, self._came_at) + patience_s - clock()
            if left_s <= 0:
                return None
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._news.wait()
        return path

    def _spooled(self, found: Chunk | SealedChunk, sender: str) -> bool:
        """Whether its transfer is over now. One that breaks fails what waits for it, no more.

        Raises:
            MessageError: it is not sealed and has to be, or not as its sender sealed it.
        """
        if found.transfer in self._unwanted:
            self._spool.refused("unwanted", 1)
            return False
        try:
            chunk = self._unsealed(found, sender)
            is_over = chunk is not None and self._spool.add(chunk, sender=sender)
        except self._ends_by:
            raise
        except MessageError as exc:
            _remember(self._refused, (sender, found.transfer), exc, most=REFUSED)
            raise
        except TasukiError as exc:
            log.warning("weights refused", queue=self.stream, sender=sender, reason=str(exc))
            _remember(self._broken, (sender, found.transfer), exc, most=BROKEN)
            return True
        if is_over:
            self._refused.pop((sender, found.transfer), None)
            self._seals.forget(found.transfer)
        return is_over

    def _unsealed(self, found: Chunk | SealedChunk, sender: str) -> Chunk | None:
        """None: it is passed over, and costs no more than that."""
        if isinstance(found, Chunk):
            self._seals.check_plain(sender)
            return found
        if self._spool.has(found.transfer, found.weights):
            self._spool.refused("duplicate", 1)
            return None
        chunk = self._seals.unsealed(found, sender=sender)
        if chunk is None:
            self._spool.refused("no_seal", 1)
        return chunk

    def _note_position(
        self, chunk: Chunk | SealedChunk, delivery: Delivery, *, is_over: bool
    ) -> None:
        if self._position is None or delivery.offset is None:
            return
        name = (delivery.sender, chunk.transfer)
        is_open = self._spool.is_open(chunk.transfer, sender=delivery.sender)
        following = self._reading.note(name, delivery.offset, is_open=is_open)
        if is_over:
            self._position.write_offset(following)


def _remember(known: dict[Name, E], name: Name, error: E, *, most: int) -> None:
    known.pop(name, None)
    known[name] = error
    while len(known) > most:
        del known[next(iter(known))]
