"""What one site counts of its turns, and its numbers as they go to the controller."""

from __future__ import annotations

from collections.abc import Callable

from tasuki.observe.carried import pack
from tasuki.observe.catalogue import SITE
from tasuki.observe.gpu import Gpus, open_nvml
from tasuki.observe.metrics import Metrics, Subject


class SiteMetrics(Metrics):
    """One site's."""

    def __init__(self, subject: Subject, *, has_turn: Callable[[], bool]) -> None:
        super().__init__(subject, who=SITE)
        self._has_turn = has_turn
        self._begin_refusals("turns", "weights", "control")
        self.board.add("tasuki_handoff_bytes_total", 0)
        self.board.before_reading(self._read_turn)
        if (nvml := open_nvml()) is not None:
            self.board.before_reading(Gpus(nvml, self.board).read)

    def trained(self, *, seconds: float) -> None:
        self.board.observe("tasuki_turn_seconds", seconds)

    def handed_over(self, *, seconds: float, size: int) -> None:
        self.board.observe("tasuki_handoff_seconds", seconds)
        self.board.add("tasuki_handoff_bytes_total", size)

    def packed(self) -> dict[str, float]:
        """Everything, for the controller."""
        return pack(self.board.collect())

    def _read_turn(self) -> None:
        self.board.set("tasuki_site_has_turn", float(self._has_turn()))
