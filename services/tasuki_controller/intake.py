"""Weights that come to the controller: at a round's end, or rescued from a silent site's stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from tasuki.core.model import CONTROLLER, WeightsRef
from tasuki.disk.errors import disk_errors
from tasuki.errors import DigestMismatch, MessageError, StorageError, Unroutable
from tasuki.ports import Delivery, Settlement, Transport
from tasuki.transport.stream import StreamReading
from tasuki.weights.chunks import Chunk, check_known, decode_chunk
from tasuki.weights.container import verify_digest
from tasuki.weights.position import Reading
from tasuki.weights.spool import SUFFIX, Spool
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
        is_there: whether the broker is; one that is away is waited for.
    """

    def __init__(
        self,
        transport: Transport,
        spool: Spool,
        *,
        patience_s: float,
        refused: Callable[[str], None],
        is_there: Callable[[], bool] = lambda: True,
    ) -> None:
        self._transport = transport
        self._refused = refused
        self._spool = spool
        self._patience_s = patience_s
        self._is_there = is_there
        self._arrived = asyncio.Event()
        self._error: StorageError | None = None
        self._reading = Reading()
        self._own = StreamReading(transport, STREAM, self._on_chunk)
        self._position = spool.folder / "position"

    async def open(self) -> None:
        """Read the controller's own stream, from where an earlier process got to."""
        await self._own.begin(self._next_offset() if self._transport.is_durable else None)

    async def obtain(self, weights: WeightsRef, at: str) -> Path | None:
        """Wait for these weights as long as chunks keep arriving; None if they stop coming."""
        if at == CONTROLLER:
            return await self._find(weights, self._own)
        stuck = StreamReading(self._transport, names.weights_stream(at), self._on_chunk)
        try:
            await self._begin(stuck)
            return await self._find(weights, stuck)
        except Unroutable as exc:
            log.warning("weights cannot be rescued", site=at, reason=str(exc))
            return None  # gone with the site's stream
        finally:
            await stuck.end()

    def discard(self, weights: WeightsRef) -> None:
        """They are kept elsewhere now."""
        while (path := self._spool.find(weights)) is not None:
            path.unlink()

    async def _begin(self, stuck: StreamReading) -> None:
        """A stream that nobody can read, of a broker that is there, is as good as gone.

        Raises:
            Unroutable: so it is, or there is none.
        """
        while True:
            try:
                async with asyncio.timeout(READER_S):
                    return await stuck.begin(None)
            except TimeoutError:
                if self._is_there():
                    raise Unroutable(f"{stuck.stream} gives no reader anything") from None

    async def _find(self, weights: WeightsRef, reading: StreamReading) -> Path | None:
        """They count as lost only once a reader that the broker has just accepted misses them."""
        seen = reading.begun
        if (path := await self._wait(weights)) is not None:
            return path
        log.warning("weights do not come: reads their stream anew", stream=reading.stream)
        await reading.begin_anew(seen=seen)
        return await self._wait(weights)

    async def _wait(self, weights: WeightsRef) -> Path | None:
        while (path := self._spool.find(weights)) is None:
            if self._error is not None:
                raise self._error
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), self._patience_s)
            except TimeoutError:
                return None
        return path

    def _on_chunk(self, delivery: Delivery) -> None:
        self._arrived.set()
        try:
            chunk = decode_chunk(delivery.body)
            check_known(delivery)
            is_complete = self._spool.add(chunk, sender=delivery.sender)
            self._note_position(delivery, chunk, is_complete=is_complete)
        except DigestMismatch as exc:
            log.warning("weights refused", queue=delivery.queue, reason=str(exc))
        except MessageError as exc:
            log.warning("chunk refused", queue=delivery.queue, reason=str(exc))
            self._refused(exc.reason)
        except StorageError as exc:
            # Whoever waits for weights ends the service with it; the chunk stays in its stream.
            self._error = exc
            return
        self._transport.settle(delivery, Settlement.DONE)

    def _note_position(self, delivery: Delivery, chunk: Chunk, *, is_complete: bool) -> None:
        if delivery.queue != STREAM or delivery.offset is None or not self._transport.is_durable:
            return
        name = (delivery.sender, chunk.transfer)
        is_open = self._spool.is_open(chunk.transfer, sender=delivery.sender)
        following = self._reading.note(name, delivery.offset, is_open=is_open)
        if is_complete:
            part = self._spool.part("position")
            with disk_errors(part):
                part.write_text(f"{following}\n")
                part.replace(self._position)

    def _next_offset(self) -> int | None:
        """Where to go on; from the start if what had been spooled did not survive a power cut."""
        spooled = self._spool.folder.glob(f"*{SUFFIX}")
        damaged = [path for path in spooled if not _is_whole(path)]
        for path in damaged:
            path.unlink()
        with suppress(OSError, ValueError):
            return None if damaged else int(self._position.read_text())
        return None


def _is_whole(path: Path) -> bool:
    """Spooled files are called `<digest>-<transfer>`, and are not forced to the disk."""
    return verify_digest(path).partition(":")[2] == path.name.partition("-")[0]
