"""A lease runs from when its turn last came on, whatever its holder says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.core.model import TurnId
from tasuki.core.relay import LeaseExpired, StartLease, lease
from tasuki.core.relay.lease import Due, Lease, Sending
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


# When to look at it, and what it calls for then.


def looked_at(
    held: Lease,
    *,
    now: float,
    hears_since: float | None = 0.0,
    sending: Sending = Sending.DONE,
) -> tuple[Lease, Due]:
    return lease.look(held, now=now, hears_since=hears_since, sending=sending)


def ended(
    held: Lease,
    *,
    now: float,
    hears_since: float | None = 0.0,
    sending: Sending = Sending.DONE,
) -> Lease | LeaseExpired:
    return lease.run_out(held, now=now, hears_since=hears_since, sending=sending)


def test_half_a_lease_without_a_word_is_a_doubt_and_its_end_is_to_be_made_sure_of() -> None:
    held = lease.begun(START, now=1000)
    assert 1030 == held.next_at
    held, due = looked_at(held, now=1030)
    assert (Due.DOUBT, 1060) == (due, held.next_at)
    held, due = looked_at(held, now=1060)
    assert (Due.END, math.inf) == (due, held.next_at)
    assert LeaseExpired(id=START.id) == ended(held, now=1070)


def test_nothing_is_due_before_its_time() -> None:
    held = lease.begun(START, now=1000)
    assert (held, Due.NOTHING) == looked_at(held, now=1029)


def test_a_turn_that_is_being_sent_is_not_doubted() -> None:
    held = lease.begun(START, now=1000)
    _, due = looked_at(held, now=1030, sending=Sending.UNDER_WAY)
    assert Due.NOTHING == due


def over() -> Lease:
    held, due = looked_at(lease.begun(START, now=1000), now=1060)
    assert Due.END == due
    return held


EXCUSES: list[tuple[float | None, Sending]] = [
    (None, Sending.DONE),
    (1001.0, Sending.DONE),
    (0.0, Sending.NOT_BEGUN),
]


@pytest.mark.parametrize(("hears_since", "sending"), EXCUSES)
def test_silence_that_may_be_ours_begins_the_lease_again(
    hears_since: float | None, sending: Sending
) -> None:
    held = lease.begun(START, now=1000)
    again, due = looked_at(held, now=1060, hears_since=hears_since, sending=sending)
    assert (Due.NOTHING, 1120) == (due, again.ends_at)


@pytest.mark.parametrize(("hears_since", "sending"), EXCUSES)
def test_an_excuse_that_came_while_somebody_made_sure_counts(
    hears_since: float | None, sending: Sending
) -> None:
    again = ended(over(), now=1060, hears_since=hears_since, sending=sending)
    assert lease.begun(START, now=1060) == again


def test_a_sign_of_life_that_came_while_somebody_made_sure_counts() -> None:
    held = lease.heard(over(), phase=Stage.TRAINING, still_s=0, now=1065)
    assert held == ended(held, now=1066)


def test_who_could_be_heard_for_a_whole_lease_has_no_excuse() -> None:
    assert LeaseExpired(id=START.id) == ended(over(), now=1060, hears_since=1000.0)


def test_a_turn_that_we_send_and_that_stands_still_is_not_its_sites_silence() -> None:
    held = lease.heard(lease.begun(START, now=1000), phase=Stage.GIVEN_OUT, still_s=0, now=1000)
    held, _ = looked_at(held, now=1060, sending=Sending.UNDER_WAY)
    expired = ended(held, now=1060, sending=Sending.UNDER_WAY)
    assert LeaseExpired(id=START.id, phase="given_out") == expired
