"""A site's trainers: one for each lane of each run, for as long as the run needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from tasuki.core.model import Lane
from tasuki_site.trainer.process_limit import Place, ProcessLimit
from tasuki_site.trainer.request import Began, Log, TurnRequest, unnoticed
from tasuki_site.trainer.result import Outcome

PARTING_S = 5.0
"""How long a trainer may take to end when its service ends, or when another needs its place."""


class Trainer(Protocol):
    """Trains one lane's turns at one site, one at a time, and evaluates between them."""

    async def train(self, request: TurnRequest, log: Log, *, began: Began = unnoticed) -> Outcome:
        """Train and write the result's file, or evaluate.

        Cancelling ends the training at once.

        Args:
            log: gets what it reports, as it does.
            began: called once it need not wait for the turn of another.

        Raises:
            TasukiError: why there is no result.
        """

    async def farewell(self) -> None:
        """There are no more turns: let it do what it does after its last one, then end it."""

    async def close(self) -> None:
        """End it soon; it can be used again."""


class TrainerPool:
    """A site's trainers, one for each lane. `limit`: that of all their processes together."""

    def __init__(
        self, make: Callable[[str], Trainer], *, limit: ProcessLimit | None = None
    ) -> None:
        self._make = make
        self._limit = limit or ProcessLimit()
        self._trainers: dict[Lane, tuple[Trainer, Place]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def train(
        self, trainer: str, request: TurnRequest, log: Log, *, began: Began = unnoticed
    ) -> Outcome:
        """Train, or evaluate, with the trainer of this name; `began`: as that of a trainer.

        Raises:
            TrainerNotFound: the site has none of that name.
            TasukiError: why there is no result.
        """
        lane = request.trained_in
        if lane not in self._trainers:
            made = self._make(trainer)
            self._trainers[lane] = made, Place(run=request.run, close=made.close)
        own, place = self._trainers[lane]
        async with self._limit.room_for(place):
            return await own.train(request, log, began=began)

    def end(self, run: str) -> None:
        """This run needs no trainer any more; each may take its time to say farewell."""
        for lane in [lane for lane in self._trainers if lane[0] == run]:
            trainer = self._taken_out(lane)
            task = asyncio.create_task(trainer.farewell())
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def all_gone(self) -> None:
        """Returns once every trainer whose run is over has ended."""
        await asyncio.gather(*self._leaving)

    async def close(self) -> None:
        """End all of them soon."""
        await asyncio.gather(*(self._taken_out(lane).close() for lane in list(self._trainers)))
        if leaving := list(self._leaving):
            await asyncio.wait(leaving, timeout=PARTING_S)
            for task in leaving:
                task.cancel()
            await asyncio.wait(leaving)

    def _taken_out(self, lane: Lane) -> Trainer:
        trainer, place = self._trainers.pop(lane)
        self._limit.leave(place)
        return trainer
