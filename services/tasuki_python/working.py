"""A simulation in a thread of its own, with an event loop of its own: a notebook's is running."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any, Generic, TypeVar

import structlog

from tasuki.core import run as machine
from tasuki_cli.simulation import Simulation
from tasuki_controller.news import Update
from tasuki_controller.service import ControllerService
from tasuki_python.happening import Feed, Printed

T = TypeVar("T")


class Work(Generic[T]):
    """One simulation under way. It dies with this process, and can be resumed then."""

    def __init__(
        self,
        simulation: Simulation,
        feed: Feed,
        doing: Callable[[Simulation], Coroutine[Any, Any, T]],  # Any: whatever it waits for
        *,
        clear: Callable[[], None] = lambda: None,
    ) -> None:
        """`doing`: what is done with it; `clear`: called at the end, whatever it was."""
        self._doing = doing
        self._simulation = replace(
            simulation, watcher=self._watch, output=self._output, on_start=self._on_start
        )
        self._run = simulation.run_file.name
        self._feed = feed
        self._clear = clear
        self._outcome: Future[T] = Future()
        self._began = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[T]
        self._controller: ControllerService | None = None
        self._wanted: machine.Event | None = None

    def start(self) -> None:
        _be_quiet()
        threading.Thread(target=self._work, name=f"tasuki {self._run}", daemon=True).start()

    @property
    def is_over(self) -> bool:
        return self._outcome.done()

    def ended(self) -> T:
        """How it ended, once it has.

        Raises:
            CancelledError: it was interrupted.
            TasukiError: as what was done.
        """
        return self._outcome.result()

    def steer(self, event: machine.Event) -> None:
        """What an operator asks of the run; returns at once."""
        self._soon(lambda: self._want(event))

    def interrupt(self) -> None:
        """End the simulation and not the run, which can be resumed; returns when it has ended."""
        self._soon(lambda: self._task.cancel())
        self._outcome.exception()

    def _soon(self, function: Callable[[], object]) -> None:
        self._began.wait()
        if not self._outcome.done():
            with suppress(RuntimeError):  # its loop is closed: it is over
                self._loop.call_soon_threadsafe(function)

    def _work(self) -> None:
        try:
            self._outcome.set_result(asyncio.run(self._main()))
        except BaseException as exc:  # noqa: BLE001 - whoever asks how it ended is told
            self._outcome.set_exception(exc)
        finally:
            self._began.set()
            self._feed.end()
            self._clear()

    async def _main(self) -> T:
        self._loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - this is one
        self._task = task
        self._began.set()
        return await self._doing(self._simulation)

    # Called in the loop.

    def _on_start(self, controller: ControllerService) -> None:
        self._controller = controller

    def _watch(self, update: Update) -> None:
        self._feed.put(update)
        if self._wanted is not None:
            self._loop.call_soon(self._tell)

    def _output(self, site: str, line: str) -> None:
        self._feed.put(Printed(site, line))

    def _want(self, event: machine.Event) -> None:
        self._wanted = event
        self._tell()

    def _tell(self) -> None:
        """Its first weights may not be there yet."""
        if self._controller is None or self._run not in self._controller.runs:
            return
        event, self._wanted = self._wanted, None
        if event is not None and not self._controller.runs[self._run].is_done:
            self._controller.apply(self._run, event)


def _be_quiet() -> None:
    """What the services log is not what a notebook shows, unless it was set up to."""
    if not structlog.is_configured():
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
