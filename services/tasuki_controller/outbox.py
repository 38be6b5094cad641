"""What was decided and is to be done: in its order for each run, and again after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import get_args

import structlog

from tasuki.core import run as machine
from tasuki.core.control import FenceRaised, RosterIssued, RunEnded
from tasuki.core.model import EVALUATION, Kind, Lane, Turn, TurnId
from tasuki.core.run import RunState
from tasuki.core.trust import Warrant
from tasuki.errors import CannotSeal, StorageError, Unroutable
from tasuki.ledger.sqlite import Pending
from tasuki.moments import Moment
from tasuki.trust.member import digest_of
from tasuki.weights.sender import hand_over, take_back
from tasuki.wire import names
from tasuki.wire.messages import decode, encode
from tasuki_controller.controller import Controller
from tasuki_controller.weight_store import WeightStore

log = structlog.get_logger()

ToBeDone = (
    machine.IssueTurn
    | machine.Fence
    | machine.CollectWeights
    | machine.SaveCheckpoint
    | machine.KeepLane
    | machine.MergeWeights
    | machine.NameBest
    | machine.Conclude
    | machine.DiscardWeights
)
TO_BE_DONE: tuple[type[ToBeDone], ...] = get_args(ToBeDone)
"""Effects that must survive a crash: they lie in the ledger until they are done."""


class Outbox:
    """Does what runs call for, and tells them what came of it.

    Args:
        runs: every run, as it stands at the time.
        apply: takes what came of it.
        sent_on: told of a turn that is being sent, at first and with every body that is confirmed.
        given_out: told of each turn that was sent, or that will not be.
        spawn: lets work go on beside.
    """

    def __init__(
        self,
        controller: Controller,
        weights: WeightStore,
        *,
        runs: Mapping[str, RunState],
        apply: Callable[[str, machine.Event], object],
        sent_on: Callable[[TurnId], None],
        given_out: Callable[[TurnId], None],
        spawn: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
    ) -> None:
        self._c = controller
        self._weights = weights
        self._runs = runs
        self._apply = apply
        self._sent_on = sent_on
        self._given_out = given_out
        self._spawn = spawn
        self._waiting: dict[str, asyncio.Queue[Pending]] = {}
        self._issuing: dict[Lane, tuple[TurnId, asyncio.Task[None]]] = {}
        self._over: dict[str, asyncio.Event] = {}
        self._bringing: set[str] = set()  # sites that are being sent a roster
        # What sites are to score goes to one after the other: that takes the memory of a turn.
        self._scored = asyncio.Lock()

    def put(self, pending: Pending) -> None:
        """To be done after what this run has here already."""
        if pending.run not in self._waiting:
            self._waiting[pending.run] = asyncio.Queue()
            self._spawn(self._do_all(self._waiting[pending.run]))
        self._waiting[pending.run].put_nowait(pending)

    def review(self, run: str) -> None:
        """The run went on: a turn that is not awaited any more holds up nothing, sent or not."""
        state = self._runs[run]
        if not state.is_done and run in self._over:
            self._over[run].clear()  # it was over, and has more to do now
        for id, issuing in self._issuing.values():
            is_void = id.run == run and not state.awaits(id)
            if is_void and issuing is not asyncio.current_task():
                issuing.cancel()

    async def concluded(self, run: str) -> None:
        """Returns once the run is over and what had to be done about that is done."""
        await self._over.setdefault(run, asyncio.Event()).wait()

    async def done(self, run: str) -> None:
        """Returns once all that was decided about a run so far is done."""
        if run in self._waiting:
            await self._waiting[run].join()

    async def tell(
        self, message: FenceRaised | RunEnded, *, site: str | None = None, about: str = ""
    ) -> None:
        """Tell one site, or all.

        Args:
            about: which run it is about, if that is none of ours.
        """
        known = self._c.submission(message.run).about or about
        await self._tell(self._c.member.sign(message, about=known), site=site)

    async def remind(self, site: str, fence: FenceRaised, *, about: str = "") -> None:
        """Of a fence that it missed. It is reminded again with its next beat, so not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._c.patience_s):
                await self.tell(fence, site=site, about=about)

    async def tell_roster(self, *, site: str | None = None) -> None:
        """As its authority has signed it: it needs nobody else's word."""
        if (keys := self._c.member.keys) is not None:
            await self._tell(encode(RosterIssued(roster=keys.rosters.issued)), site=site)

    async def bring_roster(self, site: str, *, has: int) -> None:
        """To a site that goes by an older one; not to one that goes by none. It may ask again.

        Once at a time: it costs a site less to ask than us to answer.
        """
        if site in self._bringing or not 0 < has < self._c.member.roster_number:
            return
        self._bringing.add(site)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._c.patience_s):
                    await self.tell_roster(site=site)
        finally:
            self._bringing.remove(site)

    async def _tell(self, body: bytes, *, site: str | None) -> None:
        with suppress(Unroutable):  # a federation that has no site yet
            await self._c.transport.publish(names.to_control(site), [(body,)])

    async def _do_all(self, waiting: asyncio.Queue[Pending]) -> None:
        """In their order: what one lane calls for waits for no other lane, what all do for each."""
        lanes: dict[int, asyncio.Task[None]] = {}
        while True:
            pending = await waiting.get()
            effect = decode(pending.effect, TO_BE_DONE, travelled=False)
            finish = partial(self._finish, pending, effect, waiting)
            lane = _lane_of(effect) if self._runs[pending.run].has_lanes else None
            if isinstance(effect, machine.IssueTurn) and effect.kind is Kind.EVALUATE:
                self._spawn(finish(after=()))  # all sites score at once
            elif lane is not None:
                before = [lanes[lane]] if lane in lanes else []
                lanes[lane] = self._spawn(finish(after=before))
            else:
                await finish(after=lanes.values())
                lanes.clear()

    async def _finish(
        self,
        pending: Pending,
        effect: ToBeDone,
        waiting: asyncio.Queue[Pending],
        *,
        after: Collection[asyncio.Task[None]],
    ) -> None:
        if after:
            await asyncio.wait(after)
        await self._do(pending, effect)
        self._c.ledger.strike(pending)
        waiting.task_done()

    async def _do(self, pending: Pending, effect: ToBeDone) -> None:
        match effect:
            case machine.IssueTurn():
                async with self._scored if effect.kind is Kind.EVALUATE else nullcontext():
                    await self._issue_while_awaited(effect)
                self._given_out(effect.id)
            case machine.Fence(run=run, lane=lane, term=term):
                await self._fence(FenceRaised(run=run, lane=lane, term=term))
            case machine.CollectWeights():
                await self._collect(pending.run, effect)
            case machine.SaveCheckpoint():
                await self._save(pending, effect)
            case machine.KeepLane():
                await self._keep_lane(pending.run, effect)
            case machine.MergeWeights():
                await self._merge(pending.run, effect)
            case machine.NameBest(round=round):
                self._name_best(pending.run, round)
            case machine.Conclude(term=term):
                await self.tell(RunEnded(run=pending.run, term=term))
                self._conclude(pending.run)
            case machine.DiscardWeights():
                await self._discard(pending.run)

    async def _fence(self, message: FenceRaised) -> None:
        """Terms keep results out, not fences: so one queue that takes nothing holds up no run."""
        if (place := message.lane - EVALUATION) >= 0:
            # Each site has a lane of its own to score on: nobody else wants to know, nor waits.
            site = self._runs[message.run].plan.sites[place]
            self._spawn(self.remind(site, message))
            return
        telling = self._spawn(self.tell(message))
        await asyncio.wait({telling}, timeout=self._c.patience_s)

    async def _issue_while_awaited(self, effect: machine.IssueTurn) -> None:
        issuing = asyncio.create_task(self._issue(effect))
        self._issuing[effect.id.of_lane] = (effect.id, issuing)
        try:
            await issuing
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # the service ends
            log.info("turn not sent any further", turn=str(effect.id), site=effect.site)
        finally:
            if self._issuing.get(effect.id.of_lane) == (effect.id, issuing):
                del self._issuing[effect.id.of_lane]

    async def _issue(self, effect: machine.IssueTurn) -> None:
        """Send the weights, then the turn. A turn that was taken back meanwhile is not sent."""
        if not self._runs[effect.id.run].awaits(effect.id):
            return
        path = await self._weights.obtain(effect.id.run, effect.weights, effect.at)
        if path is None:
            lost = machine.WeightsLost(weights=effect.weights, lane=effect.id.lane)
            self._apply(effect.id.run, lost)
            return
        turn = self._turn(effect)
        came_on = partial(self._sent_on, turn.id)
        came_on()
        try:
            await hand_over(
                self._c.transport,
                path,
                turn,
                to=turn.site,
                came_on=came_on,
                member=self._c.member,
                moments=self._c.moments,
            )
            self._c.moments.reach(Moment.CONFIRMED, turn.id)
        except asyncio.CancelledError:
            if not self._runs[effect.id.run].awaits(effect.id):
                self._take_back(turn)
            raise
        except (CannotSeal, Unroutable) as exc:
            failed = machine.TurnFailed(
                id=turn.id, site=turn.site, error=type(exc).__name__, detail=str(exc)
            )
            self._apply(turn.id.run, failed)

    def _take_back(self, turn: Turn) -> None:
        back = take_back(
            self._c.transport,
            turn,
            to=turn.site,
            within_s=self._c.patience_s,
            member=self._c.member,
        )
        self._spawn(back)

    def _turn(self, effect: machine.IssueTurn) -> Turn:
        """As it travels."""
        turn = Turn(
            id=effect.id,
            itinerary=effect.itinerary,
            weights=effect.weights,
            task=self._runs[effect.id.run].task_of(effect.id),
            kind=effect.kind,
            split=effect.split,
            merged=effect.merged,
            history=tuple(map(encode, effect.records)),
        )
        return replace(turn, warrant=self._warrant(turn))

    def _warrant(self, turn: Turn) -> bytes:
        """What all sites on its way believe of it; nothing where nobody signs."""
        member, submission = self._c.member, self._c.submission(turn.id.run)
        if member.keys is None:
            return b""
        warrant = Warrant(
            id=turn.id,
            itinerary=turn.itinerary,
            weights=turn.weights,
            task=turn.task,
            kind=turn.kind,
            split=turn.split,
            merged=turn.merged,
            before=tuple(map(digest_of, turn.history)),
            began=submission.began,
            roster=member.roster_number,
        )
        return member.sign(warrant, about=submission.about)

    async def _collect(self, run: str, effect: machine.CollectWeights) -> None:
        found = await self._weights.obtain(run, effect.weights, effect.at)
        event = machine.WeightsLost if found is None else machine.WeightsArrived
        self._reach(Moment.WEIGHTS_COLLECTED, run, effect.lane)
        self._apply(run, event(weights=effect.weights, lane=effect.lane))

    async def _merge(self, run: str, effect: machine.MergeWeights) -> None:
        """From the beginning, however far an earlier process had got with it."""
        if not self._is_wanted(run, effect):
            return
        self._reach(Moment.MERGE_BEGUN, run)
        try:
            merged = await self._weights.merge(run, effect)
        except StorageError:
            if self._is_wanted(run, effect):
                raise
            return  # its weights went while they were merged
        self._reach(Moment.MERGE_WRITTEN, run)
        if self._is_wanted(run, effect):
            self._apply(run, merged)

    async def _keep_lane(self, run: str, effect: machine.KeepLane) -> None:
        if not await self._weights.keep_lane(run, effect.weights, runs=self._runs):
            self._apply(run, machine.WeightsLost(weights=effect.weights, lane=effect.lane))

    def _is_wanted(self, run: str, effect: machine.MergeWeights) -> bool:
        """Whether the run still waits for it: it may have been stopped, or have lost some of it."""
        state = self._runs[run]
        return state.status is machine.Status.MERGING and state.done == effect.done

    def _conclude(self, run: str) -> None:
        self._weights.keep_held(run, self._runs[run])
        if all(state.is_done for state in self._runs.values()):
            self._c.spool.clear()
        if self._runs[run].is_done:  # else it has more to do already
            self._over.setdefault(run, asyncio.Event()).set()

    async def _save(self, pending: Pending, effect: machine.SaveCheckpoint) -> None:
        """Of a run that was removed, nothing is looked for any more: it may be gone."""
        state = self._runs[pending.run]
        if not state.removed:
            await self._weights.save(state.plan, effect, decided_in=pending.seq, runs=self._runs)
            if state.best is not None and state.best.after == effect.round + 1:
                self._name_best(pending.run, effect.round)
            self._reach(Moment.CHECKPOINT_SAVED, pending.run)

    def _name_best(self, run: str, round: int) -> None:
        state = self._runs[run]
        if not state.removed:
            self._weights.name_best(state.plan, round)

    async def _discard(self, run: str) -> None:
        """What a disk does not let go ends no service: who removes the run again is told why."""
        try:
            await self._weights.discard(run, runs=self._runs)
        except StorageError:
            log.exception("weights of a removed run are still there", run=run)

    def _reach(self, moment: Moment, run: str, lane: int = 0) -> None:
        self._c.moments.reach(moment, self._runs[run].lanes[lane].relay.expected)


def _lane_of(effect: ToBeDone) -> int | None:
    """The one lane that it is about; None: it is about all."""
    match effect:
        case machine.IssueTurn(id=id):
            return id.lane
        case machine.Fence(lane=lane) | machine.CollectWeights(lane=lane):
            return lane
    return None
