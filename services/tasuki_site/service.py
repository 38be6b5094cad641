"""One site's service: feeds the turn machine with what happens, and does what it decides.

Follow a turn: `_on_turn` (from the queue) -> `_do` (journal, acknowledge) -> `_check_weights`
-> `_train` -> `_hand_over` (to the next site's queue) -> `_do` (journal, report).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import structlog

import tasuki
from tasuki.core import turn as machine
from tasuki.core.control import FenceRaised, RunEnded
from tasuki.core.model import CONTROLLER, Turn, TurnId, TurnRecord, WeightsRef
from tasuki.core.report import (
    RoundDone,
    SiteBeat,
    SiteStarted,
    TurnAbandoned,
    TurnDone,
    TurnProgressed,
    TurnRefused,
    TurnTaken,
)
from tasuki.errors import DigestMismatch, MessageError, TasukiError, Unroutable, WeightsError
from tasuki.ports import Clock, Delivery, Handler, Settlement, Transport
from tasuki.transport.handover import hand_over
from tasuki.wire import names
from tasuki.wire.chunks import Chunk, decode_chunk, transfer_id
from tasuki.wire.messages import decode, encode
from tasuki.wire.reading import Reading
from tasuki.wire.spool import Spool
from tasuki.wire.weights import verify_digest
from tasuki_site import gate
from tasuki_site.journal import Journal
from tasuki_site.spell import Outcome, Spell
from tasuki_site.trainers import TrainerPool

log = structlog.get_logger()

WEIGHTS_PREFETCH = 8  # chunks in memory at a time
UNWANTED = 1024  # transfers that may still come and are remembered as void
PROGRESS_S = 0.2  # a trainer that logs more often is shown its newest values this often


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a site is made of.

    Attributes:
        is_fresh: the journal is new, so the controller has to be told.
        data: the site's `[data] path`, handed to its trainers.
    """

    name: str
    transport: Transport
    journal: Journal
    spool: Spool
    trainers: TrainerPool
    clock: Clock
    is_fresh: bool = False
    data: str | None = None
    device: str | None = None
    idle_beat_s: float | None = 10.0


@dataclass(slots=True)
class _Spell:
    """The turn under way and its tasks."""

    turn: Turn
    work: asyncio.Task[None] | None = None
    beat: asyncio.TimerHandle | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    received: int = 0  # chunks since the last beat
    shown_at: float = 0.0


class SiteService:
    """Runs one site until it is drained or cancelled. Nothing here decides: `core.turn` does."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._state = site.journal.state()
        journaled = (self._state.current, *self._state.waiting)
        self._restored = {progress.turn.id for progress in journaled if progress}
        self._tasks: asyncio.TaskGroup
        self._inbox: asyncio.Queue[Callable[[], None]] = asyncio.Queue()
        self._reports: asyncio.Queue[bytes] = asyncio.Queue()
        self._spells: dict[TurnId, _Spell] = {}
        self._broken: dict[bytes, WeightsError | TasukiError] = {}
        self._reading = Reading()
        self._unwanted: dict[bytes, None] = {}  # in the order in which they became so
        self._drained = asyncio.Event()
        self._stopped = asyncio.Event()
        self.is_ready = False
        self._log = log.bind(site=site.name)

    @property
    def has_turn(self) -> bool:
        """Whether a turn is under way here."""
        return self._state.current is not None

    async def run(self) -> None:
        """Serve until `drain` has finished. `is_ready` once turns can come.

        Raises:
            TransportError, StorageError: the service cannot go on; start it again.
        """
        site = self._site
        await site.transport.open()
        try:
            async with asyncio.TaskGroup() as self._tasks:
                serving = [self._spawn(self._publish_reports()), self._spawn(self._serve())]
                if site.idle_beat_s is not None:
                    serving.append(self._spawn(self._beat_idly(site.idle_beat_s)))
                await self._start()
                self.is_ready = True
                await self._stopped.wait()
                await self._reports.join()
                for task in serving:
                    task.cancel()
        finally:
            # The worker first, the connection last, so that heartbeats flow while it ends.
            await site.trainers.close()
            await site.transport.close()

    def drain(self) -> None:
        """Take no more turns; end once the one in training is handed over."""
        self._drained.set()
        self._soon(self._step, machine.DrainRequested())

    async def _start(self) -> None:
        site = self._site
        self._report(SiteStarted(site=site.name, fresh=site.is_fresh, version=tasuki.__version__))
        self._step(machine.Restarted(done=site.journal.done()))
        consume = site.transport.consume
        await consume(names.control_queue(site.name), self._later(self._on_control), prefetch=16)
        await consume(
            names.weights_stream(site.name),
            self._later(self._on_chunk),
            prefetch=WEIGHTS_PREFETCH,
            offset=site.journal.next_offset() if site.transport.is_durable else None,
        )
        await consume(names.turns_queue(site.name), self._later(self._on_turn), prefetch=1)

    def _later(self, handler: Handler) -> Handler:
        return lambda delivery: self._soon(handler, delivery)

    def _soon(self, function: Callable[..., None], *args: object) -> None:
        self._inbox.put_nowait(partial(function, *args))

    async def _serve(self) -> None:
        """One thing after the other; whatever is raised ends the service, which starts anew."""
        while True:
            (await self._inbox.get())()

    # What arrives.

    def _on_turn(self, delivery: Delivery) -> None:
        try:
            turn = decode(delivery.body, Turn)
        except MessageError as exc:
            self._bury(delivery, exc)
            return
        self._step(machine.TurnArrived(turn=turn, sender=delivery.sender), delivery)
        if self._is_past(turn.id):
            self._discard(turn)  # it was dropped, and its weights come all the same

    def _on_control(self, delivery: Delivery) -> None:
        try:
            message = decode(delivery.body, (FenceRaised, RunEnded))
        except MessageError as exc:
            self._bury(delivery, exc)
            return
        match message:
            case FenceRaised(run=run, lane=lane, term=term):
                self._step(machine.TermRaised(run=run, lane=lane, term=term), delivery)
            case RunEnded(run=run):
                self._spawn(self._end_run(run))
                self._site.transport.settle(delivery, Settlement.DONE)

    def _on_chunk(self, delivery: Delivery) -> None:
        """Take in a piece of weights; a broken one fails the turn that needs it, nothing else."""
        transport = self._site.transport
        try:
            chunk = decode_chunk(delivery.body)
        except MessageError as exc:
            self._bury(delivery, exc)
            return
        try:
            is_complete = chunk.transfer not in self._unwanted and self._site.spool.add(chunk)
        except TasukiError as exc:
            self._broken[chunk.transfer] = exc
            is_complete = True
        if transport.is_durable and delivery.offset is not None:
            self._note_position(chunk, delivery.offset, is_complete=is_complete)
        transport.settle(delivery, Settlement.DONE)
        current = self._state.current
        if current is not None:
            spell = self._spells.get(current.turn.id)
            if spell is not None:
                spell.received += 1
            if is_complete and chunk.transfer == _transfer(current.turn):
                self._check_weights(current.turn)

    def _note_position(self, chunk: Chunk, offset: int, *, is_complete: bool) -> None:
        is_here = is_complete or self._site.spool.has(chunk.transfer, chunk.weights)
        is_here = is_here or chunk.transfer in self._unwanted
        following = self._reading.note(chunk.transfer, offset, is_open=not is_here)
        if is_complete:
            self._site.journal.write_offset(following)

    def _is_past(self, id: TurnId) -> bool:
        """Whether this turn can never be taken here, whoever sends it."""
        held = (self._state.current, *self._state.waiting)
        if id in {progress.turn.id for progress in held if progress}:
            return False
        lane = (id.run, id.lane)
        is_seen = lane in self._state.seen and id.fence <= self._state.seen[lane]
        return is_seen or id.term < self._state.fenced.get(lane, 0)

    def _discard(self, turn: Turn) -> None:
        """Its weights are not needed any more, nor are those pieces of them that still come."""
        if not self._site.transport.is_durable:
            return  # the controller would look for them here
        self._unwanted[_transfer(turn)] = None
        while len(self._unwanted) > UNWANTED:
            del self._unwanted[next(iter(self._unwanted))]
        self._site.spool.discard(_transfer(turn), turn.weights)

    def _bury(self, delivery: Delivery, why: MessageError) -> None:
        self._log.warning("message refused", queue=delivery.queue, reason=str(why))
        self._site.transport.settle(delivery, Settlement.DEAD)

    # Decide, then act.

    def _step(self, event: machine.Event, delivery: Delivery | None = None) -> None:
        self._state, effects = machine.step(self._state, event)
        for effect in effects:
            self._do(effect, delivery)

    def _do(  # noqa: C901 - one table of all effects
        self, effect: machine.Effect, delivery: Delivery | None
    ) -> None:
        site = self._site
        match effect:
            case machine.Journal(progress=progress):
                site.journal.write(progress)
                if progress.phase is machine.Phase.TAKEN:
                    self._say_taken(progress.turn)
            case machine.Settle():
                if delivery is not None:
                    site.transport.settle(delivery, Settlement.DONE)
            case machine.AwaitWeights(turn=turn):
                self._begin(turn)
                # Not at once: the machine is still in the middle of a step.
                self._soon(self._check_weights, turn)
            case machine.StartTrainer(turn=turn):
                self._spells[turn.id].work = self._spawn(self._train(turn))
            case machine.AbortTrainer(id=id):
                self._abort(id)
            case machine.HandOver(turn=turn, record=record):
                self._spawn(self._hand_over(turn, record))
            case machine.ReportFinished(turn=turn, record=record):
                self._say_finished(turn, record)
            case machine.ReportFailed(id=id, error=error, detail=detail):
                self._log.warning("turn failed", turn=str(id), error=error, detail=detail)
                self._abort(id)
                self._report(
                    TurnAbandoned(id=id, site=site.name, error=error, detail=detail[-2000:])
                )
            case machine.GiveBack(id=id):
                if (spell := self._leave(id)) is not None:
                    self._discard(spell.turn)
                self._report(TurnAbandoned(id=id, site=site.name, error="GivenBack", returned=True))
            case machine.Drop(id=id, reason=reason):
                self._log.info("dropped", turn=str(id), reason=reason)
                self._report(TurnRefused(id=id, site=site.name, reason=reason))
            case machine.Idle():
                if self._drained.is_set():
                    self._stopped.set()

    # A turn, in order.

    def _say_taken(self, turn: Turn) -> None:
        self._log.info("turn taken", turn=str(turn.id))
        self._report(TurnTaken(id=turn.id, site=self._site.name, history=turn.history))

    def _check_weights(self, turn: Turn) -> None:
        """Go on with a turn if its weights are here, or broken; else wait for more chunks."""
        transfer = _transfer(turn)
        if (error := self._broken.pop(transfer, None)) is not None:
            self._step(_failed(turn.id, error))
        elif self._site.spool.has(transfer, turn.weights):
            path = self._site.spool.path(transfer, turn.weights)
            if self._is_intact(turn.id, path, turn.weights):
                self._step(machine.WeightsReady(id=turn.id))
            else:
                lost = DigestMismatch("the received weights were lost in a restart")
                self._step(_failed(turn.id, lost))

    async def _train(self, turn: Turn) -> None:
        site, started = self._site, self._site.clock.now()
        received = site.spool.path(_transfer(turn), turn.weights)
        # A name of its own: an aborted trainer in a thread may go on writing for a while.
        result = site.spool.part(f"{_transfer(turn).hex()}-{site.name}")
        try:
            spell = Spell.of(
                turn, received=received, result=result, data=site.data, device=site.device
            )
            outcome = await site.trainers.train(
                turn.task.trainer, spell, partial(self._progress, turn.id)
            )
            gate.check(turn.task, received=received, result=result, outcome=outcome)
        except TasukiError as exc:
            result.unlink(missing_ok=True)
            self._step(_failed(turn.id, exc))
            return
        except asyncio.CancelledError:
            result.unlink(missing_ok=True)
            raise
        record = _record(turn, outcome, seconds=site.clock.now() - started)
        site.spool.adopt(result, _transfer(_next(turn, record)), record.sent)
        self._step(machine.TrainingFinished(record=record))

    def _is_intact(self, id: TurnId, path: Path, weights: WeightsRef) -> bool:
        """Whether a spool file from before a restart is what the journal says.

        After a power cut it may not be: files are not forced to the disk, the journal is. What
        this process spooled has passed through its digest already.
        """
        if id not in self._restored:
            return True
        return path.exists() and verify_digest(path) == weights.digest

    async def _hand_over(self, turn: Turn, record: TurnRecord) -> None:
        """Send the result on, and report that."""
        site, onward = self._site, _next(turn, record)
        transfer = _transfer(onward)
        path = site.spool.path(transfer, record.sent)
        if not self._is_intact(turn.id, path, record.sent):
            lost = DigestMismatch("the result was lost in a restart")
            self._step(_failed(turn.id, lost))
            return
        try:
            await hand_over(site.transport, path, onward, to=turn.successor)
        except Unroutable as exc:
            # The operator's to mend, not a reason to end: whether to try again is for the run.
            self._step(_failed(turn.id, exc))
            return
        self._log.info("handed over", turn=str(turn.id), to=turn.successor)
        self._step(machine.HandedOver(id=turn.id))
        self._discard(turn)
        if site.transport.is_durable and turn.successor != site.name:
            # Else it is what the next turn trains on, or where the controller would look for it.
            site.spool.discard(transfer, record.sent)

    def _say_finished(self, turn: Turn, record: TurnRecord) -> None:
        self._leave(turn.id)
        if turn.successor != CONTROLLER:
            self._report(TurnDone(record=record, site=self._site.name))
            return
        history = (*turn.history, encode(record))
        self._report(
            RoundDone(id=turn.id, site=self._site.name, weights=record.sent, history=history)
        )

    # Beside the turn.

    def _progress(self, id: TurnId, values: Mapping[str, float]) -> None:
        spell = self._spells.get(id)
        if spell is None:
            return
        spell.values = {**spell.values, **values}
        now = asyncio.get_running_loop().time()
        if now - spell.shown_at >= PROGRESS_S:
            spell.shown_at = now
            self._say_progress(id, spell)

    def _say_progress(self, id: TurnId, spell: _Spell) -> None:
        current = self._state.current
        if current is not None and current.turn.id == id:
            self._report(
                TurnProgressed(
                    id=id, site=self._site.name, phase=current.phase.value, values=spell.values
                )
            )

    def _begin(self, turn: Turn) -> None:
        self._spells[turn.id] = _Spell(turn=turn)
        self._schedule_beat(turn)

    def _schedule_beat(self, turn: Turn) -> None:
        later = asyncio.get_running_loop().call_later
        self._spells[turn.id].beat = later(turn.task.beat_s, self._soon, self._beat, turn)

    def _beat(self, turn: Turn) -> None:
        """Say that the turn goes on; while no weights arrive for it, silence says that."""
        spell, current = self._spells.get(turn.id), self._state.current
        if spell is None or current is None:
            return
        if current.phase is not machine.Phase.TAKEN or spell.received:
            spell.received = 0
            self._say_progress(turn.id, spell)
        self._schedule_beat(turn)

    async def _beat_idly(self, beat_s: float) -> None:
        while True:
            await asyncio.sleep(beat_s)
            if self._state.current is None:
                self._report(SiteBeat(site=self._site.name))

    def _leave(self, id: TurnId) -> _Spell | None:
        spell = self._spells.pop(id, None)
        if spell is not None and spell.beat is not None:
            spell.beat.cancel()
        return spell

    def _abort(self, id: TurnId) -> None:
        spell = self._leave(id)
        if spell is None:
            return
        if spell.work is not None and spell.work is not asyncio.current_task():
            spell.work.cancel()
        self._discard(spell.turn)

    async def _end_run(self, run: str) -> None:
        for id in [id for id in self._spells if id.run == run]:
            self._abort(id)
        await self._site.trainers.end(run)
        self._site.journal.forget(run)

    def _report(self, report: object) -> None:
        self._reports.put_nowait(encode(report))

    async def _publish_reports(self) -> None:
        """One after the other, so that they arrive in the order in which things happened."""
        while True:
            body = await self._reports.get()
            await self._site.transport.publish(names.to_controller(), [(body,)])
            self._reports.task_done()

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run it beside; whatever it raises ends the service, which then starts anew."""
        return self._tasks.create_task(work)


def _transfer(turn: Turn) -> bytes:
    return transfer_id(turn.id, turn.weights)


def _next(turn: Turn, record: TurnRecord) -> Turn:
    """The turn as the successor gets it; for the controller, past the end of the itinerary."""
    history = (*turn.history, encode(record))
    onward = replace(turn.id, hop=turn.id.hop + 1)
    if turn.successor == CONTROLLER:
        itinerary = (*turn.itinerary, CONTROLLER)
        return replace(turn, id=onward, itinerary=itinerary, weights=record.sent, history=history)
    return replace(turn, id=onward, weights=record.sent, history=history)


def _record(turn: Turn, outcome: Outcome, *, seconds: float) -> TurnRecord:
    return TurnRecord(
        id=turn.id,
        site=turn.site,
        received=turn.weights.digest,
        sent=WeightsRef(digest=outcome.digest, size=outcome.size),
        metrics=dict(outcome.metrics),
        samples=outcome.samples,
        seconds=round(seconds, 6),
    )


def _failed(id: TurnId, error: TasukiError) -> machine.TrainingFailed:
    return machine.TrainingFailed(id=id, error=type(error).__name__, detail=str(error))
