"""The turns that a site has: their heartbeat, what their trainers say meanwhile, and their work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tasuki.core.model import Turn, TurnId
from tasuki.core.turn import SiteState, came_on_at, stage_of
from tasuki_site.arrivals import Arrivals
from tasuki_site.reports import Reports
from tasuki_site.site import Site

LEAST_BEAT_S = 0.01
"""No turn makes its site beat more often, whatever it says."""

MOST_VALUES = 256
"""Of what a trainer logs, the newest so many names are told."""

PROGRESS_S = 0.2  # a trainer that logs more often is shown its newest values this often


@dataclass(slots=True, eq=False)
class Pulse:
    """One turn that the site has.

    Attributes:
        moved_at: when it entered its phase or more of its result was confirmed, by the site's
            `elapsed`.
        work: the training, once it has begun, and then the hand-over.
        ready_at: the event loop's time when the result was there.
    """

    turn: Turn
    moved_at: float
    work: asyncio.Task[None] | None = None
    ready_at: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None
    shown_at: float = 0.0


class Pulses:
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
        self._pulses: dict[TurnId, Pulse] = {}

    def begin(self, turn: Turn) -> None:
        self._pulses[turn.id] = pulse = Pulse(turn, moved_at=self._site.elapsed())
        self._schedule(pulse)

    def come_on(self, id: TurnId) -> None:
        """It entered another phase, or more of its result was confirmed."""
        if (pulse := self._pulses.get(id)) is not None:
            pulse.moved_at = self._site.elapsed()

    def find(self, id: TurnId) -> Pulse | None:
        return self._pulses.get(id)

    def end(self, id: TurnId) -> Pulse | None:
        """The turn is not under way any more; its work is for the caller to end."""
        pulse = self._pulses.pop(id, None)
        if pulse is not None and pulse.timer is not None:
            pulse.timer.cancel()
        return pulse

    def leave(self, id: TurnId) -> Pulse | None:
        """End what works on it; what there is of it stays."""
        pulse = self.end(id)
        work = None if pulse is None else pulse.work
        if work is not None and work is not asyncio.current_task():
            work.cancel()
        return pulse

    def abort(self, id: TurnId) -> None:
        """Nobody wants its result: end what works on it, and let its weights go."""
        if (pulse := self.leave(id)) is not None:
            self._arrivals.discard(pulse.turn)

    def log(self, id: TurnId, values: Mapping[str, float]) -> None:
        """What its trainer says; not all of it is shown if it says much."""
        pulse = self._pulses.get(id)
        if pulse is None:
            return
        pulse.values = _newest({**pulse.values, **values})
        now = asyncio.get_running_loop().time()
        if now - pulse.shown_at >= PROGRESS_S:
            pulse.shown_at = now
            self._show(pulse)

    def _schedule(self, pulse: Pulse) -> None:
        later = asyncio.get_running_loop().call_later
        pulse.timer = later(max(LEAST_BEAT_S, pulse.turn.task.beat_s), self._beat, pulse)

    def _beat(self, pulse: Pulse) -> None:
        """Say what the turn is at, and for how long it has not come on."""
        self._schedule(pulse)
        self._show(pulse)

    def still_s(self, id: TurnId) -> float:
        """For how long a turn has not come on."""
        now = self._site.elapsed()
        moved_at = {each: pulse.moved_at for each, pulse in self._pulses.items()}
        at = came_on_at(self._state(), id, moved_at, weights_at=self._arrivals.came_at, now=now)
        return max(0.0, now - at)

    def _show(self, pulse: Pulse) -> None:
        id = pulse.turn.id
        if (stage := stage_of(self._state(), id)) is not None:
            self._reports.progressed(id, phase=stage, values=pulse.values, still_s=self.still_s(id))


def _newest(values: dict[str, float]) -> dict[str, float]:
    return dict(list(values.items())[-MOST_VALUES:])
