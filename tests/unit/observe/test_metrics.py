"""What every service counts, and the three pages that show a site's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.numbers import shown
from tasuki.observe.controller import ControllerMetrics
from tasuki.observe.gpu import Gpus
from tasuki.observe.http import Pages, lacking
from tasuki.observe.metrics import Subject
from tasuki.observe.site import SiteMetrics
from tasuki.transport.amqp import Counters


def subject(service: str = "site-1", *, folder: Path | None = None) -> Subject:
    counters = Counters(publish_reconnects=1, consume_reconnects=2, ended_blocks_s=1.5)
    return Subject(service=service, counters=counters, is_up=lambda: False, folder=folder)


def site(folder: Path | None = None) -> SiteMetrics:
    return SiteMetrics(subject(folder=folder), has_turn=lambda: True)


def test_the_connection_is_counted() -> None:
    numbers = shown(site())
    assert numbers['tasuki_broker_up{service="site-1"}'] == 0
    assert numbers['tasuki_broker_reconnects_total{service="site-1"}'] == 3
    assert numbers['tasuki_broker_blocked_seconds_total{service="site-1"}'] == 1.5


def test_the_disk_and_the_spool_are_measured(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "one.part").write_bytes(bytes(300))
    (spool / "two.safetensors").write_bytes(bytes(700))
    numbers = shown(site(tmp_path))
    assert numbers['tasuki_spool_bytes{service="site-1"}'] == 1000
    free = numbers['tasuki_disk_free_bytes{service="site-1"}']
    assert 0 < free < numbers['tasuki_disk_size_bytes{service="site-1"}']


def test_a_refusal_whose_reason_is_unknown_is_counted_as_other() -> None:
    metrics = site()
    metrics.refused("turns", "oversized")
    metrics.refused("turns", "a reason that is new", count=2)
    numbers = shown(metrics)
    name = 'tasuki_messages_refused_total{queue_kind="turns",reason="%s",service="site-1"}'
    assert numbers[name % "oversized"] == 1
    assert numbers[name % "other"] == 2
    assert numbers[name % "stale_term"] == 0


def test_hand_overs_fall_into_buckets() -> None:
    metrics = site()
    for seconds in (0.1, 0.1000001, 200):
        metrics.handed_over(seconds=seconds, size=10)
    numbers = shown(metrics)
    assert numbers['tasuki_handoff_seconds_bucket{le="0.05",site="site-1"}'] == 0
    assert numbers['tasuki_handoff_seconds_bucket{le="0.1",site="site-1"}'] == 1
    assert numbers['tasuki_handoff_seconds_bucket{le="120.0",site="site-1"}'] == 2
    assert numbers['tasuki_handoff_seconds_bucket{le="+Inf",site="site-1"}'] == 3
    assert numbers['tasuki_handoff_seconds_count{site="site-1"}'] == 3
    assert numbers['tasuki_handoff_seconds_sum{site="site-1"}'] == pytest.approx(200.2000001)
    assert numbers['tasuki_handoff_bytes_total{site="site-1"}'] == 30


class FakeNvml:
    """A machine with one GPU; we have none to test with."""

    class NVMLError(Exception):
        """It has fallen off the bus."""

    class memory:  # noqa: N801 - what NVML returns has fields only
        used, total = 3, 8

    class rates:  # noqa: N801
        gpu = 25

    is_lost = False

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - NVML's names
        if self.is_lost:
            raise self.NVMLError
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetMemoryInfo(self, _: int) -> object:  # noqa: N802
        return self.memory

    def nvmlDeviceGetUtilizationRates(self, _: int) -> object:  # noqa: N802
        return self.rates


def test_a_gpu_is_read_as_long_as_it_can_be() -> None:
    metrics, nvml = site(), FakeNvml()
    metrics.board.before_reading(Gpus(nvml, metrics.board).read)
    numbers = shown(metrics)
    assert numbers['tasuki_gpu_memory_used_bytes{gpu="0",site="site-1"}'] == 3
    assert numbers['tasuki_gpu_memory_total_bytes{gpu="0",site="site-1"}'] == 8
    assert numbers['tasuki_gpu_utilisation_ratio{gpu="0",site="site-1"}'] == 0.25
    nvml.is_lost = True
    assert not [name for name in shown(metrics) if "gpu" in name]


@pytest.mark.parametrize(
    ("path", "is_ready", "status"),
    [
        ("/healthz", False, "200 OK"),
        ("/readyz", True, "200 OK"),
        ("/readyz", False, "503 Service Unavailable"),
        ("/metrics", False, "200 OK"),
        ("/", True, "404 Not Found"),
        ("/readyz?verbose", True, "422 Unprocessable Content"),
    ],
)
def test_a_site_has_three_pages(path: str, is_ready: bool, status: str) -> None:
    metrics = site()
    assert (
        Pages(metrics, lacks=lambda: lacking(is_started=True, is_up=is_ready)).page(path)[0]
        == status
    )
    assert shown(metrics)['tasuki_site_has_turn{site="site-1"}'] == 1


@pytest.mark.parametrize(
    ("is_started", "is_up", "why"),
    [
        (True, True, ""),
        (False, True, "it has not started yet"),
        (True, False, "no connection to the broker"),
        (False, False, "no connection to the broker"),
    ],
)
def test_a_service_that_is_not_ready_says_why(is_started: bool, is_up: bool, why: str) -> None:
    assert why == lacking(is_started=is_started, is_up=is_up)


def test_a_page_shows_no_family_twice() -> None:
    """Prometheus refuses a page that does; the controller shows families of its sites' too."""
    controller = ControllerMetrics(subject("controller"))
    controller.sites.take("site-1", site().packed())
    types = re.findall(r"^# TYPE (\S+)", controller.text().decode(), re.MULTILINE)
    assert "tasuki_broker_up" in types
    assert len(set(types)) == len(types)
