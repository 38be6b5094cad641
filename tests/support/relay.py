"""A whole federation of the real services in one event loop, on whichever transport is given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from support.in_process import InProcessTrainer
from support.simulation import write_run
from support.stuck import Stuck
from tasuki.clock import SystemClock
from tasuki.core.model import CONTROLLER, LanesPolicy, Plan
from tasuki.core.run import OVER, RunState
from tasuki.ledger import migrations
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.ports import Transport
from tasuki.settings.run import RunFile
from tasuki.settings.toml import read
from tasuki.transport.memory import MemoryFederation
from tasuki.trust.member import NOBODY, Member
from tasuki.weights.spool import Spool
from tasuki.weights.unclaimed import Limits
from tasuki_controller.controller import Controller
from tasuki_controller.followers import Follower
from tasuki_controller.followers.following import Following
from tasuki_controller.followers.watch import Watch
from tasuki_controller.news import Update
from tasuki_controller.service import ControllerService
from tasuki_site.facts import Fact
from tasuki_site.journal import Journal
from tasuki_site.model_files.initial import write_initial
from tasuki_site.service import SiteService
from tasuki_site.site import Site
from tasuki_site.trainer.pool import TrainerPool
from tasuki_site.trainer.source import Source

DEADLINE_S = 60.0


@dataclass
class Relay:
    """Controller and sites, started and stopped one by one."""

    folder: Path
    queues: MemoryFederation
    run_file: RunFile
    sites: tuple[str, ...]
    controller: ControllerService = field(init=False)
    ledger: SqliteLedger = field(init=False)
    member: Member = field(init=False)  # the controller's
    updates: list[Update] = field(default_factory=list)
    hears_since: float | None = 0.0
    held_up: str = ""
    stall_s: float = 15.0
    within_s: float = DEADLINE_S
    facts: list[Fact] = field(default_factory=list)
    stuck: Stuck = field(default_factory=lambda: Stuck(set()))
    followers: Sequence[Follower] = ()
    limits: Limits | None = None
    trainer: str = "walk:train"
    members: Callable[[str], Member] = lambda _: NOBODY
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _close: dict[str, Callable[[], None]] = field(default_factory=dict)

    @property
    def run(self) -> str:
        return self.run_file.name

    @property
    def state(self) -> RunState:
        return self.controller.runs[self.run]

    async def start_controller(self) -> None:
        self.member = self.members(CONTROLLER)
        sign = None if self.member.keys is None else self.member.sign_row
        self.ledger = SqliteLedger(self.folder / "ledger.sqlite", sign=sign)
        self._keep(CONTROLLER, self.ledger.close)
        parts = self.controller_parts()
        following = Following(self.ledger, [Watch(self._watch), *self.followers])
        self.controller = ControllerService(parts, watcher=self._watch, on_step=following.take)
        self.controller.sweep()
        started = asyncio.Event()
        task = asyncio.create_task(self._run_controller(following, started))
        self._running[CONTROLLER] = task
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            waiting.cancel()
            task.result()

    def connect(self, name: str) -> Transport:
        return self.stuck.through(self.queues.connect(name))

    def controller_parts(self) -> Controller:
        return Controller(
            transport=self.connect(CONTROLLER),
            ledger=self.ledger,
            runs=self.folder / "runs",
            spool=Spool(self.folder / "spool" / CONTROLLER, limits=self.limits),
            clock=SystemClock(),
            member=self.member,
            patience_s=0.5,
            hears_since=lambda: self.hears_since,
            held_up=lambda: self.held_up,
        )

    async def _run_controller(self, following: Following, started: asyncio.Event) -> None:
        async with following.led():
            await self.controller.run(started=started)

    def start_site(self, name: str) -> None:
        service = SiteService(self.site_parts(name))
        self._running[name] = asyncio.create_task(service.run())

    def site_parts(self, name: str) -> Site:
        database = migrations.connect(self.folder / f"{name}.sqlite", migrations.JOURNAL)
        self._keep(name, database.close)
        journal = Journal(database, name)
        journal.introduce()
        source = Source(run=self.trainer, folder=self.folder)
        return Site(
            name=name,
            transport=self.connect(name),
            journal=journal,
            spool=Spool(self.folder / "spool" / name),
            trainers=TrainerPool(lambda _: InProcessTrainer(source)),
            clock=SystemClock(),
            member=self.members(name),
            watcher=self.facts.append,
            stall_s=self.stall_s,
            idle_beat_s=0.1,
            farewell_s=0.5,
        )

    async def stop(self, name: str) -> None:
        """End a service where it stands, as a kill would as far as its peers can tell."""
        task = self._running.pop(name)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def _keep(self, name: str, close: Callable[[], None]) -> None:
        """A service's own file stays open until it is started again: tests read on in it."""
        self._close.pop(name, lambda: None)()
        self._close[name] = close

    def submit(self, *, lanes: LanesPolicy | None = None) -> Plan:
        plan = self.run_file.plan(self.sites)
        plan = plan if lanes is None else replace(plan, lanes=lanes)
        # Leases of a tenth of what a run file may have: tests wait for them to run out.
        plan = replace(plan, task=replace(plan.task, beat_s=0.05))
        path = self.folder / "initial.safetensors"
        initial = self.run_file.weights.initial
        weights = write_initial(initial, path, folder=self.folder, seed=plan.task.seed)
        self.controller.submit(plan, path, weights)
        return plan

    async def until(self, condition: Callable[[RunState], bool]) -> RunState:
        """Wait for the run to come to a state, or fail with what it came to instead."""
        try:
            async with asyncio.timeout(self.within_s):
                while not condition(self.state):
                    self._changed.clear()
                    self.raise_what_ended_early()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"still {self.state.status}: {self.state.reason}") from None
        return self.state

    async def until_over(self) -> RunState:
        return await self.until(lambda state: state.status in OVER)

    async def close(self) -> None:
        for name in list(self._running):
            await self.stop(name)
        for close in self._close.values():
            close()

    def _watch(self, update: Update) -> None:
        self.updates.append(update)
        self._changed.set()

    def raise_what_ended_early(self) -> None:
        for task in self._running.values():
            if task.done():
                task.result()


@asynccontextmanager
async def relay(
    folder: Path,
    changes: Mapping[str, object],
    *,
    running: Sequence[str] | None = None,
    followers: Sequence[Follower] = (),
    members: Callable[[str], Member] = lambda _: NOBODY,
) -> AsyncIterator[Relay]:
    """A relay of three sites with its run submitted; `running` names those that are up.

    Args:
        members: who signs as each service, each time that it starts.
    """
    run_file = read(write_run(folder, **changes), RunFile)
    sites = run_file.simulated_sites()
    queues = MemoryFederation(sites, is_durable=True)
    it = Relay(
        folder=folder,
        queues=queues,
        run_file=run_file,
        sites=sites,
        followers=followers,
        members=members,
    )
    await it.start_controller()
    try:
        for name in sites if running is None else running:
            it.start_site(name)
        yield it
    finally:
        await it.close()
