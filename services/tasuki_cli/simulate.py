"""The whole federation in one process: the real services on queues in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tasuki import errors
from tasuki.clock import SystemClock
from tasuki.core import run as machine
from tasuki.core.model import CONTROLLER, EVALUATION, Origin, Plan, WeightsRef
from tasuki.core.run import RunState, Status
from tasuki.disk.errors import disk_errors
from tasuki.disk.writing import write_whole
from tasuki.errors import (
    CannotEvaluate,
    DiskFull,
    LedgerBroken,
    RunExists,
    RunUnderWay,
    SettingsError,
    TasukiError,
)
from tasuki.ledger import migrations
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.lifetime import first_error
from tasuki.settings.initial import RunWeights
from tasuki.settings.run import RunFile
from tasuki.transport.memory import MemoryFederation
from tasuki.weights.spool import Spool
from tasuki_controller import history
from tasuki_controller.continuing import check_evaluated, check_extended, name_taken
from tasuki_controller.controller import Controller
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.followers.following import Following
from tasuki_controller.followers.watch import Watch
from tasuki_controller.news import Update
from tasuki_controller.service import ControllerService
from tasuki_site.journal import Journal
from tasuki_site.model_files.first_weights import first_weights
from tasuki_site.service import SiteService
from tasuki_site.site import Site
from tasuki_site.trainer.child_trainer import ChildTrainer, Output
from tasuki_site.trainer.pool import Trainer, TrainerPool
from tasuki_site.trainer.process_limit import ProcessLimit, fitting
from tasuki_site.trainer.request import Log, TurnRequest
from tasuki_site.trainer.result import Outcome
from tasuki_site.trainer.source import Source
from tasuki_site.trainer.workplace import Workplaces

RUN_FILE = "run-file"
"""In a simulated run's folder: where its run file was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What is to be simulated.

    Attributes:
        folder: where the run file is; its trainer and factory are found from here.
        rounds: so many, whatever the run file says; more than before if it is resumed.
        one_process: one trainer's process for all sites, one after the other; None: unless it is
            a script, which goes on from turn to turn at its own site.
        output: gets (who, line) for every line that a site's own code prints.
        run_toml: the file, if there is one: noted in the run's folder.
        handed: a descriptor of functions for trainer and factory: see `tasuki_site.trainer.cell`.
        on_start: gets the controller once it serves.
    """

    run_file: RunFile
    folder: Path
    data: DataFolder
    sites: tuple[str, ...]
    resume: bool = False
    rounds: int | None = None
    one_process: bool | None = None
    watcher: Callable[[Update], None] = lambda _: None
    output: Callable[[str, str], None] = lambda *_: None
    run_toml: Path | None = None
    handed: int | None = None
    on_start: Callable[[ControllerService], None] = lambda _: None

    def plan(self) -> Plan:
        """The run, with as many rounds as it is to have.

        Raises:
            SettingsError: its settings do not fit together.
        """
        run_file = self.run_file
        if self.rounds is not None:
            run_file = run_file.model_copy(update={"rounds": self.rounds})
        return run_file.plan(self.sites)

    @property
    def source(self) -> Source:
        table = self.run_file.simulate
        run, evaluate = table.trainer or self.run_file.trainer, table.evaluate or ""
        return Source(run=run, folder=self.folder, evaluate=evaluate, handed=self.handed)

    @property
    def shares_a_process(self) -> bool:
        """Whatever the number of sites: what a trainer sees must not depend on it."""
        is_function = not (self.source.is_script or self.source.is_command)
        return is_function and self.one_process is not False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToScore:
    """What all sites of a simulation are to score, though it is over.

    Attributes:
        weights: a checkpoint's, or a file's; None: the best, the latest if none was chosen.
        split: the data to score on; None: as the run says.
    """

    run: str
    weights: RunWeights | Path | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a simulation ended. `error`: the class of error that it failed with, if it did."""

    state: RunState
    wall_s: float
    error: type[TasukiError] | None


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
        self._shared = self._shared_trainers()
        self._workplaces = Workplaces(
            beside=simulation.folder,
            folder=self._folder / "sites",
            apart=simulation.data.path,
        )
        self._limit = ProcessLimit(self._processes(), at_once=self._processes())
        self._pools: list[TrainerPool] = []
        self._failed: str | None = None
        self._pause = asyncio.Event()
        self._scored = asyncio.Event()

    async def run(self) -> Ended:
        began = time.monotonic()
        known = self._known()
        if known is not None and self._is_done(known):
            return Ended(state=known, wall_s=0.0, error=None)
        state = await self._serve(lambda controller: self._relay(controller, is_new=known is None))
        error = getattr(errors, self._failed or "", None) if state.status is Status.FAILED else None
        return Ended(state=state, wall_s=time.monotonic() - began, error=error)

    async def evaluate(self, to_score: ToScore) -> int:
        state = await self._serve(lambda controller: self._score(controller, to_score))
        return state.evaluations

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
                    await self._say_farewell()
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
            controller.submit(replace(self._plan, origin=origin), first, weights)
            first.unlink(missing_ok=True)
        else:
            if self._extends(controller.runs[run]):
                controller.extend(run, self._rounds)
            if controller.runs[run].status is Status.PAUSED:
                self._resume(controller)
        return await self._until_over_or_paused(controller)

    async def _score(self, controller: ControllerService, to_score: ToScore) -> RunState:
        run, folder, split = self._plan.run, self._s.data, to_score.split
        self._hear_all(controller)
        if split is None:
            split = self._plan.evaluate.split if self._plan.evaluate else ""
        if isinstance(to_score.weights, Path):
            own = self._spool.part("to-score")
            weights = await first_weights(
                str(to_score.weights.absolute()),
                own,
                folder=self._s.folder,
                seed=self._plan.task.seed,
                show=lambda line: self._s.output(run, line),
                non_finite=self._plan.task.non_finite,
            )
            controller.evaluate(run, weights, own, after=None, split=split)
            own.unlink(missing_ok=True)
        else:
            kept = folder.weights_of(to_score.weights) if to_score.weights else None
            kept = kept or folder.checkpoint(run)
            weights = WeightsRef(digest=kept.digest, size=kept.path.stat().st_size)
            controller.evaluate(run, weights, kept.path, after=kept.round, split=split)
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
        )
        following = Following(self._ledger, [Watch(self._watch)])
        return ControllerService(parts, watcher=self._watch, on_step=following.take)

    def _site(self, name: str) -> SiteService:
        journal = Journal(self._journals, name)
        journal.introduce()  # new as it is, the controller has given nothing out yet
        data = self._s.run_file.simulate.data
        self._pools.append(TrainerPool(lambda _: self._trainer(name), limit=self._limit))
        return SiteService(
            Site(
                name=name,
                transport=self._queues.connect(name),
                journal=journal,
                spool=Spool(self._spool.folder, is_shared=True),  # the controller finds it there
                trainers=self._pools[-1],
                clock=SystemClock(),
                data=None if data is None else str(data),
                idle_beat_s=None,
                ends_by=(DiskFull,),
            )
        )

    async def _say_farewell(self) -> None:
        """A script may work on after its last turn, which was that of the whole run."""
        for pool in self._pools:
            pool.end(self._plan.run)
        await asyncio.gather(*(pool.all_gone() for pool in self._pools))

    def _processes(self) -> int:
        """How many stay between turns: with many sites, one for each would fill the memory."""
        sites = len(self._s.sites)
        return sites if self._shared else self._s.run_file.simulate.processes or fitting()

    def _trainer(self, site: str) -> Trainer:
        """Always the same one for a site: what its code keeps is there when it scores, too."""
        if not self._shared:
            return _Placed(self._child_trainer(), self._workplaces, self._show)
        place = self._s.sites.index(site) % len(self._shared)
        return _Placed(self._shared[place], self._workplaces, self._show)

    def _shared_trainers(self) -> list[ChildTrainer]:
        """Those that sites have together; none: each has its own.

        Sites train one at a time, so that one does; they score at once, as far as there are more.
        """
        if not self._s.shares_a_process:
            return []
        wanted = None if self._s.one_process else self._s.run_file.simulate.processes
        return [self._child_trainer() for _ in range(min(wanted or 1, len(self._s.sites)))]

    def _child_trainer(self) -> ChildTrainer:
        return ChildTrainer(self._s.source, self._show, self._s.run_file.simulate.farewell_s)

    def _show(self, request: TurnRequest, line: str) -> None:
        self._s.output(request.site, line)

    def _watch(self, update: Update) -> None:
        if isinstance(update.what, machine.TurnFailed) and update.what.id.lane < EVALUATION:
            self._failed = update.what.error
        if update.run is not None and update.run.status is Status.PAUSED:
            # Nobody will come: all sites of a simulation are here.
            self._pause.set()
        if update.run is not None and update.run.evaluation is None:
            self._scored.set()
        self._s.watcher(update)


@dataclass(slots=True)
class _Placed:
    """A trainer that works in the folder of whichever site the turn is for."""

    trainer: Trainer
    workplaces: Workplaces
    output: Output

    async def train(self, request: TurnRequest, log: Log) -> Outcome:
        place = self.workplaces.ready(request.site)
        if place is None or not place.is_dir():  # its own code may have removed it
            with disk_errors(Path(request.result)):
                place = await asyncio.to_thread(self.workplaces.prepare, request.site)
        try:
            return await self.trainer.train(replace(request, folder=str(place)), log)
        finally:
            for name in self.workplaces.written_to():
                self.output(
                    request, f"{name} beside the trainer was changed, which all sites share"
                )

    async def farewell(self) -> None:
        await self.trainer.farewell()

    async def close(self) -> None:
        await self.trainer.close()
