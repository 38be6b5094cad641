"""What a report means where several models are on their way: of which lane it is, decides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.lanes import Lanes, lanes_plan
from support.runs import moved, weights
from tasuki.core import run
from tasuki.core.control import FenceRaised
from tasuki.core.model import OnSilent, TurnRecord
from tasuki.core.relay.lease import begun, expired
from tasuki.core.report import (
    Report,
    RoundDone,
    SiteBeat,
    SiteStarted,
    TurnAbandoned,
    TurnDone,
    TurnProgressed,
    TurnRefused,
    TurnTaken,
)
from tasuki.core.run import Status, is_overdue
from tasuki.core.run.pace import FACTOR, LEAST_S, UNKNOWN_S
from tasuki.core.run.reports import Verdict, judge
from tasuki.wire.messages import decode, encode

AT_BOTH = (("a", "b"), ("a", "c"))
"""A site that has a turn in either lane."""


def judged(lanes: Lanes, report: Report) -> Verdict:
    """With records as they are written."""
    return judge(
        {"r": lanes.state},
        report,
        sender=report.site,
        read=lambda written: decode(written, TurnRecord),
    )


def follows(lanes: Lanes, report: Report) -> Verdict:
    """What it means, and let that happen."""
    verdict = judged(lanes, report)
    for _, event in verdict.presence:
        lanes(event)
    for event in verdict.events:
        lanes(event)
    return verdict


def written(*records: TurnRecord) -> tuple[bytes, ...]:
    return tuple(map(encode, records))


def is_refused(verdict: Verdict, reason: str) -> None:
    assert verdict.refused is not None
    assert reason == verdict.refused.reason
    assert () == verdict.events


@pytest.mark.parametrize("lane", [0, 1])
def test_a_turns_history_is_taken_in_by_its_own_lane(lane: int) -> None:
    lanes = Lanes(lanes_plan())
    first, second = lanes.says(lane), lanes.says(lane, ahead=1)
    verdict = follows(lanes, TurnTaken(id=second.id, site=second.site, history=written(first)))
    assert (run.TurnFinished(record=first),) == verdict.events
    assert verdict.comes_on is not None
    assert [(first,) if each == lane else () for each in (0, 1)] == [
        each.records for each in lanes.state.lanes
    ]


def test_the_last_turn_of_a_lane_tells_of_that_lane_whatever_the_other_is_at() -> None:
    lanes = Lanes(lanes_plan())
    lanes.trains(0)
    records = [lanes.says(1), lanes.says(1, ahead=1)]
    done = RoundDone(id=records[1].id, site="d", weights=records[1].sent, history=written(*records))
    assert "" == follows(lanes, done).ignored
    assert tuple(records) == lanes.state.lanes[1].records
    assert {1: records[1].sent} == lanes.collecting
    assert ("duplicate", ()) == (judged(lanes, done).ignored, judged(lanes, done).events)


@pytest.mark.parametrize("kind", ["taken", "round"])
def test_no_turn_tells_of_another_lanes(kind: str) -> None:
    lanes = Lanes(lanes_plan())
    own, others = lanes.says(0, ahead=1), written(lanes.says(1))
    report: Report = TurnTaken(id=own.id, site=own.site, history=others)
    if kind == "round":
        report = RoundDone(id=own.id, site=own.site, weights=weights("w"), history=others)
    is_refused(judged(lanes, report), "wrong_site")


def test_no_site_takes_a_turn_that_is_another_sites_in_that_lane() -> None:
    lanes = Lanes(lanes_plan())
    for lane, site in ((0, "b"), (1, "a")):
        id = lanes.relay_of(lane).expected
        is_refused(judged(lanes, TurnTaken(id=id, site=site)), "wrong_site")
        progressed = TurnProgressed(id=id, site=site, phase="training")
        assert "wrong_site" == judged(lanes, progressed).ignored
        abandoned = TurnAbandoned(id=id, site=site, error="TrainerRaised")
        assert "not_awaited" == judged(lanes, abandoned).ignored
        record = replace(lanes.says(lane), site=site)
        assert "wrong_site" == judged(lanes, TurnDone(record=record, site=site)).ignored


def test_a_lane_that_there_is_not_is_awaited_of_nobody() -> None:
    lanes = Lanes(lanes_plan())
    record = lanes.says(0)
    record = replace(record, id=moved(record.id, lane=2))
    id = record.id
    for report in (
        TurnTaken(id=id, site="a", history=written(lanes.says(0))),
        RoundDone(id=id, site="a", weights=weights("w"), history=written(record)),
        TurnAbandoned(id=id, site="a", error="TrainerRaised"),
        TurnDone(record=record, site="a"),
    ):
        verdict = judged(lanes, report)
        assert verdict.ignored in {"not_awaited", "other_run"}
        for event in verdict.events:
            before = lanes.state
            lanes(event)
            assert before == lanes.state


def test_a_site_with_a_turn_of_a_lane_that_there_is_not_is_told_to_let_it_go() -> None:
    """It has it of an earlier run of that name."""
    lanes = Lanes(lanes_plan())
    id = moved(lanes.relay_of(0).expected, lane=2)
    verdict = judged(lanes, TurnProgressed(id=id, site="a", phase="training"))
    assert FenceRaised(run="r", lane=2, term=id.term + 1) == verdict.void


def test_a_site_that_still_trains_a_late_lane_is_told_so() -> None:
    lanes = Lanes(lanes_plan(wait_s=5.0, sites="ab", rounds=1))
    late = lanes.says(0)
    lanes.trains(1)
    lanes.is_late()
    progressed = TurnProgressed(id=late.id, site="a", phase="training")
    verdict = judged(lanes, progressed)
    assert ("stale_term", FenceRaised(run="r", lane=0, term=late.id.term + 1)) == (
        verdict.ignored,
        verdict.void,
    )
    last = RoundDone(id=late.id, site="a", weights=late.sent, history=written(late))
    assert "stale_term" == follows(lanes, last).ignored
    assert () == lanes.state.lanes[0].records


def test_a_sign_of_life_renews_the_lease_of_its_own_lane() -> None:
    lanes = Lanes(lanes_plan(order=AT_BOTH))
    for lane in (0, 1):
        id = lanes.relay_of(lane).expected
        verdict = judged(lanes, TurnProgressed(id=id, site="a", phase="waiting"))
        assert verdict.comes_on is not None
        assert id == verdict.comes_on.id
    lease = begun(lanes.leases[1], now=0.0)
    assert lanes.relay_of(1).expected == expired(lease, now=60.0).id
    lanes(expired(lease, now=60.0))
    assert "c" == lanes.relay_of(1).holder
    assert "a" == lanes.relay_of(0).holder


def test_a_turn_that_stands_still_is_not_moved_by_its_sites_turn_in_another_lane() -> None:
    """Bug: it would be said that the run goes on, and a lease later that it does not, for ever."""
    lanes = Lanes(lanes_plan(order=AT_BOTH, on_silent=OnSilent.WAIT))
    lanes.goes_silent(0, "trained")
    moves = TurnProgressed(id=lanes.relay_of(1).expected, site="a", phase="training")
    assert () == judged(lanes, moves).presence
    stuck = TurnProgressed(id=lanes.relay_of(0).expected, site="a", phase="trained")
    assert (("r", run.SiteHeard(site="a")),) == follows(lanes, stuck).presence
    assert (Status.RELAYING, "") == (lanes.state.status, lanes.state.reason)


def test_a_site_that_is_waited_for_in_one_lane_and_has_no_turn_forgot_those_of_all() -> None:
    lanes = Lanes(lanes_plan(order=AT_BOTH, on_silent=OnSilent.WAIT))
    before = [lanes.relay_of(lane).expected for lane in (0, 1)]
    lanes.goes_silent(0)
    follows(lanes, SiteBeat(site="a"))
    after = [lanes.relay_of(lane).expected for lane in (0, 1)]
    assert all(old.fence < new.fence for old, new in zip(before, after, strict=True))


def test_a_site_that_lost_its_journal_is_given_its_turns_of_all_lanes_anew() -> None:
    lanes = Lanes(lanes_plan(order=AT_BOTH))
    follows(lanes, SiteStarted(site="a", fresh=True, version="1"))
    issued = [each.id.lane for each in lanes.effects if isinstance(each, run.IssueTurn)]
    assert [0, 1] == issued


def test_a_turn_that_its_site_never_takes_fails_in_its_lane() -> None:
    lanes = Lanes(lanes_plan(max_attempts=1))
    id = lanes.relay_of(1).expected
    verdict = follows(lanes, TurnRefused(id=id, site="b", reason="stale_term"))
    assert verdict.note is not None
    assert ["a", "d"] == [lanes.relay_of(lane).holder for lane in (0, 1)]


def test_how_long_a_site_usually_takes_is_known_from_all_lanes() -> None:
    lanes = Lanes(lanes_plan(order=(("a", "b"), ("b", "a"))))
    assert is_overdue(lanes.state, "a", held_s=FACTOR * UNKNOWN_S + 1)
    lanes.trains(0)
    lanes.trains(1)
    assert {"a": (1.5,), "b": (1.5,)} == dict(lanes.state.took)
    assert ["b", "a"] == list(lanes.state.holders)
    for holder in lanes.state.holders:
        assert is_overdue(lanes.state, holder, held_s=LEAST_S + 1)
        assert not is_overdue(lanes.state, holder, held_s=LEAST_S)
