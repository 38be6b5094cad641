"""How many messages lie in the dead-letter queue, for the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from tasuki.errors import TransportError
from tasuki.ports import Transport
from tasuki.wire import names

log = structlog.get_logger()

EVERY_S = 10.0


async def count(
    transport: Transport,
    tell: Callable[[int], None],
    started: asyncio.Event,
    *,
    every_s: float = EVERY_S,
) -> None:
    """Count them from the service's start on, every few seconds, until this is cancelled."""
    await started.wait()
    is_told = False
    while True:
        try:
            tell(await transport.count(names.DEAD))
            is_told = False
        except TransportError as exc:
            if not is_told:
                # For the metrics only: the service itself says whether it can go on.
                log.info("dead letters cannot be counted", reason=str(exc))
            is_told = True
        await asyncio.sleep(every_s)
