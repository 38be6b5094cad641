"""How long a run still takes, by how long what was seen of it took."""

from __future__ import annotations

from collections import deque

ROUNDS = 3
"""So many of the last rounds are what the rest is compared with."""


class Pace:
    """Seconds of one clock come in; rounds are counted with parts of them, as 2.5."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, float]] = deque(maxlen=ROUNDS + 1)  # where, when
        self._newest: tuple[float, float] | None = None

    def reached(self, rounds: float, *, at: float) -> None:
        """So many rounds are done. Saying it again changes nothing."""
        if self._newest is not None and rounds <= self._newest[0]:
            return
        if not self._marks or int(rounds) > int(self._marks[-1][0]):
            self._marks.append((rounds, at))
        self._newest = (rounds, at)

    def stood(self) -> None:
        """The run does not go on: that time says nothing of the rest."""
        self._marks.clear()
        self._newest = None

    def left_s(self, rounds: float, *, at: float) -> float | None:
        """Until so many rounds are done, about; None as long as nothing was seen to be done."""
        if self._newest is None or not self._marks:
            return None
        (done, when), (first, since) = self._newest, self._marks[0]
        if done <= first:
            return None
        left = (rounds - done) * (when - since) / (done - first)
        return max(0.0, left - (at - when))
