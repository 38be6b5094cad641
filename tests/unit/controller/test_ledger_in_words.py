"""What an operator reads in a ledger is what its rows led to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.runs import FIRST, Relay, plan
from support.several import finish_lane, finish_round, finish_turn, merge, several
from tasuki.core import run
from tasuki.core.model import OnSilent, Origin, Plan
from tasuki.core.report import TurnRefused
from tasuki.ledger.sqlite import Row
from tasuki.wire.messages import encode
from tasuki_controller.ledger_in_words import ledger_rows

Rows = list[dict[str, Any]]  # Any: JSON


def recorded(of: Plan, relay: Relay) -> list[Row]:
    """The relay's history as rows."""
    return [
        Row(run="r", seq=seq, at=float(seq), event=encode(event), outcome="", hash="")
        for seq, event in enumerate([of, FIRST, *relay.history], start=1)
    ]


def in_words(relay: Relay) -> Rows:
    return told(recorded(relay.plan, relay))


def told(rows: list[Row]) -> Rows:
    return [row.model_dump(mode="json") for row in ledger_rows(rows)]


def test_a_row_says_what_its_event_led_to() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, min_sites=2, rounds=1))
    relay.finish_turn()
    relay.expire()
    relay.expire()
    found = [(row["event"], row["led_to"]) for row in in_words(relay)]
    assert found == [
        ("Plan", []),
        ("WeightsRef", []),
        ("RunSubmitted", ["issued to a, term 1, attempt 1"]),
        ("TurnFinished", []),
        ("LeaseExpired", ["b skipped: silent", "issued to c, term 2, attempt 1"]),
        ("LeaseExpired", ["paused: 1 of at least 2 sites are there"]),
    ]


def test_a_row_names_its_turn_and_whose_it_was() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP))
    relay.finish_turn()
    relay.expire()
    *_, finished, expired = in_words(relay)
    where = {"lane": 0, "term": 1, "round": 0}
    assert finished["turn"] == {**where, "hop": 0, "site": "a"}
    assert expired["turn"] == {**where, "hop": 1, "site": "b"}
    assert expired["what"] == "round 1, turn 2, term 1: b was silent for too long"
    assert expired["skipped"] == [
        {"round": 0, "hop": 1, "site": "b", "reason": "silent", "lane": 0}
    ]


def test_a_row_says_what_stood_still_when_a_lease_ran_out() -> None:
    """Where the run goes on with another attempt, nothing else says so."""
    relay = Relay(plan(on_silent=OnSilent.RETRY))
    relay.expire("trained")
    relay.expire("other")
    *_, hands_over, other = [row["what"] for row in in_words(relay)]
    assert hands_over.endswith("a hands over, and stood still for too long")
    assert other.endswith("its turn was there, and stood still for too long")


def test_another_attempt_and_the_end_are_told() -> None:
    relay = Relay(plan(on_silent=OnSilent.RETRY, max_attempts=2))
    relay.expire()
    relay.expire()
    *_, again, last = in_words(relay)
    assert again["led_to"] == ["issued to a, term 2, attempt 2"]
    assert last["led_to"] == ["failed: a was silent for 60 s (2 attempts)"]


def test_a_failure_that_repeats_itself_is_told_with_what_that_led_to() -> None:
    relay = Relay(plan(on_silent=OnSilent.SKIP, max_attempts=3))
    relay.fail()
    relay.fail()
    *_, again, last = in_words(relay)
    assert again["led_to"] == ["issued to a, term 2, attempt 2"]
    assert last["led_to"] == [
        "the same failure twice: not tried again",
        "a skipped: TrainerRaised",
        "issued to b, term 3, attempt 1",
    ]


def test_a_run_that_fails_by_it_says_so_once() -> None:
    relay = Relay(plan(max_attempts=3))
    relay.fail()
    relay.fail()
    assert in_words(relay)[-1]["led_to"] == [
        "failed: a: boom (the same failure twice: not tried again)"
    ]


def test_a_site_that_is_waited_for_is_told_once() -> None:
    relay = Relay(plan(on_silent=OnSilent.WAIT))
    relay.expire()
    relay(run.SiteHeard(site="a"))
    *_, waits, heard = in_words(relay)
    assert waits["led_to"] == ["waiting: a was silent for 60 s"]
    assert (heard["what"], heard["led_to"]) == ("a was heard of again", [])


def test_a_row_is_in_an_operator_s_words_and_counts_from_one() -> None:
    """Bug: there were a Plan, a WeightsRef and rounds from 0, in a table with rounds from 1."""
    relay = Relay(plan(rounds=2, max_attempts=1))
    relay.finish_round()
    relay.fail()
    found = [(row["what"], row["detail"]) for row in in_words(relay)]
    first, second = FIRST.digest[7:15], relay.history
    assert isinstance(second[1], run.TurnFinished)
    assert found[:3] == [
        ("the run as it was submitted", ""),
        (f"the first weights, {first}", ""),
        ("the run began", ""),
    ]
    assert found[3][0] == (
        f"round 1, turn 1, term 1: a trained {first} -> {second[1].record.sent.digest[7:15]}"
    )
    assert found[6][0].startswith("the round's weights are here, ")
    assert found[7] == ("round 2, turn 1, term 2: a failed with TrainerRaised", "boom")


def test_a_refused_result_has_its_reason_and_led_to_nothing() -> None:
    relay = Relay()
    refused = TurnRefused(id=relay.state.lanes[0].relay.expected, site="b", reason="stale_term")
    late = Row(
        run="r", seq=4, at=4.0, event=encode(refused), outcome="refused: stale_term", hash=""
    )
    row = told([*recorded(relay.plan, relay), late])[-1]
    assert (row["outcome"], row["turn"]["site"]) == ("refused: stale_term", "b")
    assert (row["led_to"], row["skipped"]) == ([], [])


def test_rows_behind_one_that_cannot_be_replayed_are_shown_all_the_same() -> None:
    relay = Relay()
    rows = recorded(relay.plan, relay)
    illegal = Row(run="r", seq=4, at=4.0, event=encode(run.RunSubmitted()), outcome="", hash="")
    assert [row["event"] for row in told([*rows, illegal])][-1] == "RunSubmitted"
    assert run.Status.RELAYING is relay.state.status


def test_more_rounds_and_a_removal_are_told() -> None:
    relay = Relay(plan(rounds=1))
    relay.finish_round()
    relay(run.RoundsAdded(rounds=2))
    relay.finish_round()
    relay(run.RunRemoved())
    told_of = {row["event"]: (row["what"], row["led_to"]) for row in in_words(relay)}
    assert told_of["RoundsAdded"] == (
        "an operator asked for 2 rounds in all",
        ["issued to a, term 2, attempt 1"],
    )
    assert told_of["RunRemoved"] == ("an operator removed it with its weights", [])


def test_the_first_row_names_the_run_that_this_one_began_from() -> None:
    origin = Origin(run="other", round=7, digest=FIRST.digest)
    first, *_ = in_words(Relay(replace(plan(), origin=origin)))
    short = FIRST.digest.partition(":")[2][:8]
    assert first["what"] == f"the run as it was submitted, from round 7 of other, {short}"


def test_several_lanes_are_told_by_their_numbers_until_they_are_one() -> None:
    relay = Relay(several(rounds=1))
    finish_lane(relay, 0)
    finish_turn(relay, 1)
    finish_turn(relay, 1)
    arrived = relay.state.lanes[1].relay.weights
    relay(run.WeightsArrived(weights=arrived, lane=1))
    merge(relay)
    began, first, *_, here, merged = in_words(relay)[2:]
    assert [
        "lane 1, issued to a, term 1, attempt 1",
        "lane 2, issued to b, term 1, attempt 1",
    ] == began["led_to"]
    assert [(0, "a"), (1, "b")] == [(turn["lane"], turn["site"]) for turn in began["issued"]]
    assert first["what"].startswith("lane 1, round 1, turn 1, term 1: a trained ")
    digests = [relay.state.lanes[0].relay.weights, arrived]
    assert here["what"].startswith("lane 2, the round's weights are here, ")
    (led_to,) = here["led_to"]
    assert led_to.startswith("to be made one of 2 lanes: 1 ")
    assert f"2 {digests[1].digest[7:15]} with 20 samples" in led_to
    assert f"all lanes were made one, {relay.state.weights.digest[7:15]}" == merged["what"]
    assert ["checkpoint of round 1", "finished: every round is done"] == merged["led_to"]


def test_between_merges_each_lane_is_said_to_go_on_from_its_own_weights() -> None:
    relay = Relay(several(every_n_rounds=2))
    finish_round(relay)
    *_, closed = in_words(relay)
    assert "each lane goes on from its own weights" in closed["led_to"]


def test_a_late_lane_is_one_clause_with_all_its_turns_even_those_passed_over_before() -> None:
    """Its skips take the place of those that it had: counting them from the end missed some."""
    relay = Relay(several(wait_s=5.0))
    relay(run.LeaseExpired(id=relay.state.lanes[1].relay.expected))
    finish_lane(relay, 0)
    relay(run.WaitOver(round=0))
    *_, over = in_words(relay)
    assert "the lanes that are done have waited for as long as they may" == over["what"]
    assert "lane 2 is late, without it b, d skipped" == over["led_to"][0]
    late = [skip["site"] for skip in over["skipped"] if skip["reason"] == "late"]
    assert ["b", "d"] == late


def test_weights_that_cannot_be_made_one_end_the_run_in_words() -> None:
    relay = Relay(several(rounds=1))
    finish_lane(relay, 0)
    finish_lane(relay, 1)
    relay(run.MergeFailed(done=1, cause="lane 2 has other tensors"))
    *_, failed = in_words(relay)
    assert "the lanes cannot be made one: lane 2 has other tensors" == failed["what"]
    assert ["failed: lane 2 has other tensors"] == failed["led_to"]


def test_where_one_lane_alone_was_trained_it_is_named() -> None:
    """Bug: nothing said from which lane all others went on."""
    relay = Relay(several(rounds=2, wait_s=5.0))
    finish_lane(relay, 1)
    relay(run.WaitOver(round=0))
    row = in_words(relay)[-1]
    digest = relay.state.weights.digest
    said = f"all go on from lane 2 {digest[7:15]} with 20 samples, no other was trained"
    assert f"checkpoint of round 1: {said}" in row["led_to"]
    assert {
        "round": 1,
        "digest": digest,
        "lanes": [{"lane": 2, "digest": digest, "samples": 20}],
    } == row["merged"]


def test_a_merge_names_its_lanes_for_machines_and_one_model_has_none() -> None:
    relay = Relay(several(rounds=1))
    finish_round(relay)
    merged = in_words(relay)[-1]["merged"]
    assert [(1, 20), (2, 20)] == [(each["lane"], each["samples"]) for each in merged["lanes"]]
    alone = Relay(plan(rounds=1))
    alone.finish_round()
    assert all(row["merged"] is None for row in in_words(alone))
    assert "checkpoint of round 1" in in_words(alone)[-1]["led_to"]
