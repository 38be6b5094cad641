"""What a service counts, on a registry of its own. The only place that knows Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from tasuki.transport.amqp import Counters

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class BrokerMetrics(Collector):
    """A connection's running totals, read when they are asked for."""

    def __init__(self, counters: Counters, is_up: Callable[[], bool]) -> None:
        self._counters = counters
        self._is_up = is_up

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("tasuki_broker_up", "Whether both connections are open.")
        up.add_metric([], float(self._is_up()))
        yield up
        for name, meaning, value in (
            ("reconnects", "Connections that were made again.", self._counters.reconnects),
            ("blocked_seconds", "Publishing held back by the broker.", self._counters.blocked_s),
            ("published_bytes", "Sent and confirmed or not.", self._counters.published_bytes),
            ("delivered_bytes", "Received.", self._counters.delivered_bytes),
            ("resent_messages", "Sent again after a break.", self._counters.resent_messages),
        ):
            family = CounterMetricFamily(f"tasuki_broker_{name}", meaning)
            family.add_metric([], float(value))
            yield family


class Metrics:
    """A registry and how it is shown."""

    def __init__(self, counters: Counters, is_up: Callable[[], bool]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(BrokerMetrics(counters, is_up))

    def text(self) -> bytes:
        return generate_latest(self.registry)


class SiteMetrics(Metrics):
    """One site's."""

    def __init__(
        self, counters: Counters, is_up: Callable[[], bool], *, has_turn: Callable[[], bool]
    ) -> None:
        super().__init__(counters, is_up)
        gauge = Gauge("tasuki_site_has_turn", "Whether it has a turn.", registry=self.registry)
        gauge.set_function(lambda: float(has_turn()))


class ControllerMetrics(Metrics):
    """The controller's: which run is where. A run that is over is forgotten."""

    def __init__(self, counters: Counters, is_up: Callable[[], bool]) -> None:
        super().__init__(counters, is_up)
        self._outcomes: dict[str, set[tuple[str, str]]] = {}
        self._holders: dict[str, str] = {}
        self._turns = Counter(
            "tasuki_turns",
            "Turns by how they ended.",
            ["run", "site", "outcome"],
            registry=self.registry,
        )
        self._holder = Gauge(
            "tasuki_holder",
            "1 for the site that has the weights.",
            ["run", "site"],
            registry=self.registry,
        )
        self._heard = Gauge(
            "tasuki_holder_heard_timestamp_seconds",
            "When the holder was last heard of; compare it with the run's lease.",
            ["run"],
            registry=self.registry,
        )
        self._lease = Gauge(
            "tasuki_lease_seconds",
            "How long a holder may be silent.",
            ["run"],
            registry=self.registry,
        )

    def count_turn(self, run: str, site: str, outcome: str) -> None:
        self._turns.labels(run, site, outcome).inc()
        self._outcomes.setdefault(run, set()).add((site, outcome))

    def note_holder(self, run: str, site: str | None, *, lease_s: float) -> None:
        """Who has the weights now."""
        before = self._holders.pop(run, None)
        if before is not None and before != site:
            self._holder.remove(run, before)
        if site is not None:
            self._holders[run] = site
            self._holder.labels(run, site).set(1)
            self._heard.labels(run).set_to_current_time()
            self._lease.labels(run).set(lease_s)
        elif before is not None:
            self._heard.remove(run)
            self._lease.remove(run)

    def forget(self, run: str) -> None:
        """The run is over."""
        self.note_holder(run, None, lease_s=0)
        for site, outcome in self._outcomes.pop(run, set()):
            self._turns.remove(run, site, outcome)
