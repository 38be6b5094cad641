"""From what happens at a site to its metrics."""

from __future__ import annotations

from tasuki.observe.site import SiteMetrics
from tasuki_site.facts import DeadLettered, Fact, HandedOver, Trained, TurnDropped, Watcher

_OWN = {"fenced", "void"}
"""Why a site drops a turn of its own; every other reason is about a message that came."""


def into(metrics: SiteMetrics) -> Watcher:
    """A watcher that counts."""

    def watch(fact: Fact) -> None:
        match fact:
            case DeadLettered(queue=queue, error=error):
                metrics.refused(queue.split(".")[1], error.reason)
            case TurnDropped(reason=reason) if reason not in _OWN:
                metrics.refused("turns", reason)
            case Trained(seconds=seconds):
                metrics.trained(seconds=seconds)
            case HandedOver(seconds=seconds, size=size):
                metrics.handed_over(seconds=seconds, size=size)

    return watch
