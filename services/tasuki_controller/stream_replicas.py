"""At how many nodes of the broker each stream can be read, for the metrics.

RabbitMQ tells this by no metric, so it is tried: a node without a running replica refuses readers.
A thread does it, on connections of its own: it has no part in the relay, and may wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, closing, suppress

import structlog

from tasuki.errors import TasukiError
from tasuki.settings.broker import BrokerTable
from tasuki.transport.broker import probe_of

log = structlog.get_logger()

EVERY_S = 60.0

Tell = Callable[[Mapping[str, int]], None]


@asynccontextmanager
async def tried(
    table: BrokerTable,
    streams: Callable[[], Iterable[str]],
    tell: Tell,
    *,
    every_s: float = EVERY_S,
) -> AsyncIterator[None]:
    """Try it every minute as long as this lasts; a broker of one node is left alone.

    Args:
        streams: those to try.
        tell: is given the nodes by stream, or nothing while a node cannot be asked.
    """
    over = threading.Event()
    if len(table.nodes) > 1:
        loop = asyncio.get_running_loop()

        def told(found: Mapping[str, int]) -> None:
            with suppress(RuntimeError):  # the loop ended meanwhile, and the controller with it
                loop.call_soon_threadsafe(tell, found)

        trying = (table, streams, told, over, every_s)
        # Nobody waits for its end: a node that does not answer would hold the controller up.
        threading.Thread(target=_try, args=trying, name="stream-replicas", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _try(
    table: BrokerTable,
    streams: Callable[[], Iterable[str]],
    tell: Tell,
    over: threading.Event,
    every_s: float,
) -> None:
    is_told = False
    while not over.wait(every_s):
        try:
            tell(count(table, list(streams())))
            is_told = False
        except TasukiError as exc:
            if not is_told:
                # For the metrics only: the service itself says whether it can go on.
                log.info("replicas of streams cannot be counted", reason=str(exc))
            is_told = True
            tell({})


def count(table: BrokerTable, streams: Iterable[str]) -> dict[str, int]:
    """The nodes at which each of these streams can be read.

    Raises:
        TasukiError: a node cannot be asked, so that nobody knows.
    """
    found = dict.fromkeys(streams, 0)
    for node in table.nodes:
        with closing(probe_of(table, node, name="stream replicas")) as probe:
            probe.connect()
            for stream in found:
                found[stream] += probe.can_read(stream)
    return found
