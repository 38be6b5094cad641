"""A site's numbers reach the controller's page, and nothing else of what it says does."""

from __future__ import annotations

import pytest

from support.numbers import shown
from tasuki.core.report import SiteMeasured
from tasuki.observe.carried import MOST_SERIES, SILENT_S
from tasuki.observe.controller import ControllerMetrics
from tasuki.observe.metrics import Subject
from tasuki.observe.site import SiteMetrics
from tasuki.transport.amqp import Counters
from tasuki.wire.messages import decode, encode


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def controller(clock: Clock | None = None) -> ControllerMetrics:
    subject = Subject(service="controller", counters=Counters(), is_up=lambda: True)
    return ControllerMetrics(subject, now=clock or Clock())


def measured() -> SiteMetrics:
    subject = Subject(service="site-1", counters=Counters(), is_up=lambda: True)
    metrics = SiteMetrics(subject, has_turn=lambda: True)
    metrics.handed_over(seconds=0.3, size=100)
    metrics.trained(seconds=7)
    metrics.refused("turns", "stale_term")
    metrics.board.set("tasuki_gpu_utilisation_ratio", 0.5, gpu="1")
    return metrics


def test_the_controller_shows_a_sites_numbers_as_the_site_does() -> None:
    site, here = measured(), controller()
    sent = decode(encode(SiteMeasured(site="site-1", series=site.packed())), SiteMeasured)
    here.sites.take(sent.site, sent.series)
    numbers = shown(here)
    expected = shown(site)
    assert len(expected) > 50
    assert {name: numbers.get(name) for name in expected} == expected


def test_a_site_with_eight_gpus_is_shown_whole() -> None:
    site = measured()
    for gpu in map(str, range(8)):
        for name in ("memory_used_bytes", "memory_total_bytes", "utilisation_ratio"):
            site.board.set(f"tasuki_gpu_{name}", 1, gpu=gpu)
    assert len(site.packed()) < MOST_SERIES


def test_what_was_said_last_counts() -> None:
    site, here = measured(), controller()
    here.sites.take("site-1", site.packed())
    site.handed_over(seconds=0.1, size=50)
    here.sites.take("site-1", site.packed())
    assert shown(here)['tasuki_handoff_bytes_total{site="site-1"}'] == 150


def test_a_site_that_has_been_silent_for_ten_minutes_is_not_shown() -> None:
    clock = Clock()
    here = controller(clock)
    here.sites.take("site-1", measured().packed())
    clock.now += SILENT_S
    assert [name for name in shown(here) if "site-1" in name]
    clock.now += 1
    assert not [name for name in shown(here) if "site-1" in name]


HOSTILE = {
    "a name of its own": "tasuki_evil",
    "a name of the controller's": "tasuki_runs|status=finished",
    "another site's label": "tasuki_site_has_turn|site=site-2",
    "a label too many": "tasuki_site_has_turn|gpu=1",
    "a label twice": "tasuki_gpu_utilisation_ratio|gpu=1|gpu=2",
    "a label too few": "tasuki_gpu_utilisation_ratio",
    "a value without end": "tasuki_gpu_utilisation_ratio|gpu=100",
    "a reason of its own": "tasuki_messages_refused_total|queue_kind=turns|reason=evil",
    "a queue of its own": "tasuki_messages_refused_total|queue_kind=evil|reason=duplicate",
    "a bucket of its own": "tasuki_turn_seconds_bucket|le=3.3",
    "a histogram as a number": "tasuki_turn_seconds",
    "a number as a histogram": "tasuki_site_has_turn_sum",
    "a version that breaks the page": 'tasuki_build_info|version=1"} 5\nevil 1',
    "nothing": "",
    "bars": "||||=|=",
}


@pytest.mark.parametrize("key", HOSTILE.values(), ids=HOSTILE)
def test_a_series_that_sites_do_not_have_is_left_out(key: str) -> None:
    here = controller()
    before = shown(here)
    here.sites.take("site-1", {key: 1.0})
    assert shown(here) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_left_out(value: float) -> None:
    here = controller()
    here.sites.take("site-1", {"tasuki_site_has_turn": value})
    assert 'tasuki_site_has_turn{site="site-1"}' not in shown(here)


def test_no_more_than_so_many_series_of_a_site_are_looked_at() -> None:
    here = controller()
    many = {f"tasuki_gpu_utilisation_ratio|gpu={number}": 1.0 for number in range(10**5)}
    here.sites.take("site-1", {**many, "tasuki_site_has_turn": 1.0})
    assert len([name for name in shown(here) if "site-1" in name]) <= MOST_SERIES
