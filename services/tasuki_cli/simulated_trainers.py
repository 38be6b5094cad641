"""The trainers of a simulation's sites: one process for all of them, some, or one for each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from tasuki.disk.errors import disk_errors
from tasuki_cli.simulation import Simulation
from tasuki_site.trainer.child_trainer import ChildTrainer, Output
from tasuki_site.trainer.pool import Trainer, TrainerPool
from tasuki_site.trainer.process_limit import ProcessLimit, fitting
from tasuki_site.trainer.request import Began, Log, TurnRequest, unnoticed
from tasuki_site.trainer.result import Outcome
from tasuki_site.trainer.workplace import Workplaces


class SimulatedTrainers:
    """One pool for each site, and what they share.

    Args:
        folder: for the sites' working folders.
        lanes: as many as there are models on their way.
    """

    def __init__(self, simulation: Simulation, folder: Path, *, lanes: int = 1) -> None:
        self._s = simulation
        self._lanes = lanes
        self._shared = self._shared_trainers()
        self._workplaces = Workplaces(
            beside=simulation.folder,
            folder=folder,
            apart=simulation.data.path,
            hidden=simulation.handed is None,
        )
        self._limit = ProcessLimit(self._places(), at_once=self._processes())
        self._pools: list[TrainerPool] = []

    def pool_of(self, site: str) -> TrainerPool:
        pool = TrainerPool(lambda _: self._trainer(site), limit=self._limit)
        self._pools.append(pool)
        return pool

    async def say_farewell(self, run: str) -> None:
        """A script may work on after its last turn, which was that of the whole run."""
        for pool in self._pools:
            pool.end(run)
        await asyncio.gather(*(pool.all_gone() for pool in self._pools))

    @property
    def at_once(self) -> int:
        """How many turns train at a time."""
        return len(self._shared) or self._processes()

    def _processes(self) -> int:
        """How many stay between turns: with many sites, one for each would fill the memory."""
        sites = len(self._s.sites)
        return sites if self._shared else self._s.run_file.simulate.processes or fitting()

    def _places(self) -> int:
        """Of sites that share processes none is ended for another: that would end it for both."""
        return self._processes() * self._lanes if self._shared else self._processes()

    def _trainer(self, site: str) -> Trainer:
        """Always the same one for a site: what its code keeps is there when it scores, too."""
        if not self._shared:
            return _Placed(self._child_trainer(), self._workplaces, self._show)
        place = self._s.sites.index(site) % len(self._shared)
        return _Placed(self._shared[place], self._workplaces, self._show)

    def _shared_trainers(self) -> list[ChildTrainer]:
        """Those that sites have together; none: each has its own.

        With one lane, sites train one at a time, so that one does; they score at once, and lanes
        are trained at once, as far as there are more.
        """
        if not self._s.shares_a_process:
            return []
        wanted = None if self._s.one_process else self._s.run_file.simulate.processes
        return [self._child_trainer() for _ in range(min(wanted or 1, len(self._s.sites)))]

    def _child_trainer(self) -> ChildTrainer:
        return ChildTrainer(self._s.source, self._show, self._s.run_file.simulate.farewell_s)

    def _show(self, request: TurnRequest, line: str) -> None:
        self._s.output(request.site, line)


@dataclass(slots=True)
class _Placed:
    """A trainer that works in the folder of whichever site the turn is for."""

    trainer: Trainer
    workplaces: Workplaces
    output: Output

    async def train(self, request: TurnRequest, log: Log, *, began: Began = unnoticed) -> Outcome:
        place = self.workplaces.ready(request.site)
        if place is None or not place.is_dir():  # its own code may have removed it
            with disk_errors(Path(request.result)):
                place = await asyncio.to_thread(self.workplaces.prepare, request.site)
        try:
            placed = replace(request, folder=str(place))
            return await self.trainer.train(placed, log, began=began)
        finally:
            for name in self.workplaces.written_to():
                self.output(
                    request, f"{name} beside the trainer was changed, which all sites share"
                )

    async def farewell(self) -> None:
        await self.trainer.farewell()

    async def close(self) -> None:
        await self.trainer.close()
