"""The whole federation in one process: the real services on queues in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tasuki import errors
from tasuki.clock import SystemClock
from tasuki.core import run as machine
from tasuki.core.model import CONTROLLER, EVALUATION, Origin, Plan, WeightsRef
from tasuki.core.run import RunState, Status
from tasuki.disk.writing import write_whole
from tasuki.errors import (
    CannotEvaluate,
    DiskFull,
    LedgerBroken,
    RunExists,
    RunUnderWay,
    SettingsError,
)
from tasuki.ledger import migrations
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.lifetime import first_error
from tasuki.transport.memory import MemoryFederation
from tasuki.weights.spool import Spool
from tasuki_cli.simulated_trainers import SimulatedTrainers
from tasuki_cli.simulation import RUN_FILE, Ended, Simulation, ToScore
from tasuki_controller import history
from tasuki_controller.continuing import check_evaluated, check_extended, name_taken
from tasuki_controller.controller import Controller
from tasuki_controller.followers.following import Following
from tasuki_controller.followers.watch import Watch
from tasuki_controller.news import Update
from tasuki_controller.service import ControllerService
from tasuki_site.journal import Journal
from tasuki_site.model_files.first_weights import first_weights
from tasuki_site.service import SiteService
from tasuki_site.site import Site


def simulate(simulation: Simulation) -> Ended:
    """Run it until it is over.

    Raises:
        SettingsError, TrainerNotFound, CannotEvaluate: before anything was started.
        TasukiError: something broke on the way; `resume` goes on.
    """
    return asyncio.run(simulated(simulation))


async def simulated(simulation: Simulation) -> Ended:
    """The same in an event loop that has begun."""
    if simulation.one_process and not simulation.shares_a_process:
        raise SettingsError(
            "a script or a command needs a process of its own at each site: leave --one-process out"
        )
    simulation.source.check()
    if simulation.run_file.evaluate is not None and (why := simulation.source.why_not_evaluate()):
        raise CannotEvaluate(why)
    with simulation.data.locked():
        return await _Federation(simulation).run()


def evaluate(simulation: Simulation, to_score: ToScore) -> int:
    """Let all sites of a run that was simulated score weights; the number of that evaluation.

    Raises:
        UnknownRun, WeightsRemoved, LedgerBroken: there are no such weights, or no such run.
        RunUnderWay: it was interrupted, and would go on.
        CannotEvaluate: the trainer has nothing that scores.
    """
    return asyncio.run(evaluated(simulation, to_score))


async def evaluated(simulation: Simulation, to_score: ToScore) -> int:
    """The same in an event loop that has begun."""
    state, _ = simulation.data.run(to_score.run)
    check_evaluated(state)
    if not state.is_over and (state.unattended or state.status is not Status.PAUSED):
        raise RunUnderWay(f"{to_score.run} is not over: `tasuki simulate --resume` goes on with it")
    if why := simulation.source.why_not_evaluate():
        raise CannotEvaluate(why)
    with simulation.data.locked():
        return await _Federation(simulation, plan=state.plan).evaluate(to_score)


class _Federation:
    """Controller, sites and queues, put together. `plan`: other than the simulation's own."""

    def __init__(self, simulation: Simulation, *, plan: Plan | None = None) -> None:
        self._s = simulation
        self._plan = plan or simulation.plan()
        self._folder = simulation.data.runs_path / self._plan.run
        self._ledger = SqliteLedger(simulation.data.ledger_path)
        self._spool = Spool(self._folder / "spool")
        self._queues = MemoryFederation(simulation.sites, retain_bytes=0)
        # In memory, as the queues are: after a restart the controller gives the turn out again.
        self._journals = migrations.connect(":memory:", migrations.JOURNAL)
        self._trainers = SimulatedTrainers(
            simulation, self._folder / "sites", lanes=self._plan.lanes.count
        )
        self._failed: str | None = None
        self._pause = asyncio.Event()
        self._scored = asyncio.Event()
        self._asked = 0

    async def run(self) -> Ended:
        began = time.monotonic()
        known = self._known()
        if known is not None and self._is_done(known):
            return Ended(state=known, wall_s=0.0, error=None)
        state = await self._serve(lambda controller: self._relay(controller, is_new=known is None))
        error = getattr(errors, self._failed or "", None) if state.status is Status.FAILED else None
        return Ended(state=state, wall_s=time.monotonic() - began, error=error)

    async def evaluate(self, to_score: ToScore) -> int:
        await self._serve(lambda controller: self._score(controller, to_score))
        return self._asked

    async def _serve(
        self, work: Callable[[ControllerService], Coroutine[object, object, RunState]]
    ) -> RunState:
        """The run after this work, while controller and sites serve."""
        controller = self._controller()
        sites = [self._site(name) for name in self._s.sites]
        try:
            async with asyncio.TaskGroup() as tasks:
                started = asyncio.Event()
                tasks.create_task(controller.run(started=started))
                for site in sites:
                    tasks.create_task(site.run())
                await started.wait()
                self._s.on_start(controller)
                state = await work(controller)
                if state.is_over:
                    await self._trainers.say_farewell(self._plan.run)
                for site in sites:
                    site.drain()
                controller.stop()
        except BaseExceptionGroup as group:
            raise first_error(group) from group
        finally:
            self._ledger.close()
            self._journals.close()
        with suppress(OSError):  # what is left of it is still wanted
            self._spool.folder.rmdir()
        return state

    def _is_done(self, known: RunState) -> bool:
        """Whether nothing is left to do: killed at its end, a run may lack its last checkpoint."""
        is_done = known.is_done and not self._extends(known)
        return is_done and not any(each.run == self._plan.run for each in self._ledger.pending())

    def _known(self) -> RunState | None:
        """The run as an earlier simulation left it.

        Raises:
            RunExists: and nobody said that it should be resumed, or it was another run.
        """
        state = history.replay(self._ledger.rows(self._plan.run))
        if state is None:
            return None
        if state.removed:
            raise RunExists(name_taken(state))
        if not self._s.resume:
            raise RunExists(
                f"there is a run {self._plan.run!r} in {self._s.data.path} already "
                f"({state.status}): go on with --resume, rename this one, or use another folder "
                "with --data"
            )
        self._plan = self._with_its_rounds(state)
        if replace(state.plan, task=replace(state.plan.task, rounds=self._rounds)) != self._plan:
            raise RunExists(
                f"run {self._plan.run!r} was started with other settings: put them back, or give "
                "this one another name; it can begin where that one is, with "
                f'[weights] initial = "run:{self._plan.run}"'
            )
        return state

    @property
    def _rounds(self) -> int:
        return self._plan.task.rounds

    def _with_its_rounds(self, known: RunState) -> Plan:
        """The plan of this simulation; a file that was not told of more rounds takes none back.

        Raises:
            FewerRounds, NotExtended: it cannot have as many as were asked for.
        """
        has = known.plan.task.rounds
        if self._s.rounds is None and self._rounds < has:
            if known.status not in machine.OVER:
                said = f"goes on to {has} rounds, which it was given before"
                self._s.output(self._plan.run, said)
            return replace(self._plan, task=replace(self._plan.task, rounds=has))
        if self._rounds != has:
            check_extended(known, self._rounds)
        return self._plan

    def _extends(self, known: RunState) -> bool:
        return self._rounds > known.plan.task.rounds

    async def _relay(self, controller: ControllerService, *, is_new: bool) -> RunState:
        run = self._plan.run
        self._note_run_file()
        if is_new:
            first = self._spool.part("initial")
            initial, origin = self._initial()
            weights = await first_weights(
                initial,
                first,
                folder=self._s.folder,
                seed=self._plan.task.seed,
                show=lambda line: self._s.output("initial", line),
                non_finite=self._plan.task.non_finite,
                warn=lambda text: self._s.output(run, text),
                handed=self._s.handed,
            )
            if origin is not None and origin.digest != weights.digest:
                raise LedgerBroken(f"{initial} has other bytes than the ledger says")
            self._warn_of_waits()
            controller.submit(replace(self._plan, origin=origin), first, weights)
            first.unlink(missing_ok=True)
        else:
            if self._extends(controller.runs[run]):
                controller.extend(run, self._rounds)
            if controller.runs[run].status is Status.PAUSED:
                self._resume(controller)
        return await self._until_over_or_paused(controller)

    def _warn_of_waits(self) -> None:
        """A lane is late by the clock, whatever its turn waits for."""
        at_once, lanes = self._trainers.at_once, self._plan.lanes
        if lanes.wait_s is not None and at_once < lanes.count:
            one = "process" if at_once == 1 else "processes"
            self._s.output(
                self._plan.run,
                f"[lanes] wait_s counts also how long turns wait for one of {at_once} {one}: have "
                f"[simulate] processes = {len(self._s.sites)}",
            )

    async def _score(self, controller: ControllerService, to_score: ToScore) -> RunState:
        run, folder, split = self._plan.run, self._s.data, to_score.split
        self._hear_all(controller)
        if controller.runs[run].is_over and controller.runs[run].evaluation is not None:
            # Of one that was interrupted: who asks again, asks for this.
            controller.apply(run, machine.StopRequested(reason="asked again"))
        if split is None:
            split = self._plan.evaluate.split if self._plan.evaluate else ""
        if isinstance(to_score.weights, Path):
            with TemporaryDirectory(prefix="tasuki-", dir=self._folder) as place:
                own = Path(place) / "to-score.safetensors"
                weights = await first_weights(
                    str(to_score.weights.absolute()),
                    own,
                    folder=self._s.folder,
                    seed=self._plan.task.seed,
                    show=lambda line: self._s.output(run, line),
                    non_finite=self._plan.task.non_finite,
                )
                self._asked = controller.evaluate(run, weights, own, after=None, split=split)
        else:
            kept = folder.weights_of(to_score.weights) if to_score.weights else None
            kept = kept or folder.checkpoint(run)
            weights = WeightsRef(digest=kept.digest, size=kept.path.stat().st_size)
            self._asked = controller.evaluate(
                run, weights, kept.path, after=kept.round, split=split
            )
        while controller.runs[run].evaluation is not None:
            self._scored.clear()
            await self._scored.wait()
        if controller.runs[run].is_over:
            return await controller.wait(run)
        return controller.runs[run]

    def _resume(self, controller: ControllerService) -> None:
        """All sites of a simulation are here, whatever was heard of them when it paused."""
        run = self._plan.run
        self._hear_all(controller)
        if controller.runs[run].status is Status.PAUSED:
            controller.apply(run, machine.ResumeRequested())

    def _hear_all(self, controller: ControllerService) -> None:
        run = self._plan.run
        for site in controller.runs[run].silent & set(self._s.sites):
            controller.apply(run, machine.SiteHeard(site=site))

    async def _until_over_or_paused(self, controller: ControllerService) -> RunState:
        run = self._plan.run
        over = asyncio.create_task(controller.wait(run))
        while not over.done():
            paused = asyncio.create_task(self._pause.wait())
            await asyncio.wait({over, paused}, return_when=asyncio.FIRST_COMPLETED)
            paused.cancel()
            if controller.runs[run].status is Status.PAUSED:
                break
            self._pause.clear()  # it was paused, and goes on
        over.cancel()
        return controller.runs[run]

    def _note_run_file(self) -> None:
        """Where the trainer is: `tasuki evaluate` is told no more than the run's name."""
        if self._s.run_toml is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = str(self._s.run_toml.absolute())
            write_whole(self._folder / RUN_FILE, path.encode(), lasting=False)

    def _initial(self) -> tuple[str, Origin | None]:
        """What the run begins from; if it is another run's, its file, and which one that is.

        Raises:
            UnknownRun, WeightsRemoved, LedgerBroken: that run has no such weights.
        """
        weights = self._s.run_file.weights
        if (wanted := weights.of_run) is None:
            return weights.initial, None
        kept = self._s.data.weights_of(wanted)
        origin = Origin(run=wanted.run, round=kept.round, digest=kept.digest)
        return str(kept.path.resolve()), origin

    def _controller(self) -> ControllerService:
        parts = Controller(
            transport=self._queues.connect(CONTROLLER),
            ledger=self._ledger,
            runs=self._s.data.runs_path,
            spool=self._spool,
            clock=SystemClock(),
            patience_s=0.2,  # nothing is on the way that is not in memory
            only=self._plan.run,
            moments=self._s.moments,
        )
        following = Following(self._ledger, [Watch(self._watch)])
        return ControllerService(parts, watcher=self._watch, on_step=following.take)

    def _site(self, name: str) -> SiteService:
        journal = Journal(self._journals, name)
        journal.introduce()  # new as it is, the controller has given nothing out yet
        data = self._s.run_file.simulate.data
        return SiteService(
            Site(
                name=name,
                transport=self._queues.connect(name),
                journal=journal,
                spool=Spool(self._spool.folder, is_shared=True),  # the controller finds it there
                trainers=self._trainers.pool_of(name),
                clock=SystemClock(),
                data=None if data is None else str(data),
                idle_beat_s=None,
                ends_by=(DiskFull,),
            )
        )

    def _watch(self, update: Update) -> None:
        if isinstance(update.what, machine.TurnFailed) and update.what.id.lane < EVALUATION:
            self._failed = update.what.error
        if update.run is not None and update.run.status is Status.PAUSED:
            # Nobody will come: all sites of a simulation are here.
            self._pause.set()
        if update.run is not None and update.run.evaluation is None:
            self._scored.set()
        self._s.watcher(update)
