"""How a service's process lives: it runs until it is asked to end, and then ends in order.

The first SIGTERM or SIGINT asks it to finish what it has; the second ends it at once.
"""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import structlog

log = structlog.get_logger()

SIGNALS = (signal.SIGTERM, signal.SIGINT)
ENDED_AT_ONCE = 128 + signal.SIGTERM
"""The exit code after a second signal: what a shell says of a process that SIGTERM ended."""


def write_no_core_dumps() -> None:
    """A service has keys and passwords in its memory; a dump of it would have them on the disk.

    Processes that it starts begin with the same, and may allow themselves more.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


async def live(
    work: Coroutine[object, object, None],
    *,
    drain: Callable[[], bool],
    in_vain: Callable[[], Coroutine[object, object, None]] | None = None,
) -> int:
    """Run a service to its end; returns the exit code.

    Args:
        drain: asks the service to end by itself; False if it has not begun and may just go.
        in_vain: returns once there is no use in waiting for that any more.

    Raises:
        TasukiError: why the service could not go on.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    ending = _Ending(task, drain, in_vain)
    for number in SIGNALS:
        loop.add_signal_handler(number, ending.ask)
    try:
        await task
    except asyncio.CancelledError:
        if not ending.is_asked:
            raise
        log.warning("ended at once")
        return ENDED_AT_ONCE if ending.is_hurried else 0
    except BaseExceptionGroup as group:
        raise first_error(group) from group
    finally:
        ending.close()
        for number in SIGNALS:
            loop.remove_signal_handler(number)
    log.info("ended")
    return 0


@asynccontextmanager
async def beside(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Let this go on as long as what is within."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


class _Ending:
    def __init__(
        self,
        task: asyncio.Task[None],
        drain: Callable[[], bool],
        in_vain: Callable[[], Coroutine[object, object, None]] | None,
    ) -> None:
        self._task = task
        self._drain = drain
        self._in_vain = in_vain
        self._giving_up: asyncio.Task[None] | None = None
        self.is_asked = False
        self.is_hurried = False

    def ask(self) -> None:
        self.is_hurried, self.is_asked = self.is_asked, True
        if self.is_hurried:
            self._task.cancel()
            return
        log.info("ending: once more ends it at once")
        if not self._drain():
            self._task.cancel()
        elif self._in_vain is not None:
            self._giving_up = asyncio.get_running_loop().create_task(self._give_up(self._in_vain()))

    def close(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()

    async def _give_up(self, in_vain: Coroutine[object, object, None]) -> None:
        await in_vain
        log.warning("what is under way cannot be finished: it is kept for the next start")
        self._task.cancel()


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended a service; the others only followed from it."""
    for error in group.exceptions:
        return first_error(error) if isinstance(error, BaseExceptionGroup) else error
    return group
