"""A lease runs from when its turn last came on, whatever its holder says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.core.model import TurnId
from tasuki.core.relay import LeaseExpired, StartLease, lease
from tasuki.core.report import Stage

START = StartLease(id=TurnId(run="r", term=1, round=0, hop=0), lease_s=60)
PAUSES = st.floats(0, 100)
NEARLY = 1e-6


def test_a_lease_that_begins_has_all_of_its_time() -> None:
    assert 1060 == lease.begun(START, now=1000).ends_at


def test_a_sign_of_life_renews_it_by_no_more_than_the_turn_came_on() -> None:
    held = lease.heard(lease.begun(START, now=1000), phase=Stage.TRAINED, still_s=23, now=1030)
    assert 1067 == held.ends_at


def test_a_turn_that_stood_still_longer_than_its_holder_was_silent_has_its_phase_told() -> None:
    held = lease.heard(lease.begun(START, now=1000), phase=Stage.TRAINED, still_s=40, now=1040)
    assert LeaseExpired(id=START.id, phase="trained") == lease.expired(held, now=1060)


def test_a_holder_that_was_silent_longer_than_its_turn_stood_still_is_silent() -> None:
    held = lease.heard(lease.begun(START, now=1000), phase=Stage.TRAINED, still_s=20, now=1020)
    assert LeaseExpired(id=START.id) == lease.expired(held, now=1060)


@given(beats=st.lists(st.tuples(PAUSES, st.floats()), max_size=10), pause=PAUSES)
def test_whatever_a_site_says_its_lease_is_neither_longer_nor_over_before_now(
    beats: list[tuple[float, float]], pause: float
) -> None:
    now = 1000.0
    held = lease.begun(START, now=now)
    for after_s, still_s in beats:
        now += after_s
        held = lease.heard(held, phase="trained", still_s=still_s, now=now)
        stood_s = 0.0 if math.isnan(still_s) else min(max(still_s, 0.0), START.lease_s)
        assert held.ends_at == pytest.approx(now + START.lease_s - stood_s)
        assert now - NEARLY <= held.ends_at <= now + START.lease_s + NEARLY
        assert lease.renews(still_s, START.lease_s) == (stood_s < START.lease_s)
    now += pause
    stood_s, silent_s = held.heard_at - held.moved_at, now - held.heard_at
    phase = "trained" if stood_s > silent_s else ""
    assert LeaseExpired(id=START.id, phase=phase) == lease.expired(held, now=now)
