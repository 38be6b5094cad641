"""Who follows a controller's ledger. One file each; add yours to `followers`."""

from __future__ import annotations

from tasuki.observe.controller import ControllerMetrics
from tasuki_controller.followers.follower import Follower
from tasuki_controller.followers.run_metrics import RunMetrics
from tasuki_controller.followers.watch import Watch
from tasuki_controller.news import Watcher

__all__ = ["Follower", "followers"]


def followers(*, metrics: ControllerMetrics, tell: Watcher) -> list[Follower]:
    """All of them. `tell`: takes what onlookers are to see."""
    return [
        RunMetrics(metrics.runs),
        Watch(tell),
    ]
