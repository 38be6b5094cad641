"""Tells followers the rows of the ledger. Nothing that they do holds up or fails a run."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from threading import Thread
from typing import TypeVar

import structlog

from tasuki.errors import StorageError, TasukiError
from tasuki.ledger.sqlite import SqliteLedger
from tasuki_controller.followers.follower import Follower
from tasuki_controller.history import Replay, Step

log = structlog.get_logger()
T = TypeVar("T")

KEPT = 256
"""Steps that stay in memory for followers that are a little behind."""

PAGE = 64
"""Rows that are read again at a time: the service waits for no more."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Before a row is told again to a follower that failed at it."""

FAREWELL_S = 1.0
"""How long a follower may take for the row that it was told when the controller ends."""


class Following:
    """One replay for all followers: steps that the service has just taken, or rows read again.

    Args:
        failed: told the name of each follower that fails, as often as it does.
    """

    def __init__(
        self,
        ledger: SqliteLedger,
        followers: Iterable[Follower],
        *,
        failed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._failed = failed
        self._at_once: list[Follower] = []
        self._more: dict[Follower, asyncio.Event] = {}
        for follower in followers:
            if follower.name:
                self._more[follower] = asyncio.Event()
            else:
                self._at_once.append(follower)
        self._replay = Replay(ledger)
        self._newest = ledger.newest()
        self._recent: deque[Step] = deque(maxlen=KEPT if self._more else 0)
        self._page: list[Step] = []
        self._failing: set[Follower] = set()
        self._ends = False

    def take(self, step: Step) -> None:
        """The service has just taken this step, and its row is in the ledger."""
        try:
            steps = self._up_to(step)
        except TasukiError:
            log.warning("followers miss rows", until=step.row.position, exc_info=True)
            self._recent.clear()  # who may take its time finds them in the ledger
            steps = [step]
        for each in steps:
            self._recent.append(each)
            for follower in self._at_once:
                self._tell_at_once(follower, each)
        self._wake()

    @asynccontextmanager
    async def led(self) -> AsyncIterator[None]:
        """As long as this lasts, those with a name are told what they have not been told yet."""
        leading = [asyncio.create_task(self._lead(follower)) for follower in self._more]
        try:
            yield
        finally:
            self._ends = True
            self._wake()
            if leading:
                await asyncio.wait(leading, timeout=FAREWELL_S)
            for task in leading:
                task.cancel()

    def _up_to(self, step: Step) -> list[Step]:
        """With what else was recorded since the last one: a submission, or a step within a step."""
        last, self._newest = self._newest, max(self._newest, step.row.position)
        if step.row.position <= last:
            return []
        if step.row.position == last + 1:
            self._replay.know(step)
            return [step]
        rows = list(self._ledger.rows(after=last))
        return [self._replay.step(row) for row in rows if row.position <= self._newest]

    def _tell_at_once(self, follower: Follower, step: Step) -> None:
        try:
            follower.follow(step)
        except Exception:  # noqa: BLE001 - supervision: whatever it raises, the run goes on
            self._note_failure(follower, step.row.position)
        else:
            self._failing.discard(follower)

    async def _lead(self, follower: Follower) -> None:
        position, pause_s = -1, FIRST_PAUSE_S
        while not self._ends:
            try:
                if position < 0:
                    kept = self._ledger.position(follower.name)
                    position = await _beside(partial(follower.begin, kept))
                    # A ledger that was put back from a copy has fewer rows than others may know.
                    position = position if position <= self._newest else 0
                position = await self._lead_on(follower, position)
                pause_s = FIRST_PAUSE_S
                self._failing.discard(follower)
            except Exception:  # noqa: BLE001 - supervision: whatever it raises, the run goes on
                self._note_failure(follower, position + 1)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _lead_on(self, follower: Follower, position: int) -> int:
        """One row further, once there is one; returns up to where it came."""
        more = self._more[follower]
        more.clear()
        step = self._after(position)
        if step is None:
            await more.wait()
            return position
        await _beside(partial(follower.follow, step))
        try:
            self._ledger.save_position(follower.name, step.row.position)
        except StorageError:
            log.warning("position not saved", follower=follower.name, exc_info=True)
        return step.row.position

    def _after(self, position: int) -> Step | None:
        """What comes next, replayed once for all who are about as far."""
        if position >= self._newest:
            return None
        for steps in (self._recent, self._page):
            if steps and steps[0].row.position <= position + 1 <= steps[-1].row.position:
                return next(step for step in steps if step.row.position > position)
        rows = list(islice(self._ledger.rows(after=position), PAGE))
        self._page = [self._replay.step(row) for row in rows]
        return self._page[0]

    def _wake(self) -> None:
        for more in self._more.values():
            more.set()

    def _note_failure(self, follower: Follower, position: int) -> None:
        name = follower.name or type(follower).__name__
        if follower not in self._failing:  # or a tracker that is away would fill the log
            log.warning("follower failed", follower=name, row=position, exc_info=True)
        self._failing.add(follower)
        self._failed(name)


async def _beside(work: Callable[[], T]) -> T:
    """In a thread that nobody waits for who ends: it may never come back."""
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as exc:  # noqa: BLE001 - it may raise what would end us, as SystemExit
            failed = RuntimeError(f"{type(exc).__name__}: {exc}")
            failed.__cause__ = exc
            done.set_exception(failed)

    Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(done)
