"""The turns that a site holds: their heartbeat, what their trainers say, and their work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field

from tasuki.core.model import Turn, TurnId
from tasuki.core.turn import SiteState, came_on_at, stage_of, stands_since
from tasuki_site.arrivals import Arrivals
from tasuki_site.reports import Reports
from tasuki_site.site import Site

LEAST_BEAT_S = 0.01
"""No turn makes its site beat more often, whatever it says."""

MOST_VALUES = 256
"""Of what a trainer logs, the newest so many names are told."""

Spawn = Callable[[Coroutine[object, object, None]], asyncio.Task[None]]

PROGRESS_S = 0.2  # a trainer that logs more often is shown its newest values this often


@dataclass(slots=True, eq=False)
class HeldTurn:
    """One turn that the site has.

    Attributes:
        moved_at: when it entered its phase or more of its result was confirmed, by the site's
            `elapsed`.
        work: the search for its weights, the training, and then the hand-over.
        ready_at: the event loop's time when the result was there.
    """

    turn: Turn
    moved_at: float
    work: asyncio.Task[None] | None = None
    ready_at: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None
    shown_at: float = 0.0


class HeldTurns:
    """All turns that the site has, those that wait for room included.

    Args:
        state: the site's, as it is at the time.
    """

    def __init__(
        self, site: Site, reports: Reports, arrivals: Arrivals, state: Callable[[], SiteState]
    ) -> None:
        self._site = site
        self._reports = reports
        self._arrivals = arrivals
        self._state = state
        self._turns: dict[TurnId, HeldTurn] = {}

    def begin(self, turn: Turn) -> None:
        self._turns[turn.id] = held = HeldTurn(turn, moved_at=self._site.elapsed())
        self._schedule(held)

    def come_on(self, id: TurnId) -> None:
        """It entered another phase, or more of its result was confirmed."""
        if (held := self._turns.get(id)) is not None:
            held.moved_at = self._site.elapsed()

    def look_for_weights(self, id: TurnId, spawn: Spawn) -> None:
        """Beside, unless it has them and something works on it already."""
        held = self._turns.get(id)
        if held is not None and held.work is None:
            held.work = spawn(self._arrivals.obtain(held.turn))

    def work_on(self, id: TurnId, work: asyncio.Task[None]) -> None:
        """It entered a phase in which this works on it, and what did before has nothing to do."""
        self.come_on(id)
        if (held := self._turns.get(id)) is not None:
            _end(held.work)
            held.work = work

    def note_result(self, id: TurnId) -> None:
        """Its result is there from now on."""
        if (held := self._turns.get(id)) is not None:
            held.ready_at = asyncio.get_running_loop().time()

    def ready_at(self, id: TurnId) -> float | None:
        """The event loop's time when its result was there, if that was in this process."""
        held = self._turns.get(id)
        return None if held is None else held.ready_at

    def end(self, id: TurnId) -> HeldTurn | None:
        """The site has the turn no more; its work is for the caller to end."""
        held = self._turns.pop(id, None)
        if held is not None and held.timer is not None:
            held.timer.cancel()
        return held

    def leave(self, id: TurnId) -> HeldTurn | None:
        """End what works on it; what there is of it stays."""
        held = self.end(id)
        if held is not None:
            _end(held.work)
        return held

    def abort(self, id: TurnId) -> None:
        """Nobody wants its result: end what works on it, and let its weights go."""
        if (held := self.leave(id)) is not None:
            self._arrivals.discard(held.turn)

    def log(self, id: TurnId, values: Mapping[str, float]) -> None:
        """What its trainer says; not all of it is shown if it says much."""
        held = self._turns.get(id)
        if held is None:
            return
        held.values = _newest({**held.values, **values})
        now = asyncio.get_running_loop().time()
        if now - held.shown_at >= PROGRESS_S:
            held.shown_at = now
            self._show(held)

    def _schedule(self, held: HeldTurn) -> None:
        later = asyncio.get_running_loop().call_later
        held.timer = later(max(LEAST_BEAT_S, held.turn.task.beat_s), self._beat, held)

    def _beat(self, held: HeldTurn) -> None:
        """Say what the turn is at, and for how long it has not come on."""
        self._schedule(held)
        self._show(held)

    def stands_s(self) -> float:
        """For how long nothing that is under way has come on; a trainer is waited for."""
        now = self._site.elapsed()
        return max(0.0, now - stands_since(self._state(), self._moved_at, now=now))

    def _still_s(self, id: TurnId) -> float:
        """For how long a turn has not come on."""
        now, weights_at = self._site.elapsed(), self._arrivals.came_at
        at = came_on_at(self._state(), id, self._moved_at, weights_at=weights_at, now=now)
        return max(0.0, now - at)

    @property
    def _moved_at(self) -> Mapping[TurnId, float]:
        return {id: held.moved_at for id, held in self._turns.items()}

    def _show(self, held: HeldTurn) -> None:
        id = held.turn.id
        if (stage := stage_of(self._state(), id)) is not None:
            self._reports.progressed(id, phase=stage, values=held.values, still_s=self._still_s(id))


def _end(work: asyncio.Task[None] | None) -> None:
    if work is not None and work is not asyncio.current_task():
        work.cancel()


def _newest(values: dict[str, float]) -> dict[str, float]:
    return dict(list(values.items())[-MOST_VALUES:])
