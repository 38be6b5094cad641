"""What happens to runs, for those who look on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from tasuki.core import run as machine
from tasuki.core.run import RunState
from tasuki_controller.followers.follower import Follower
from tasuki_controller.history import Step
from tasuki_controller.news import Update, Watcher

BEHIND = 256
"""Updates that an onlooker may be behind before it misses some; each has the whole state."""


class Watch(Follower):
    """Tells every event. Of a turn that was refused, onlookers are told when that is said."""

    def __init__(self, tell: Watcher) -> None:
        self._tell = tell

    def follow(self, step: Step) -> None:
        if isinstance(step.event, machine.Event):
            self._tell(Update(run=step.after, what=step.event, outcome=step.outcome))


class Onlookers:
    """Everyone who looks on at a run just now."""

    def __init__(self) -> None:
        self._queues: dict[str, set[asyncio.Queue[Update | None]]] = {}

    def tell(self, update: Update) -> None:
        """Those who look on at its run."""
        if update.run is not None:
            for queue in self._queues.get(update.run.plan.run, set()):
                _put(queue, update)

    async def follow(
        self, run: str, now: Iterable[Update], *, beat_s: float
    ) -> AsyncIterator[Update | None]:
        """What is so now, and whatever happens to a run until it is over; None: nothing new."""
        queue: asyncio.Queue[Update | None] = asyncio.Queue(BEHIND)
        queues = self._queues.setdefault(run, set())
        queues.add(queue)
        state: RunState | None = None
        try:
            for update in now:
                state = update.run or state
                yield update
            while state is None or not state.is_done:
                try:
                    came = await asyncio.wait_for(queue.get(), beat_s)
                except TimeoutError:
                    yield None
                    continue
                if came is None:
                    return
                state = came.run or state
                yield came
        finally:
            queues.discard(queue)

    def close(self) -> None:
        """Send them home."""
        for queues in self._queues.values():
            for queue in queues:
                _put(queue, None)


def _put(queue: asyncio.Queue[Update | None], update: Update | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(update)
