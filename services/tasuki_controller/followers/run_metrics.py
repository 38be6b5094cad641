"""Where each run is and how its turns ended, as metrics: counted since the controller started."""

from __future__ import annotations

from tasuki.core import run as machine
from tasuki.observe.runs import Runs
from tasuki_controller.followers.follower import Follower
from tasuki_controller.history import Step


class RunMetrics(Follower):
    """Feeds a board's runs; those of before were found there at the start."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def follow(self, step: Step) -> None:
        if step.after is not None and isinstance(step.event, machine.Event):
            self._runs.changed(step.after, step.event, step.outcome, effects=step.effects)
