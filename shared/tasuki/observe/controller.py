"""What the controller counts, and what the sites told it of themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import Metric

from tasuki.observe.carried import Carried, merged
from tasuki.observe.catalogue import CONTROLLER
from tasuki.observe.metrics import Metrics, Subject
from tasuki.observe.runs import Runs


class ControllerMetrics(Metrics):
    """The controller's, with those of every site that was heard of lately."""

    def __init__(self, subject: Subject, *, now: Callable[[], float] = time.time) -> None:
        super().__init__(subject, who=CONTROLLER)
        self._now = now
        self._begin_refusals("reports", "weights")
        self.runs = Runs(self.board, now, sent=lambda: subject.counters.published_bytes)
        self.sites = Carried(now)

    def heard(self, site: str) -> None:
        """A site said something."""
        self.board.set("tasuki_site_heard_timestamp_seconds", self._now(), site=site)

    def follower_failed(self, name: str) -> None:
        """One of those who read the ledger did not take a row."""
        self.board.add("tasuki_follower_failures_total", follower=name)

    def dead_letters(self, count: int) -> None:
        self.board.set("tasuki_dead_letters", count)

    def stream_replicas(self, nodes: Mapping[str, int]) -> None:
        """At how many nodes each stream can be read; none of those that nobody could count."""
        self.board.forget("tasuki_stream_replicas")
        for stream, count in nodes.items():
            self.board.set("tasuki_stream_replicas", count, queue=stream)

    def collect(self) -> Iterable[Metric]:
        return merged(self.board, self.sites)
