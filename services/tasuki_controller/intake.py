"""Weights that come to the controller: at a round's end, or rescued from a silent site's stream."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from tasuki.core.model import CONTROLLER, WeightsRef
from tasuki.errors import DigestMismatch, MessageError, StorageError
from tasuki.ports import Delivery, Settlement, Transport
from tasuki.wire import names
from tasuki.wire.chunks import decode_chunk
from tasuki.wire.spool import Spool

log = structlog.get_logger()

PREFETCH = 8


class Intake:
    """Spools what arrives, and lets others wait for it."""

    def __init__(self, transport: Transport, spool: Spool, *, patience_s: float) -> None:
        self._transport = transport
        self._spool = spool
        self._patience_s = patience_s
        self._arrived = asyncio.Event()
        self._error: StorageError | None = None

    async def open(self) -> None:
        """Read the controller's own stream."""
        stream = names.weights_stream(CONTROLLER)
        await self._transport.consume(stream, self._on_chunk, prefetch=PREFETCH)

    async def obtain(self, weights: WeightsRef, at: str) -> Path | None:
        """Wait for these weights as long as chunks keep arriving; None if they stop coming."""
        if at == CONTROLLER:
            return await self._wait(weights)
        reading = await self._transport.consume(
            names.weights_stream(at), self._on_chunk, prefetch=PREFETCH
        )
        try:
            return await self._wait(weights)
        finally:
            await reading.cancel()

    def discard(self, weights: WeightsRef) -> None:
        """They are kept elsewhere now."""
        while (path := self._spool.find(weights)) is not None:
            path.unlink()

    async def _wait(self, weights: WeightsRef) -> Path | None:
        while (path := self._spool.find(weights)) is None:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), self._patience_s)
            except TimeoutError:
                return None
            if self._error is not None:
                raise self._error
        return path

    def _on_chunk(self, delivery: Delivery) -> None:
        self._arrived.set()
        try:
            self._spool.add(decode_chunk(delivery.body))
        except (MessageError, DigestMismatch) as exc:
            log.warning("chunk refused", queue=delivery.queue, reason=str(exc))
        except StorageError as exc:
            # Whoever waits for weights ends the service with it; the chunk stays in its stream.
            self._error = exc
            return
        self._transport.settle(delivery, Settlement.DONE)
