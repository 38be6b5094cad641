"""How many trainers' processes stay between turns: at one site, or at all those of a simulation."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

PROCESS_BYTES = 2 * 2**30
FEWEST, MOST = 2, 16

log = structlog.get_logger()


@dataclass(eq=False, slots=True, kw_only=True)
class Place:
    """One trainer's place among them.

    Attributes:
        close: ends its process, which its next turn starts anew.
        turns: those under way: two, while one replaces the other.
    """

    run: str
    close: Callable[[], Awaitable[None]]
    turns: int = 0


class ProcessLimit:
    """Ends the process that was longest unused when there are too many.

    With fewer of them than there are active runs, nearly every turn would wait for a process to
    start and to import what it needs.

    Args:
        at_once: so many have a turn at a time, and others wait; None: whoever gives them turns
            sees to it that they are not too many.
    """

    def __init__(self, limit: int = FEWEST, *, at_once: int | None = None) -> None:
        self._limit = limit
        self._busy: AbstractAsyncContextManager[None] = (
            nullcontext() if at_once is None else asyncio.Semaphore(at_once)
        )
        self._places: dict[Place, None] = {}  # the longest unused first

    @asynccontextmanager
    async def room_for(self, place: Place) -> AsyncIterator[None]:
        """There is room for this one's process. One with a turn is never ended."""
        async with self._busy:
            place.turns += 1
            try:
                await self._make_room(place)
                yield
            finally:
                place.turns -= 1

    async def _make_room(self, place: Place) -> None:
        self._places.pop(place, None)
        self._places[place] = None
        idle = [each for each in self._places if not each.turns and each is not place]
        for each in idle[: max(0, len(self._places) - self._limit)]:
            said = "trainer ended to make room for another: its next turn starts it anew"
            log.info(said, run=each.run, processes=self._limit)
            self.leave(each)
            await each.close()

    def leave(self, place: Place) -> None:
        """This one needs no place any more."""
        self._places.pop(place, None)


def fitting() -> int:
    """Processes of trainers that fit into this machine, or into this container."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return as_many_as_fit(memory)


def as_many_as_fit(memory_bytes: int) -> int:
    """Trainers' processes that a machine with this memory keeps, unless its settings say."""
    return max(FEWEST, min(MOST, memory_bytes // PROCESS_BYTES))
