"""What a site has to say to count as heard: to live is not enough where it is waited for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.runs import Relay, moved, plan, weights
from tasuki.core.model import OnSilent
from tasuki.core.report import (
    Report,
    RoundDone,
    SiteBeat,
    SiteMeasured,
    SiteStarted,
    TurnAbandoned,
    TurnDone,
    TurnProgressed,
    TurnRefused,
    TurnTaken,
)
from tasuki.core.run.reports import is_heard, stage_said

LEASE_S = 60.0


def expired(policy: OnSilent) -> Relay:
    """A run whose holder's lease ran out."""
    relay = Relay(plan(on_silent=policy))
    relay.expire("trained")
    return relay


def said_by(relay: Relay, *, of_it: bool) -> list[Report]:
    """All that a site may say of the turn that is out, or of another."""
    id = relay.state.expected if of_it else moved(relay.state.expected, round=7)
    record = replace(relay.record(), id=id, site="a")
    return [
        TurnTaken(id=id, site="a"),
        TurnProgressed(id=id, site="a", phase="trained"),
        TurnDone(record=record, site="a"),
        RoundDone(id=id, site="a", weights=weights("w"), history=()),
        TurnAbandoned(id=id, site="a", error="TrainerDied"),
        TurnRefused(id=id, site="a", reason="fenced"),
    ]


NO_TURN: list[Report] = [SiteStarted(site="a", fresh=False, version="1"), SiteBeat(site="a")]


def test_a_site_that_is_waited_for_is_heard_by_what_it_says_of_that_turn() -> None:
    relay = expired(OnSilent.WAIT)
    for report in [*said_by(relay, of_it=True), *NO_TURN]:
        assert is_heard(relay.state, report), report


def test_a_site_that_is_waited_for_is_not_heard_by_what_it_says_of_another_turn() -> None:
    """Bug: it would be said that the run goes on, and a lease later that it does not, for ever."""
    relay = expired(OnSilent.WAIT)
    for report in said_by(relay, of_it=False):
        assert not is_heard(relay.state, report), report


@pytest.mark.parametrize(("still_s", "heard"), [(0.0, True), (59.9, True), (LEASE_S, False)])
def test_a_turn_that_is_waited_for_has_to_come_on(still_s: float, heard: bool) -> None:
    relay = expired(OnSilent.WAIT)
    id = relay.state.expected
    beat = TurnProgressed(id=id, site="a", phase="trained", still_s=still_s)
    assert heard == is_heard(relay.state, beat)


def test_a_site_whose_turn_was_taken_back_is_heard_by_any_word() -> None:
    relay = expired(OnSilent.RETRY)
    stands = TurnProgressed(id=relay.state.expected, site="a", phase="trained", still_s=1e9)
    for report in [*said_by(relay, of_it=False), *NO_TURN, stands]:
        assert is_heard(relay.state, report), report


@pytest.mark.parametrize("policy", list(OnSilent))
def test_a_site_that_only_counts_is_not_heard(policy: OnSilent) -> None:
    assert not is_heard(expired(policy).state, SiteMeasured(site="a"))


def test_a_site_that_was_never_silent_is_not_heard_again() -> None:
    relay = Relay()
    for report in [*said_by(relay, of_it=True), *NO_TURN]:
        assert not is_heard(relay.state, report), report


@pytest.mark.parametrize(
    ("said", "kept"),
    [("trained", "trained"), ("given_out", "other"), ("", "other"), ("\x1b[2J", "other")],
)
def test_what_a_turn_is_at_is_told_in_words_of_ours(said: str, kept: str) -> None:
    beat = TurnProgressed(id=Relay().state.expected, site="a", phase=said)
    assert kept == stage_said(beat)
