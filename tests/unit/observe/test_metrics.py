"""What a service counts, and the three pages that show it."""

from __future__ import annotations

import pytest

from tasuki.observe.http import Pages
from tasuki.observe.metrics import ControllerMetrics, SiteMetrics
from tasuki.transport.amqp import Counters


def test_one_site_holds_a_run_at_a_time_and_a_run_that_is_over_is_forgotten() -> None:
    metrics = ControllerMetrics(Counters(), lambda: True)
    metrics.note_holder("r", "a", lease_s=60)
    metrics.count_turn("r", "a", "accepted")
    metrics.note_holder("r", "b", lease_s=60)
    shown = metrics.text().decode()
    assert 'tasuki_holder{run="r",site="b"} 1.0' in shown
    assert 'tasuki_holder{run="r",site="a"}' not in shown
    assert 'tasuki_turns_total{outcome="accepted",run="r",site="a"} 1.0' in shown
    assert 'tasuki_lease_seconds{run="r"} 60.0' in shown
    metrics.forget("r")
    metrics.forget("r")
    assert 'run="r"' not in metrics.text().decode()


def test_the_connection_is_counted() -> None:
    counters = Counters(publish_reconnects=1, consume_reconnects=2, ended_blocks_s=1.5)
    shown = ControllerMetrics(counters, lambda: False).text().decode()
    assert "tasuki_broker_up 0.0" in shown
    assert "tasuki_broker_reconnects_total 3.0" in shown
    assert "tasuki_broker_blocked_seconds_total 1.5" in shown


@pytest.mark.parametrize(
    ("path", "is_ready", "status"),
    [
        ("/healthz", False, "200 OK"),
        ("/readyz", True, "200 OK"),
        ("/readyz", False, "503 Service Unavailable"),
        ("/metrics", False, "200 OK"),
        ("/", True, "404 Not Found"),
    ],
)
def test_a_site_has_three_pages(path: str, is_ready: bool, status: str) -> None:
    metrics = SiteMetrics(Counters(), lambda: True, has_turn=lambda: True)
    assert Pages(metrics, is_ready=lambda: is_ready).page(path)[0] == status
    assert "tasuki_site_has_turn 1.0" in metrics.text().decode()
