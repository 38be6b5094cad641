"""The turns that a site has: their heartbeat, what their trainers say meanwhile, and their work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tasuki.core.model import Turn, TurnId
from tasuki.core.turn import Phase
from tasuki_site.arrivals import Arrivals
from tasuki_site.reports import Reports

WAITING = "waiting"
"""How far a turn has come that waits for another run's to make room."""

LEAST_BEAT_S = 0.01
"""No turn makes its site beat more often, whatever it says."""

MOST_VALUES = 256
"""Of what a trainer logs, the newest so many names are told."""

PROGRESS_S = 0.2  # a trainer that logs more often is shown its newest values this often


@dataclass(slots=True, eq=False)
class Pulse:
    """One turn that the site has.

    Attributes:
        work: the training, once it has begun.
        ready_at: the event loop's time when the result was there.
        count: chunks that this site had received at the last beat.
    """

    turn: Turn
    work: asyncio.Task[None] | None = None
    ready_at: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    count: int = 0
    timer: asyncio.TimerHandle | None = None
    shown_at: float = 0.0


class Pulses:
    """All turns that the site has, those that wait for room included.

    Args:
        standing_of: how far a turn has come, `TAKEN` also for one that waits for room in vain;
            None if the site has it no more.
    """

    def __init__(
        self, reports: Reports, arrivals: Arrivals, standing_of: Callable[[TurnId], str | None]
    ) -> None:
        self._reports = reports
        self._arrivals = arrivals
        self._standing_of = standing_of
        self._pulses: dict[TurnId, Pulse] = {}

    def begin(self, turn: Turn) -> None:
        self._pulses[turn.id] = pulse = Pulse(turn, count=self._arrivals.count)
        self._schedule(pulse)

    def find(self, id: TurnId) -> Pulse | None:
        return self._pulses.get(id)

    def of_run(self, run: str) -> list[TurnId]:
        return [id for id in self._pulses if id.run == run]

    def end(self, id: TurnId) -> Pulse | None:
        """The turn is not under way any more; its work is for the caller to end."""
        pulse = self._pulses.pop(id, None)
        if pulse is not None and pulse.timer is not None:
            pulse.timer.cancel()
        return pulse

    def abort(self, id: TurnId) -> None:
        """Nobody wants its result: end its trainer, and let its weights go."""
        pulse = self.end(id)
        if pulse is None:
            return
        if pulse.work is not None and pulse.work is not asyncio.current_task():
            pulse.work.cancel()
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
        """Say that the turn goes on; while no weights arrive for it, silence says that."""
        self._schedule(pulse)
        before, pulse.count = pulse.count, self._arrivals.count
        if self._standing_of(pulse.turn.id) != Phase.TAKEN or pulse.count > before:
            self._show(pulse)

    def _show(self, pulse: Pulse) -> None:
        standing = self._standing_of(pulse.turn.id)
        if standing is not None:
            self._reports.progressed(pulse.turn.id, phase=standing, values=pulse.values)


def _newest(values: dict[str, float]) -> dict[str, float]:
    return dict(list(values.items())[-MOST_VALUES:])
