"""One site's service: feeds the turn machine with what happens, and does what it decides.

Follow a turn: `_on_turn` (from the queue) -> `_do` (journal, acknowledge) -> `_check_weights`
-> `_train` -> `_hand_over` (to the next site's queue) -> `_do` (journal, report). A turn that
evaluates goes from `_train` to `_do` at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from tasuki.core import turn as machine
from tasuki.core.control import FenceRaised, RosterIssued, RunEnded
from tasuki.core.model import Kind, Turn, TurnId, TurnRecord
from tasuki.core.trust import Submission
from tasuki.errors import DigestMismatch, MessageError, TasukiError, Unroutable
from tasuki.moments import Moment
from tasuki.ports import Delivery, Handler, Settlement
from tasuki.trust.member import NEWER_ROSTER
from tasuki.trust.rosters import ENDED
from tasuki.weights.chunks import transfer_id
from tasuki.wire import names
from tasuki.wire.messages import decode, encode
from tasuki_site import evaluating, sending, training
from tasuki_site.arrivals import Arrivals
from tasuki_site.held_turns import HeldTurns
from tasuki_site.reports import Reports
from tasuki_site.roll import Roll
from tasuki_site.site import Site

log = structlog.get_logger()


class SiteService:
    """Runs one site until it is drained or cancelled. Nothing here decides: `core.turn` does."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._state = site.journal.state(capacity=site.capacity)
        restored = {held.turn.id for held in self._state.held}
        self._arrivals = Arrivals(site, self._later(self._on_chunk), restored=restored)
        self._reports = Reports(site)
        self._roll = Roll(
            site,
            ask=self._reports.roster_wanted,
            taken=self._reports.note_roster,
            again=self._later(self._on_turn),
        )
        self._tasks: asyncio.TaskGroup
        self._parting: asyncio.Task[None]
        self._inbox: asyncio.Queue[Callable[[], None]] = asyncio.Queue()
        self._held = HeldTurns(site, self._reports, self._arrivals, lambda: self._state)
        self._drained = asyncio.Event()
        self._stopped = asyncio.Event()
        self.is_ready = False
        self._log = log.bind(site=site.name)

    @property
    def has_turn(self) -> bool:
        """Whether a turn is under way here."""
        return bool(self._state.active)

    async def run(self) -> None:
        """Serve until `drain` has finished. `is_ready` once turns can come.

        Raises:
            TransportError, StorageError: the service cannot go on; start it again.
        """
        site = self._site
        await site.transport.open()
        try:
            async with asyncio.TaskGroup() as self._tasks:
                serving = [self._spawn(self._reports.publish()), self._spawn(self._serve())]
                if site.idle_beat_s is not None:
                    serving.append(self._spawn(self._beat_idly(site.idle_beat_s)))
                await self._start()
                if site.idle_beat_s is not None:
                    serving.append(self._spawn(self._measure(site.idle_beat_s)))
                self.is_ready = True
                self._log.info("ready for turns")
                await self._stopped.wait()
                await self._reports.all_confirmed()
                for task in (*serving, self._parting):
                    task.cancel()
        finally:
            # The worker first, the connection last, so that heartbeats flow while it ends.
            await site.trainers.close()
            self._arrivals.close()
            self._roll.close()
            await site.transport.close()

    def drain(self) -> None:
        """Take no more turns; end once the one in training is handed over."""
        if self._drained.is_set():
            return
        self._drained.set()
        self._soon(self._step, machine.DrainRequested())
        self._parting = self._spawn(self._part())

    async def _part(self) -> None:
        """Leave a hand-over that stands still to the next start: the journal has its result."""
        while (left_s := self._site.farewell_s - self._held.stands_s()) > 0:
            await asyncio.sleep(left_s)
        for held in self._state.active:
            self._log.warning("ends before its result was handed over", turn=str(held.turn.id))
            self._held.leave(held.turn.id)
        self._stopped.set()

    async def _start(self) -> None:
        site, consume = self._site, self._site.transport.consume
        site.moments.reach(Moment.STARTED, None)
        self._reports.started()
        for held in self._state.held:
            self._arrivals.expect(held.turn)
            self._held.begin(held.turn)
            self._reports.taken(held.turn)  # so that it is fenced if nobody wants it any more
        done = site.journal.done()
        self._step(machine.Restarted(done=done))
        for progress in done:  # a crash may have come between the journal and this
            self._let_go(progress.turn, None if _has_scores(progress) else progress.record)
        await consume(names.control_queue(site.name), self._later(self._on_control), prefetch=16)
        await self._arrivals.open()
        await consume(names.turns_queue(site.name), self._later(self._on_turn), prefetch=1)

    def _later(self, handler: Handler) -> Handler:
        return lambda delivery: self._soon(handler, delivery)

    def _soon(self, function: Callable[..., None], *args: object) -> None:
        self._inbox.put_nowait(partial(function, *args))

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run it beside; whatever it raises ends the service, which then starts anew."""
        return self._tasks.create_task(work)

    async def _serve(self) -> None:
        """One thing after the other; whatever is raised ends the service, which starts anew."""
        while True:
            (await self._inbox.get())()

    # What arrives.

    def _on_turn(self, delivery: Delivery) -> None:
        try:
            turn = decode(self._site.member.open(delivery.body, sender=delivery.sender), Turn)
            encode(turn)  # what cannot be written down cannot be taken
            sending.check_sender(self._site, turn, delivery.sender)
            self._site.member.check_turn(turn)
            submission = self._roll.check_run(turn)
        except MessageError as exc:
            if exc.reason in {NEWER_ROSTER, ENDED}:
                self._roll.keep(delivery, exc)
            else:
                self._site.bury(delivery, exc)
            return
        self._know(turn.id.run, submission)
        self._reach(Moment.TURN_RECEIVED, turn.id)
        self._step(machine.TurnArrived(turn=turn, sender=delivery.sender), delivery)
        if machine.is_past(self._state, turn.id):
            self._arrivals.discard(turn)  # it was dropped, and its weights come all the same

    def _on_control(self, delivery: Delivery) -> None:
        try:
            said = self._roll.read(delivery)
        except MessageError as exc:
            self._site.bury(delivery, exc)
            return
        match said.message:
            case RosterIssued():
                self._site.transport.settle(delivery, Settlement.DONE)
            case FenceRaised(run=run, lane=lane, term=term):
                # Its first turn here may come later, and must not end this.
                self._know(run, replace(self._site.journal.submission(run), about=said.about))
                self._step(machine.TermRaised(run=run, lane=lane, term=term), delivery)
            case RunEnded(run=run, term=term):
                self._step(machine.RunOver(run=run, term=term), delivery)

    def _know(self, run: str, submission: Submission) -> None:
        """Of any other run of this name nothing counts any more."""
        known = self._site.journal.submission(run)
        if submission.about != known.about:
            self._step(machine.RunBegan(run=run))
        if submission != known:
            self._site.journal.write_submission(run, submission)

    def _on_chunk(self, delivery: Delivery) -> None:
        transfer = self._arrivals.take_in(delivery)
        for turn in [held.turn for held in self._state.active]:
            if transfer == transfer_id(turn.id, turn.weights):
                self._check_weights(turn)

    # Decide, then act.

    def _step(self, event: machine.Event, delivery: Delivery | None = None) -> None:
        self._state, effects = machine.step(self._state, event)
        for effect in effects:
            self._do(effect, delivery)

    def _do(  # noqa: C901 - one table of all effects
        self, effect: machine.Effect, delivery: Delivery | None
    ) -> None:
        match effect:
            case machine.Journal(progress=progress):
                self._write(progress)
            case machine.JournalFence(run=run, lane=lane, term=term):
                self._site.journal.write_fence(run, lane, term)
                self._log.info("fence raised", run=run, lane=lane, term=term)
            case machine.ForgetRun(run=run):
                self._site.trainers.end(run)
                self._site.journal.forget(run)
            case machine.ForgetLanes(run=run):
                self._site.trainers.end(run)
                self._site.journal.forget_lanes(run)
            case machine.Settle():
                if delivery is not None:
                    self._site.transport.settle(delivery, Settlement.DONE)
            case machine.AwaitWeights(turn=turn):
                # Not at once: the machine is still in the middle of a step.
                self._soon(self._await_weights, turn)
            case machine.StartTrainer(turn=turn):
                self._reach(Moment.TRAINING, turn.id)
                self._held.work_on(turn.id, self._spawn(self._train(turn)))
            case machine.AbortTrainer(id=id):
                self._held.abort(id)
            case machine.AbortHandOver(turn=turn, record=record):
                self._held.abort(turn.id)
                self._spawn(sending.withdraw(self._site, turn, record))
            case machine.HandOver(turn=turn, record=record):
                self._held.work_on(turn.id, self._spawn(self._hand_over(turn, record)))
            case machine.ReportFinished(turn=turn, record=record):
                self._held.end(turn.id)
                self._reports.finished(turn, record)
            case machine.ReportFailed(id=id, error=error, detail=detail):
                self._held.abort(id)
                self._reports.failed(id, error=error, detail=detail)
            case machine.GiveBack(id=id, history=history):
                self._held.abort(id)
                self._reports.returned(id, history)
            case machine.Drop(id=id, reason=reason):
                self._reports.dropped(id, reason=reason)
            case machine.Idle():
                if self._drained.is_set():
                    self._stopped.set()

    def _write(self, progress: machine.Progress) -> None:
        turn = progress.turn
        self._site.journal.write(progress)
        if progress.phase is machine.Phase.TAKEN:
            self._arrivals.expect(turn)
            self._held.begin(turn)
            self._reports.taken(turn)
            self._reach(Moment.TURN_JOURNALED, turn.id)
        elif progress.phase is machine.Phase.TRAINED or _has_scores(progress):
            self._reach(Moment.RESULT_JOURNALED, turn.id)
        elif progress.record is not None:
            self._reach(Moment.HANDED_OVER, turn.id)
        else:
            self._held.abort(turn.id)

    # A turn, in order.

    def _await_weights(self, turn: Turn) -> None:
        """Weights come before their turn; those of one that has none are looked for beside."""
        self._check_weights(turn)
        self._held.look_for_weights(turn.id, lambda search: self._spawn(self._look(turn, search)))

    async def _look(self, turn: Turn, search: Coroutine[object, object, None]) -> None:
        """What was refused on the way fails the turn only once nothing better has come."""
        try:
            await search
        except MessageError as exc:
            self._soon(self._fail, turn.id, exc)

    def _check_weights(self, turn: Turn) -> None:
        """Go on with a turn if its weights are here, or broken; else wait for more chunks."""
        try:
            path = self._arrivals.path_of(turn)
        except TasukiError as exc:
            self._fail(turn.id, exc)
            return
        if path is not None:
            self._reach(Moment.WEIGHTS_COMPLETE, turn.id)
            self._step(machine.WeightsReady(id=turn.id))

    async def _train(self, turn: Turn) -> None:
        def take(values: Mapping[str, float]) -> None:
            self._reach(Moment.PROGRESSED, turn.id)
            self._held.log(turn.id, values)

        work = evaluating.evaluate if turn.kind is Kind.EVALUATE else training.train
        try:
            record = await work(self._site, turn, take)
        except TasukiError as exc:
            self._fail(turn.id, exc)
            return
        if record.is_unchanged:
            self._log.warning("handed on exactly what it received", turn=str(turn.id))
        self._reach(Moment.TRAINED, turn.id)
        self._held.note_result(turn.id)
        self._step(machine.TrainingFinished(record=record))
        if turn.kind is Kind.EVALUATE:
            self._let_go(turn, None)

    async def _hand_over(self, turn: Turn, record: TurnRecord) -> None:
        """Send the result on, and report that."""

        def check(path: Path) -> None:
            self._arrivals.check(turn.id, path, record.sent)

        try:
            await sending.send(
                self._site,
                turn,
                record,
                check=check,
                came_on=partial(self._held.come_on, turn.id),
                ready_at=self._held.ready_at(turn.id),
            )
        except (DigestMismatch, MessageError, Unroutable) as exc:
            # Whether to try again is for the run; a missing queue is the operator's to mend.
            self._fail(turn.id, exc)
            sending.let_go(self._site, turn, record)
            return
        self._reach(Moment.CONFIRMED, turn.id)
        if machine.stage_of(self._state, turn.id) is not None:  # else it was fenced meanwhile
            self._reports.handed_over(turn, record)
        self._step(machine.HandedOver(id=turn.id))
        self._let_go(turn, record)

    def _let_go(self, turn: Turn, record: TurnRecord | None) -> None:
        """Nothing of this turn is needed here any more, neither what came nor what went."""
        self._arrivals.discard(turn)
        if record is not None:
            sending.let_go(self._site, turn, record)

    def _fail(self, id: TurnId, error: TasukiError) -> None:
        if isinstance(error, self._site.ends_by):
            raise error
        name, detail = type(error).__name__, str(error)
        self._step(machine.TrainingFailed(id=id, error=name, detail=detail))

    async def _beat_idly(self, beat_s: float) -> None:
        while True:
            await asyncio.sleep(beat_s)
            if not self._state.active:
                self._reports.idle()

    async def _measure(self, every_s: float) -> None:
        while True:
            self._reports.measured(self._site.series())
            await asyncio.sleep(every_s)

    def _reach(self, moment: Moment, id: TurnId) -> None:
        self._site.moments.reach(moment, id)


def _has_scores(progress: machine.Progress) -> bool:
    return progress.turn.kind is Kind.EVALUATE and progress.record is not None
