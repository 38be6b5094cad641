"""What a report means: from whom it may come, whether it is news, and what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.runs import Relay, moved, plan, weights
from tasuki.core import run
from tasuki.core.control import FenceRaised
from tasuki.core.model import EVALUATION, OnSilent
from tasuki.core.relay import TurnFinished, TurnReturned
from tasuki.core.report import (
    MOST_DETAIL,
    MOST_ERROR,
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
from tasuki.core.run.reports import ComesOn, Refused, Verdict, is_heard, judge, stage_said

LEASE_S = 60.0


def expired(policy: OnSilent) -> Relay:
    """A run whose holder's lease ran out."""
    relay = Relay(plan(on_silent=policy))
    relay.expire("trained")
    return relay


def said_by(relay: Relay, *, of_it: bool) -> list[Report]:
    """All that a site may say of the turn that is out, or of another."""
    id = (
        relay.state.lanes[0].relay.expected
        if of_it
        else moved(relay.state.lanes[0].relay.expected, round=7)
    )
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
    id = relay.state.lanes[0].relay.expected
    beat = TurnProgressed(id=id, site="a", phase="trained", still_s=still_s)
    assert heard == is_heard(relay.state, beat)


def test_a_site_whose_turn_was_taken_back_is_heard_by_any_word() -> None:
    relay = expired(OnSilent.RETRY)
    stands = TurnProgressed(
        id=relay.state.lanes[0].relay.expected, site="a", phase="trained", still_s=1e9
    )
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
    beat = TurnProgressed(id=Relay().state.lanes[0].relay.expected, site="a", phase=said)
    assert kept == stage_said(beat)


# Who may say what.

BY_HOP = {f"{hop}".encode(): hop for hop in range(3)}


def judged(relay: Relay, report: Report, *, sender: str | None = None) -> Verdict:
    """With records that are written as their hop."""
    return judge(
        {"r": relay.state},
        report,
        sender=report.site if sender is None else sender,
        read=lambda written: relay.record(ahead=BY_HOP[written] - relay.state.lanes[0].relay.hop),
    )


def test_nobody_speaks_for_another_site() -> None:
    relay = Relay()
    for report in [*said_by(relay, of_it=True), *NO_TURN]:
        for sender in ("b", ""):
            verdict = judged(relay, report, sender=sender)
            assert verdict.refused is not None
            assert "wrong_sender" == verdict.refused.reason
            assert verdict == Verdict(refused=verdict.refused)


def test_a_result_is_reported_by_the_site_that_has_it() -> None:
    relay = Relay()
    verdict = judged(relay, TurnDone(record=relay.record(), site="b"))
    assert verdict.refused is not None
    assert "wrong_site" == verdict.refused.reason
    assert () == verdict.events


def test_a_result_is_accepted_or_ignored_for_the_machines_reason() -> None:
    relay = Relay()
    record = relay.record()
    report = TurnDone(record=record, site="a")
    assert Verdict(events=(run.TurnFinished(record=record),)) == judged(relay, report)
    relay.finish_turn()
    assert "duplicate" == judged(relay, report).ignored


def test_a_turn_brings_the_results_before_it_and_is_judged_by_the_run_after_them() -> None:
    relay = Relay()
    first, id = relay.record(), moved(relay.state.lanes[0].relay.expected, hop=1)
    verdict = judged(relay, TurnTaken(id=id, site="b", history=(b"0",)))
    assert (run.TurnFinished(record=first),) == verdict.events
    assert ComesOn(id=id, phase="taken", still_s=0.0) == verdict.comes_on
    assert "" == verdict.ignored


@pytest.mark.parametrize("kind", ["taken", "round"])
def test_only_the_site_of_a_turn_brings_what_came_before_it(kind: str) -> None:
    relay = Relay()
    id = moved(relay.state.lanes[0].relay.expected, hop=1)
    report: Report = TurnTaken(id=id, site="c", history=(b"0",))
    if kind == "round":
        report = RoundDone(id=id, site="c", weights=weights("w"), history=(b"0",))
    verdict = judged(relay, report)
    assert verdict.refused is not None
    assert "wrong_site" == verdict.refused.reason


def test_nobody_brings_results_of_turns_behind_its_own() -> None:
    relay = Relay()
    verdict = judged(
        relay, TurnTaken(id=relay.state.lanes[0].relay.expected, site="a", history=(b"2",))
    )
    assert verdict.refused is not None
    assert "wrong_site" == verdict.refused.reason


def test_a_site_that_holds_on_to_what_is_void_is_told_so() -> None:
    relay = Relay()
    old = relay.state.lanes[0].relay.expected
    relay.expire()
    verdict = judged(relay, TurnProgressed(id=old, site="a", phase="training"))
    assert ("stale_term", FenceRaised(run="r", lane=0, term=old.term + 1)) == (
        verdict.ignored,
        verdict.void,
    )
    unknown = judge({}, TurnTaken(id=old, site="a"), sender="a", read=lambda _: relay.record())
    assert ("unknown_run", verdict.void) == (unknown.ignored, unknown.void)


def test_a_site_that_was_silent_is_heard_before_anything_else_that_it_says() -> None:
    relay = expired(OnSilent.RETRY)
    verdict = judged(
        relay, TurnProgressed(id=relay.state.lanes[0].relay.expected, site="a", phase="training")
    )
    assert (("r", run.SiteHeard(site="a")),) == verdict.presence
    assert verdict.comes_on is not None


def test_a_site_whose_history_cannot_be_read_is_heard_all_the_same() -> None:
    relay, unreadable = expired(OnSilent.RETRY), Refused(reason="malformed", detail="no record")
    taken = TurnTaken(
        id=moved(relay.state.lanes[0].relay.expected, hop=1), site="b", history=(b"?",)
    )
    verdict = judge({"r": relay.state}, taken, sender="b", read=lambda _: unreadable)
    assert unreadable == verdict.refused
    said = replace(taken, id=relay.state.lanes[0].relay.expected, site="a")
    verdict = judge({"r": relay.state}, said, sender="a", read=lambda _: unreadable)
    assert (unreadable, (("r", run.SiteHeard(site="a")),)) == (verdict.refused, verdict.presence)


def test_a_site_that_lost_its_journal_forgot_the_turn_of_every_run() -> None:
    relay, other = Relay(), Relay(replace(plan(), run="other"))
    runs = {"r": relay.state, "other": other.state}
    started = SiteStarted(site="a", fresh=True, version="1")
    verdict = judge(runs, started, sender="a", read=lambda _: relay.record())
    assert tuple((name, run.SiteForgot(site="a")) for name in runs) == verdict.presence


def test_a_site_that_is_waited_for_and_has_no_turn_forgot_it() -> None:
    relay = expired(OnSilent.WAIT)
    verdict = judged(relay, SiteBeat(site="a"))
    assert (run.SiteHeard(site="a"), run.SiteForgot(site="a")) == tuple(
        event for _, event in verdict.presence
    )


def test_a_refused_turn_is_on_record_and_given_up_only_if_it_never_can_be_taken() -> None:
    relay = Relay()
    id = relay.state.lanes[0].relay.expected
    once = judged(relay, TurnRefused(id=id, site="a", reason="fenced"))
    assert (TurnRefused(id=id, site="a", reason="fenced"), ()) == (once.note, once.events)
    never = judged(relay, TurnRefused(id=id, site="a", reason="stale_term"))
    assert ["RunExists"] == [e.error for e in never.events if isinstance(e, run.TurnFailed)]
    daily = judged(relay, TurnRefused(id=id, site="a", reason="duplicate"))
    assert (None, ()) == (daily.note, daily.events)


def test_what_a_site_says_of_a_failure_is_kept_short() -> None:
    relay = Relay()
    said = TurnAbandoned(
        id=relay.state.lanes[0].relay.expected, site="a", error="E" * 999, detail="d" * 9999
    )
    (failed,) = judged(relay, said).events
    assert isinstance(failed, run.TurnFailed)
    assert (MOST_ERROR, MOST_DETAIL) == (len(failed.error), len(failed.detail))


def test_a_turn_given_back_may_be_told_of_before_the_turn_that_it_came_from() -> None:
    """Bug: it was dropped then, and its run waited for a whole lease."""
    relay = Relay()
    id = replace(relay.state.lanes[0].relay.expected, hop=1)
    said = TurnAbandoned(id=id, site="b", error="GivenBack", returned=True, history=(b"0",))
    events = judged(relay, said).events
    assert (TurnFinished(record=relay.record()), TurnReturned(id=id, site="b")) == events
    relay.finish_turn()
    assert (TurnReturned(id=id, site="b"),) == judged(relay, said).events
    assert "wrong_site" == getattr(judged(relay, replace(said, site="c")).refused, "reason", "")


@pytest.mark.parametrize("run", ["r", "somewhere-else"])
def test_more_records_than_a_round_has_turns_are_not_looked_at(run: str) -> None:
    """Bug: each costs a signature to check: one report held up the controller for seconds."""
    relay = Relay()
    read: list[bytes] = []

    def note(written: bytes) -> Refused:
        read.append(written)
        return Refused(reason="wrong_site", detail="")

    id = replace(relay.state.lanes[0].relay.expected, run=run, hop=2**40, term=7)
    report = RoundDone(id=id, site="a", weights=weights("w"), history=(b"",) * 10_000)
    verdict = judge({relay.state.plan.run: relay.state}, report, sender="a", read=note)
    assert [] == read
    assert verdict.refused is not None or verdict.ignored == "unknown_run"


@pytest.mark.parametrize("lane", [1, EVALUATION])
def test_no_site_has_a_term_voided_that_its_run_may_yet_have(lane: int) -> None:
    """Bug: a member got a fence signed as high as it liked, for whoever can put it into queues."""
    relay = Relay()
    id = moved(relay.state.lanes[0].relay.expected, lane=lane, term=2**40)
    verdict = judged(relay, TurnProgressed(id=id, site="a", phase="training"))
    assert ("run_over", True) == (verdict.ignored, verdict.void is not None)
    assert verdict.void is not None
    assert relay.state.top + 1 == verdict.void.term
