"""The controller's service: feeds each run's machine with what happens, and does what it decides.

Follow a round: `submit` -> `apply` (decide, record) -> `Outbox` (weights and turn to the first
site) -> `_on_report` (what sites say, judged in `core.run.reports`) -> `apply` -> `Outbox` (the
round's weights, its checkpoint, the next round's first turn).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from tasuki.core import run as machine
from tasuki.core.model import EVALUATION, Plan, WeightsRef
from tasuki.core.report import (
    MOST_ERROR,
    Report,
    RosterWanted,
    SiteBeat,
    SiteMeasured,
    SiteStarted,
    TurnProgressed,
    TurnRefused,
    TurnTaken,
)
from tasuki.core.run import RunState
from tasuki.core.run.evaluation import lane_of
from tasuki.core.run.reports import (
    UNKNOWN_RUN,
    Refused,
    Verdict,
    is_worth_recording,
    judge,
    turn_of,
)
from tasuki.core.trust import Roster
from tasuki.errors import (
    LedgerBroken,
    MessageError,
    RunExists,
    SettingsError,
    TasukiError,
    UnknownRun,
)
from tasuki.moments import Moment
from tasuki.ports import Delivery, Settlement
from tasuki.trust.member import Said
from tasuki.weights.chunks import transfer_id
from tasuki.weights.container.merge import check_mergeable
from tasuki.wire import names
from tasuki.wire.messages import decode, encode
from tasuki_controller import history
from tasuki_controller.continuing import (
    check_evaluated,
    check_extended,
    name_taken,
    never_begun,
)
from tasuki_controller.controller import Controller
from tasuki_controller.hearing import REPLAYED, Hearing, proved
from tasuki_controller.intake import Intake
from tasuki_controller.lane_waits import LaneWaits
from tasuki_controller.news import HeldUp, MessageDiscarded, Update, Watcher
from tasuki_controller.one_controller import be_alone
from tasuki_controller.outbox import TO_BE_DONE, Outbox
from tasuki_controller.time_limits import TimeLimits
from tasuki_controller.turn_now import TurnNow
from tasuki_controller.turns_out import TurnsOut
from tasuki_controller.weight_store import WeightStore, is_needed

log = structlog.get_logger()

MOST_REFUSALS = 256
"""Refused turns and results that go on a run's record: a flood of them must not fill the ledger."""


class ControllerService:
    """Runs every run until it is stopped. Nothing here decides: `core.run` does."""

    def __init__(
        self,
        controller: Controller,
        *,
        watcher: Watcher = lambda _: None,
        on_step: Callable[[history.Step], None] = lambda _: None,
    ) -> None:
        self._c = controller
        self._watch = watcher
        self._on_step = on_step
        self._runs = {
            run: state
            for run, state in history.runs(controller.ledger).items()
            if controller.only in {None, run}
        }
        self._intake = Intake(
            controller.transport,
            controller.spool,
            patience_s=controller.patience_s,
            refused=partial(self._tell_refused, "weights"),
            member=controller.member,
            is_there=lambda: controller.hears_since() is not None,
        )
        self._weights = WeightStore(controller, self._intake)
        self._turns_out = TurnsOut(
            controller, self._runs, apply=self.apply, soon=self._soon, spawn=self._work_on
        )
        self._leases = self._turns_out.leases
        self._inbox: asyncio.Queue[Callable[[], object]] = asyncio.Queue()
        self._refusals: Counter[str] = Counter()
        self._hearing = Hearing(controller)
        self._workers: set[asyncio.Task[None]] = set()
        self._outbox = Outbox(
            controller,
            self._weights,
            runs=self._runs,
            apply=self.apply,
            sent_on=self._leases.sent_on,
            given_out=self._leases.given_out,
            spawn=self._work_on,
        )
        self._time_limits = TimeLimits(
            controller.ledger,
            controller.clock,
            self._runs,
            expire=lambda run: self._soon(self.apply, run, machine.TimeUp()),
        )
        self._lane_waits = LaneWaits(
            lambda run, round: self._soon(self.apply, run, machine.WaitOver(round=round))
        )
        self._tasks: asyncio.TaskGroup
        self._stopped = asyncio.Event()

    @property
    def runs(self) -> dict[str, RunState]:
        """Every run, as it stands now."""
        return dict(self._runs)

    def lease_left_s(self, run: str, lane: int = 0) -> float | None:
        """Until the holder of a lane has been silent for too long; None if nobody is waited for."""
        return self._leases.left_s(run, lane)

    def is_on_its_way(self, run: str, lane: int = 0) -> bool:
        """Whether the turn of this lane that is out is still being sent to its site."""
        return not self._leases.is_given_out(self._runs[run].lanes[lane].relay.expected)

    def turn_now(self, run: str, lane: int = 0) -> TurnNow:
        """How the turn of this lane that is out goes, as far as is known."""
        return self._turns_out.turn_now(run, lane)

    def turns_now(self, run: str) -> list[TurnNow]:
        """As `turn_now`, of each lane."""
        return self._turns_out.turns_now(run)

    def note_held_up(self) -> None:
        """The broker began or ceased to hold everybody up: nobody must take that for silence."""
        for state in self._runs.values():
            if state.status not in machine.OVER:
                self._watch(Update(run=state, what=HeldUp(reason=self._c.held_up())))

    def sweep(self) -> None:
        """Let go of what an earlier process had in the spool, but for what has arrived for a run.

        Raises:
            StorageError: the spool cannot be read or written.
        """
        self._c.spool.sweep(partial(is_needed, runs=self._runs, folder=self._c.runs))

    async def run(self, *, started: asyncio.Event) -> None:
        """Serve until `stop`. Sets `started` once runs can be submitted.

        Raises:
            AnotherController: there is one; nothing was done.
            TransportError, StorageError: the service cannot go on; start it again.
        """
        await self._c.transport.open()
        try:
            await be_alone(self._c.transport, patience_s=self._c.alone_s)
            async with asyncio.TaskGroup() as self._tasks:
                await self._intake.open()
                self._recover()
                await self._c.transport.consume(
                    names.REPORTS,
                    lambda delivery: self._soon(self._on_report, delivery),
                    prefetch=64,
                )
                self._work_on(self._serve())
                self.tell_roster()  # it may have come while this service was away
                started.set()
                await self._stopped.wait()
                self._leases.close()
                self._time_limits.close()
                self._lane_waits.close()
                for worker in list(self._workers):
                    worker.cancel()
        finally:
            self._intake.close()
            await self._c.transport.close()

    def tell_roster(self) -> None:
        """A newer one counts: every site is to go by it."""
        self._soon(lambda: self._work_on(self._outbox.tell_roster()))

    def take_roster(self, issued: bytes) -> Roster:
        """Go by a roster from now on, as every site is to; one that counts already changes nothing.

        Raises:
            SettingsError: it is not to be taken, or nobody signs here.
            DiskFull, StorageError: it cannot be kept; it counts until the next start.
        """
        keys = self._c.member.keys
        if keys is None:
            raise SettingsError("this controller has no keys: give it [security] first")
        try:
            is_new = keys.rosters.take(issued)
            roster = keys.rosters.newest
        except MessageError as exc:
            raise SettingsError(str(exc)) from exc
        if is_new:
            self.tell_roster()
        return roster

    def stop(self) -> None:
        self._stopped.set()

    def _work_on(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Until the service stops; whatever it raises ends the service, which starts anew."""
        worker = self._tasks.create_task(work)
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)
        return worker

    def _soon(self, function: Callable[..., object], *args: object) -> None:
        self._inbox.put_nowait(partial(function, *args))

    async def _serve(self) -> None:
        """One thing after the other."""
        while True:
            (await self._inbox.get())()

    # What operators ask for.

    def submit(self, plan: Plan, weights: Path, ref: WeightsRef) -> None:
        """Start a run from these weights, which are kept as its round 0.

        Raises:
            RunExists: there is one of this name.
            WeightsError: it has several lanes, and tensors that cannot be merged.
            DiskFull, StorageError: nothing was started; the same may be submitted again.
        """
        if plan.run in self._runs:
            raise RunExists(name_taken(self._runs[plan.run]))
        if plan.lanes.count > 1:
            check_mergeable(weights, what="[weights] initial")
            self._weights.check_room(plan, ref)
        self._record_submission(plan, ref)
        self._runs[plan.run] = machine.submitted(plan, ref)
        try:
            # The file first: with the event, turns may be issued from it.
            self._weights.keep_first(plan, weights, ref)
            self.apply(plan.run, machine.RunSubmitted())
        except TasukiError:
            del self._runs[plan.run]
            raise
        self._time_limits.watch(plan.run)

    def _record_submission(self, plan: Plan, ref: WeightsRef) -> None:
        """The first two rows, or what an earlier try did not write of them."""
        ledger, rows = self._c.ledger, [encode(plan), encode(ref)]
        there = [row.event for row in ledger.rows(plan.run)]
        if there != rows[: len(there)]:
            raise RunExists(never_begun(decode(there[0], Plan)))
        for row in rows[len(there) :]:
            ledger.append(plan.run, row, at=self._c.clock.now())

    def apply(self, run: str, event: machine.Event) -> str:
        """Feed an event to a run; returns why it changed nothing, or "".

        Raises:
            UnknownRun: there is no such run.
        """
        before = self._state(run)
        state, effects = machine.step(before, event)
        outcome = next((e.reason for e in effects if isinstance(e, machine.Drop)), "")
        if outcome and not (is_worth_recording(event, outcome) and self._may_record_refusal(run)):
            return outcome
        to_be_done = (effect for effect in effects if isinstance(effect, TO_BE_DONE))
        lasting = [encode(effect, travels=False) for effect in to_be_done]
        row, pending = self._c.ledger.append(
            run, encode(event), at=self._c.clock.now(), outcome=outcome, effects=lasting
        )
        self._runs[run] = state
        self._outbox.review(run)
        self._reach(Moment.LEDGER_APPENDED, run, lane_of(event))
        for effect in effects:
            self._leases.apply(run, effect)
            if isinstance(effect, machine.CloseEvaluation):
                self._weights.keep_held(run, state)
            elif isinstance(effect, machine.AwaitLanes):
                self._lane_waits.begin(run, effect)
        for each in pending:
            self._outbox.put(each)
        if not self._c.transport.is_durable:
            self._let_go(before, state)
        log.info("run changed", run=run, what=type(event).__name__, status=state.status.value)
        done = () if outcome else effects
        self._on_step(history.Step(row=row, event=event, before=before, after=state, effects=done))
        return outcome

    def _let_go(self, before: RunState, after: RunState) -> None:
        """Sites keep what they sent, or got to score, until here, since the queues would not."""
        lanes = zip(before.lanes, after.lanes, strict=True)
        done = [was.relay for was, now in lanes if len(now.records) > len(was.records)]
        if before.evaluation is not None:
            relays = before.evaluation.relays.values()
            done += [relay for relay in relays if not after.awaits(relay.expected)]
        for relay in done:
            self._c.spool.discard(transfer_id(relay.expected, relay.weights), relay.weights)

    def extend(self, run: str, rounds: int) -> str:
        """Let a run have so many rounds in all; returns why that changed nothing, or "".

        Raises:
            UnknownRun: there is no such run.
            FewerRounds, NotExtended, WeightsRemoved, TooManySites: it cannot have them.
            LedgerBroken: its newest weights are gone.
        """
        state = self._state(run)
        check_extended(state, rounds)
        if state.status in machine.OVER and not self._weights.is_here(run, state.weights):
            raise LedgerBroken(
                f"the newest weights of {run} are gone from {self._c.runs / run}: restore the "
                "folder from a copy"
            )
        is_time_up = self._time_limits.is_over(run)
        outcome = self.apply(run, machine.RoundsAdded(rounds=rounds, is_time_up=is_time_up))
        self._time_limits.watch(run)
        return outcome

    def evaluate(
        self, run: str, weights: WeightsRef, path: Path, *, after: int | None, split: str
    ) -> int:
        """Let all sites of a run score these weights; returns the number of that evaluation.

        Args:
            path: their file, which may go once this returns.
            after: of which round's end they are, from 1; 0: the run's first; None: a file's.

        Raises:
            UnknownRun, WeightsRemoved: there is no such run, or no more than its ledger.
            ManifestMismatch, BadWeights: they are of another model.
            DiskFull, StorageError: they cannot be kept until they are scored.
        """
        check_evaluated(self._state(run))
        if after is None:
            self._weights.check_model(run, path)
        self._weights.hold(run, path, weights)
        try:
            self.apply(run, machine.EvaluationRequested(weights=weights, after=after, split=split))
        except TasukiError:
            self._weights.keep_held(run, self._runs[run])
            raise
        return self._runs[run].evaluations

    async def let_go(self, run: str) -> None:
        """See to it that the weights of a run that was removed are gone.

        Raises:
            StorageError: some are still there.
        """
        # What comes before it may wait for the broker: that holds up no removal.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._c.patience_s):
                await self._outbox.done(run)
        await self._weights.discard(run, runs=self._runs)

    def _state(self, run: str) -> RunState:
        if run not in self._runs:
            raise UnknownRun(f"there is no run {run!r} here; `tasuki runs` lists them")
        return self._runs[run]

    async def wait(self, run: str) -> RunState:
        """Returns once the run is over and what had to be done about that is done."""
        await self._outbox.concluded(run)
        return self._runs[run]

    # What sites say.

    def _on_report(self, delivery: Delivery) -> None:
        try:
            said = self._hearing.report(delivery)
            report = said.message
            if self._hearing.is_replayed(said):
                self._tell_refused("reports", REPLAYED)
                self._c.transport.settle(delivery, Settlement.DONE)
                return
            read = self._hearing.record
            verdict = judge(self._runs, report, sender=delivery.sender, read=read)
            for run, event in verdict.presence:
                self.apply(run, event)
            if verdict.refused is not None:
                self._refuse(delivery, verdict.refused)
                return
            self._carry_out(said, verdict)
        except MessageError as exc:
            self._refuse(delivery, Refused(reason=exc.reason, detail=str(exc)))
            return
        if verdict.ignored:
            self._tell_refused("reports", verdict.ignored)
        self._c.transport.settle(delivery, Settlement.DONE)

    def _refuse(self, delivery: Delivery, refused: Refused) -> None:
        log.warning("report refused", reason=refused.detail, sender=delivery.sender)
        self._tell_refused("reports", refused.reason)
        self._c.transport.settle(delivery, Settlement.DEAD)

    def _tell_refused(self, queue_kind: str, reason: str) -> None:
        refused = MessageDiscarded(queue_kind=queue_kind, reason=reason)
        self._watch(Update(run=None, what=refused))

    def _carry_out(self, said: Said[Report], verdict: Verdict) -> None:
        report = said.message
        if isinstance(report, SiteStarted | SiteBeat | SiteMeasured | RosterWanted):
            if isinstance(report, SiteStarted | RosterWanted):
                self._work_on(self._outbox.bring_roster(report.site, has=report.roster))
            self._watch(Update(run=None, what=report))
            return
        run = turn_of(report).run
        if verdict.ignored == UNKNOWN_RUN and not isinstance(report, TurnProgressed):
            log.warning("report of an unknown run", run=run)
        if verdict.note is not None:
            self._record_refusal(run, verdict.note)
        if isinstance(report, TurnRefused):
            self._tell(report, outcome=report.reason[:MOST_ERROR])
        for event in verdict.events:
            self._reach(Moment.REPORT_RECEIVED, run, lane_of(event))
            self.apply(run, proved(event, said))
        if verdict.comes_on is not None:
            self._hearing.note_sign(verdict.comes_on.id, said)
            self._turns_out.come_on(verdict.comes_on)
        if verdict.void is not None:
            self._work_on(self._outbox.remind(report.site, verdict.void, about=said.about))
        if isinstance(report, TurnTaken | TurnProgressed):
            self._tell(report, outcome=verdict.ignored)

    def _tell(self, report: TurnTaken | TurnProgressed | TurnRefused, *, outcome: str) -> None:
        # Of those that score, their scores are news: so many sites say so much at once.
        run = None if report.id.lane >= EVALUATION else self._runs.get(report.id.run)
        self._watch(Update(run=run, what=report, outcome=outcome))

    def _record_refusal(self, run: str, note: TurnRefused) -> None:
        if self._may_record_refusal(run):
            row, _ = self._c.ledger.append(
                run, encode(note), at=self._c.clock.now(), outcome=f"refused: {note.reason}"
            )
            state = self._runs[run]
            self._on_step(history.Step(row=row, event=note, before=state, after=state))

    def _may_record_refusal(self, run: str) -> bool:
        self._refusals[run] += 1
        return self._refusals[run] <= MOST_REFUSALS

    def _recover(self) -> None:
        """After a restart: what was decided and not done is done now."""
        for pending in self._c.ledger.pending():
            if pending.run not in self._runs:
                continue
            effect = decode(pending.effect, TO_BE_DONE, travelled=False)
            self._leases.apply(pending.run, effect)
            self._outbox.put(pending)
        for run, state in self._runs.items():
            for relay in state.relays:
                if relay.holder is not None and not (state.is_over and relay.lane < EVALUATION):
                    start = machine.StartLease(id=relay.expected, lease_s=relay.failure.lease_s)
                    self._leases.apply(run, start)
            self._weights.keep_held(run, state)
            self._time_limits.watch(run)
            self._lane_waits.resume(state)
        if not self._c.transport.is_durable:
            for run in list(self._runs):
                self.apply(run, machine.RelayLost())

    def _reach(self, moment: Moment, run: str, lane: int) -> None:
        """Of what is about no lane, or a site's scores: by the first lane's turn."""
        lanes = self._runs[run].lanes
        relay = lanes[lane if 0 <= lane < len(lanes) else 0].relay
        self._c.moments.reach(moment, relay.expected)
