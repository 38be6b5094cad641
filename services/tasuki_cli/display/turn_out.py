"""What is known of the turn that is out: since when, what its holder said last, how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from tasuki.core.report import TurnProgressed
from tasuki_controller.turn_now import TurnNow

_STEPS = ("step", "steps")
_EPOCHS = ("epoch", "epochs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a turn is, as its trainer logs it.

    Attributes:
        share: done, from 0 to 1; None: the trainer does not say how much there is to do.
        told: in words.
        values: whatever else it logged last.
    """

    share: float | None
    told: str
    values: Mapping[str, float]


def progress(values: Mapping[str, float]) -> Progress:
    """`step` of `steps`, or `epoch` of `epochs` where there are none."""
    shares, told, others = [], [], dict(values)
    for done, whole in (_STEPS, _EPOCHS):
        if done in values and whole in values and _is_part(values[done], values[whole]):
            shares.append(values[done] / values[whole])
            told.append(f"{done} {others.pop(done):.6g} of {others.pop(whole):.6g}")
    return Progress(share=next(iter(shares), None), told=", ".join(told), values=others)


def _is_part(done: float, whole: float) -> bool:
    return isfinite(whole) and 0 <= done <= whole > 0


@dataclass(slots=True, kw_only=True)
class TurnOutNow:
    """Of one turn after the other; `since`: when it went out, by the clock of all times here."""

    since: float
    values: Mapping[str, float] = field(default_factory=dict)
    _beat: tuple[TurnProgressed, float] | None = None  # the newest, and when it came

    def begin(self, *, at: float) -> None:
        self.since, self.values, self._beat = at, {}, None

    def hear(self, beat: TurnProgressed, *, at: float) -> None:
        self.values, self._beat = beat.values, (beat, at)

    def now(self, at: float) -> TurnNow:
        held_s = at - self.since
        if self._beat is None:
            return TurnNow(held_s=held_s)
        beat, came = self._beat
        silent_s = at - came
        return TurnNow(
            phase=beat.phase,
            still_s=beat.still_s + silent_s,
            silent_s=silent_s,
            held_s=held_s,
        )
