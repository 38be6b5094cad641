"""A trainer in a thread of the test's own process: for tests of what surrounds it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasuki.core.model import Kind
from tasuki_site.trainer.failure import failure_of, told_error
from tasuki_site.trainer.request import Began, Log, TurnRequest, unnoticed
from tasuki_site.trainer.result import Outcome, outcome_of
from tasuki_site.trainer.seeding import seed_everything
from tasuki_site.trainer.source import Source, load_function


@dataclass(slots=True)
class InProcessTrainer:
    """A function form, called in a thread."""

    source: Source

    async def train(self, request: TurnRequest, log: Log, *, began: Began = unnoticed) -> Outcome:
        began()
        loop = asyncio.get_running_loop()

        def report(values: Mapping[str, float]) -> None:
            loop.call_soon_threadsafe(log, values)

        abandoned = threading.Event()
        try:
            return await asyncio.to_thread(self._train, request, report, abandoned)
        except asyncio.CancelledError:
            # A thread cannot be ended; what it still writes is removed by itself.
            abandoned.set()
            raise

    async def farewell(self) -> None:
        """Nothing runs between turns."""

    async def close(self) -> None:
        """Nothing runs between turns."""

    def _train(self, request: TurnRequest, log: Log, abandoned: threading.Event) -> Outcome:
        try:
            function = load_function(self.source, Kind(request.kind))
            seed_everything(request.seed)
            return outcome_of(request, function(request.open(log)))
        except Exception as exc:
            raise told_error(*failure_of(exc)) from exc
        finally:
            if abandoned.is_set():
                Path(request.result).unlink(missing_ok=True)
