"""The controller's numbers follow its runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.measured import Measured
from support.numbers import shown
from support.runs import Relay, plan
from support.several import finish_lane, finish_turn, merge, record_of, several
from tasuki.core import run as machine
from tasuki.core.model import OnSilent
from tasuki.core.run import RunState, Status
from tasuki.observe.bounds import MOST_NAMES
from tasuki.observe.runs import KEPT_S


def test_where_a_run_is_can_be_seen() -> None:
    run = Measured(plan(rounds=2))
    run.finish_turn()
    numbers = run.numbers
    assert (numbers['tasuki_run_round{run="r"}'], numbers['tasuki_run_rounds{run="r"}']) == (1, 2)
    assert (
        numbers['tasuki_run_hop{lane="0",run="r"}'],
        numbers['tasuki_run_hops{lane="0",run="r"}'],
    ) == (1, 3)
    assert numbers['tasuki_runs{status="relaying"}'] == 1
    run.finish_round()
    assert run.numbers['tasuki_run_round{run="r"}'] == 2


def test_one_site_is_shown_as_the_holder_since_its_turn_began() -> None:
    run = Measured()
    run.now = 1010.0
    run.finish_turn()
    run.now = 1020.0
    run.metrics.runs.holder_heard(("r", 0), phase="training", still_s=0)
    numbers = run.numbers
    assert [name for name in numbers if name.startswith("tasuki_holder{")] == [
        'tasuki_holder{lane="0",run="r",site="b"}'
    ]
    assert numbers['tasuki_holder_since_timestamp_seconds{lane="0",run="r"}'] == 1010
    assert numbers['tasuki_holder_heard_timestamp_seconds{lane="0",run="r"}'] == 1020
    assert numbers['tasuki_lease_seconds{lane="0",run="r"}'] == 60


def test_a_lease_is_shown_running_down_to_nothing() -> None:
    run = Measured()
    left: float | None = 12.5
    run.metrics.runs.lease_left = lambda *_: left
    assert run.numbers['tasuki_lease_left_seconds{lane="0",run="r"}'] == 12.5
    left = None
    assert run.numbers['tasuki_lease_left_seconds{lane="0",run="r"}'] == 0


def moved(run: Measured) -> dict[str, float]:
    """When the holder's turn last came on, by what it is at."""
    name = "tasuki_holder_moved_timestamp_seconds"
    return {
        found.partition('phase="')[2].partition('"')[0]: at
        for found, at in run.numbers.items()
        if found.startswith(name)
    }


def test_a_turn_that_stands_still_is_shown_to_have_come_on_before_that() -> None:
    run = Measured()
    assert moved(run) == {"unknown": 1000}
    run.now = 1050.0
    run.metrics.runs.holder_heard(("r", 0), phase="training", still_s=0)
    assert moved(run) == {"training": 1050}
    run.now = 1080.0
    run.metrics.runs.holder_heard(("r", 0), phase="trained", still_s=23)
    assert moved(run) == {"trained": 1057}
    assert run.numbers['tasuki_holder_heard_timestamp_seconds{lane="0",run="r"}'] == 1080


@pytest.mark.parametrize("still_s", [float("nan"), float("inf"), -5.0])
def test_a_site_cannot_say_that_its_turn_came_on_at_no_time(still_s: float) -> None:
    run = Measured()
    run.metrics.runs.holder_heard(("r", 0), phase="trained", still_s=still_s)
    assert 0 <= moved(run)["trained"] <= run.now


def test_a_holder_is_not_silent_while_its_turn_is_on_its_way_to_it() -> None:
    """Whether that comes on is shown by what is sent."""
    run = Measured()
    run.metrics.runs.is_on_its_way = lambda *_: True
    heard = 'tasuki_holder_heard_timestamp_seconds{lane="0",run="r"}'
    run.now, run.counters.published_bytes = 1030.0, 4 << 20
    assert (run.numbers[heard], moved(run)) == (1030, {"given_out": 1030})
    run.now = 1060.0
    assert (run.numbers[heard], moved(run)) == (1060, {"given_out": 1030})
    run.metrics.runs.is_on_its_way = lambda *_: False
    run.now, run.counters.published_bytes = 1090.0, 8 << 20
    assert (run.numbers[heard], moved(run)) == (1060, {"given_out": 1030}), "something else"


def test_a_site_that_a_run_waits_for_is_silent_from_then_on_if_it_was_never_heard_of() -> None:
    run = Measured()
    run.now += 70
    run.metrics.heard("b")
    heard = 'tasuki_site_heard_timestamp_seconds{site="%s"}'
    assert [run.numbers[heard % site] for site in "abc"] == [1000, 1070, 1000]
    restarted = Measured().metrics
    restarted.runs.found(run.state)
    assert {heard % site for site in "abc"} <= shown(restarted).keys()


def test_the_status_of_a_run_is_shown_by_name_until_it_is_forgotten() -> None:
    run = Measured(plan(rounds=1))
    assert statuses(run) == ['tasuki_run_status{run="r",status="relaying"}']
    run(machine.StopRequested(reason="enough"))
    assert statuses(run) == ['tasuki_run_status{run="r",status="stopped"}']
    run.now += KEPT_S + 1
    assert statuses(run) == []


def statuses(run: Measured) -> list[str]:
    return [name for name in run.numbers if name.startswith("tasuki_run_status")]


def test_accepted_turns_are_counted_with_what_they_report() -> None:
    run = Measured()
    run.finish_turn()
    record = replace(run.record(), metrics={"loss": 0.25, "received_loss": 0.75})
    run(machine.TurnFinished(record=record))
    numbers = run.numbers
    assert numbers['tasuki_turns_total{outcome="accepted",run="r",site="a"}'] == 1
    assert numbers['tasuki_turns_total{outcome="accepted",run="r",site="b"}'] == 1
    name = 'tasuki_training_metric{name="loss",run="r",site="b",when="%s"}'
    assert (numbers[name % "trained"], numbers[name % "received"]) == (0.25, 0.75)


def test_a_turn_that_trained_nothing_is_accepted_and_counted_apart() -> None:
    run = Measured()
    record = run.record()
    same = replace(record, sent=replace(record.sent, digest=record.received))
    run(machine.TurnFinished(record=same))
    assert run.numbers['tasuki_turns_total{outcome="accepted",run="r",site="a"}'] == 1
    assert run.numbers['tasuki_turns_unchanged_total{run="r",site="a"}'] == 1


def test_a_result_that_came_early_is_counted_once_it_is_accepted() -> None:
    run = Measured()
    first, second = run.record(), run.record(ahead=1)
    run(machine.TurnFinished(record=second))
    assert not [name for name in run.numbers if 'outcome="accepted"' in name]
    run(machine.TurnFinished(record=first))
    accepted = [name for name in run.numbers if 'outcome="accepted"' in name]
    assert len(accepted) == 2


def test_a_result_that_is_refused_is_counted_with_the_reason() -> None:
    run = Measured()
    run(machine.TurnFinished(record=run.record(received="blake3:" + "0" * 64)))
    stranger = replace(run.record(), site="x" * 50)
    run(machine.TurnFinished(record=stranger))
    numbers = run.numbers
    assert numbers['tasuki_turns_total{outcome="broken_chain",run="r",site="a"}'] == 1
    assert numbers['tasuki_turns_total{outcome="wrong_site",run="r",site="other"}'] == 1


def test_a_turn_that_is_given_out_again_is_counted() -> None:
    run = Measured()
    run.fail()
    run.expire()
    run(machine.TurnReturned(id=run.state.lanes[0].relay.expected, site="a"))
    numbers = run.numbers
    assert numbers['tasuki_turns_retried_total{run="r",site="a"}'] == 3
    for outcome in ("failed", "expired", "returned"):
        assert numbers[f'tasuki_turns_total{{outcome="{outcome}",run="r",site="a"}}'] == 1


def test_a_turn_that_is_passed_over_is_counted_with_the_reason() -> None:
    run = Measured(plan(on_silent=OnSilent.SKIP, min_sites=1))
    run.expire()
    numbers = run.numbers
    assert numbers['tasuki_turns_skipped_total{reason="silent",run="r",site="a"}'] == 1
    assert numbers['tasuki_turns_total{outcome="skipped",run="r",site="a"}'] == 1
    assert not [name for name in numbers if name.startswith("tasuki_turns_retried")]


@pytest.mark.parametrize(
    ("error", "reason"), [("TrainerRaised", "TrainerRaised"), ("x" * 999, "other")]
)
def test_a_skip_is_shown_with_an_error_only_if_it_is_one(error: str, reason: str) -> None:
    run = Measured(plan(on_silent=OnSilent.SKIP, min_sites=1, max_attempts=1))
    run(machine.TurnFailed(id=run.state.lanes[0].relay.expected, site="a", error=error))
    name = f'tasuki_turns_skipped_total{{reason="{reason}",run="r",site="a"}}'
    assert run.numbers[name] == 1


def test_a_result_that_does_not_pass_the_gate_is_counted() -> None:
    run = Measured()
    run(
        machine.TurnFailed(id=run.state.lanes[0].relay.expected, site="a", error="NonFiniteWeights")
    )
    run.fail()
    assert run.numbers['tasuki_gate_rejections_total{run="r",site="a"}'] == 1


def test_a_pause_is_shown_and_nobody_holds_then() -> None:
    run = Measured()
    run(machine.PauseRequested())
    run.finish_round()
    assert run.state.status is Status.PAUSED
    assert run.numbers['tasuki_run_paused{run="r"}'] == 1
    assert not [name for name in run.numbers if name.startswith(("tasuki_holder", "tasuki_lease"))]


def ended() -> Measured:
    run = Measured(plan(rounds=1))
    run.finish_round()
    assert run.state.status is Status.FINISHED
    return run


def test_a_run_that_is_over_is_shown_for_a_while_and_then_forgotten() -> None:
    run = ended()
    run.now += KEPT_S
    assert run.numbers['tasuki_turns_total{outcome="accepted",run="r",site="c"}'] == 1
    run.now += 1
    assert run.of_run() == []
    assert run.numbers['tasuki_runs{status="finished"}'] == 1
    assert run.numbers['tasuki_runs_ended_total{status="finished"}'] == 1


def test_a_late_report_does_not_bring_a_forgotten_run_back() -> None:
    run = ended()
    late = run.state.records[0]
    run.now += KEPT_S + 1
    assert run.of_run() == []
    run(machine.TurnFinished(record=late))
    assert run.of_run() == []


def test_a_run_from_the_ledger_is_shown_unless_it_is_over() -> None:
    going, over = Relay().state, ended().state
    fresh = Measured().metrics

    def page(state: RunState) -> dict[str, float]:
        fresh.runs.found(state)
        return shown(fresh)

    renamed = replace(over, plan=replace(over.plan, run="old"))
    assert not [name for name in page(renamed) if 'run="old"' in name]
    other = replace(going, plan=replace(going.plan, run="new"))
    assert page(other)['tasuki_holder{lane="0",run="new",site="a"}'] == 1


def test_a_trainer_cannot_fill_the_page_with_names() -> None:
    run = Measured()
    names = {f"metric-{number}": 1.0 for number in range(1000)} | {"y" * 10**5: 1.0}
    run(machine.TurnFinished(record=replace(run.record(), metrics=names)))
    lines = [name for name in run.numbers if name.startswith("tasuki_training_metric")]
    assert len(lines) == MOST_NAMES
    assert max(map(len, lines)) < 200


def test_a_run_that_goes_on_long_after_its_end_is_shown_again() -> None:
    run = Measured(plan(rounds=1))
    run.finish_round()
    run.now += KEPT_S + 1
    assert [] == run.of_run()
    run(machine.RoundsAdded(rounds=2))
    assert (2, 1) == (
        run.numbers['tasuki_run_rounds{run="r"}'],
        run.numbers['tasuki_holder{lane="0",run="r",site="a"}'],
    )
    run.now += KEPT_S + 1
    assert 'tasuki_run_round{run="r"}' in run.numbers
    run.finish_round()
    assert 2 == run.numbers['tasuki_runs_ended_total{status="finished"}']


def test_a_removed_run_is_not_counted_any_more() -> None:
    run = Measured(plan(rounds=1))
    run.finish_round()
    run(machine.RunRemoved())
    assert ([], 0) == (run.of_run(), run.numbers['tasuki_runs{status="finished"}'])
    run.metrics.runs.found(run.state)
    assert 0 == run.numbers['tasuki_runs{status="finished"}']


# Runs with several lanes.


def test_each_lane_has_its_holder_its_lease_and_its_place() -> None:
    run = Measured(several())
    run.metrics.runs.lease_left = lambda _, lane: 10.0 + lane
    run.now = 1010.0
    finish_turn(run, 1)
    run.now = 1020.0
    run.metrics.runs.holder_heard(("r", 0), phase="training", still_s=5)
    numbers = run.numbers
    assert {
        'tasuki_holder{lane="0",run="r",site="a"}',
        'tasuki_holder{lane="1",run="r",site="d"}',
    } == {name for name in numbers if name.startswith("tasuki_holder{")}
    for name, values in {
        "tasuki_holder_since_timestamp_seconds": (1000, 1010),
        "tasuki_holder_heard_timestamp_seconds": (1020, 1010),
        "tasuki_lease_left_seconds": (10, 11),
        "tasuki_run_hop": (0, 1),
        "tasuki_run_hops": (2, 2),
    }.items():
        found = tuple(numbers[f'{name}{{lane="{lane}",run="r"}}'] for lane in (0, 1))
        assert values == found, name
    moved_at = 'tasuki_holder_moved_timestamp_seconds{lane="%s",phase="%s",run="r"}'
    assert (1015, 1010) == (numbers[moved_at % (0, "training")], numbers[moved_at % (1, "unknown")])


def test_a_turn_of_any_lane_is_counted_when_it_is_accepted() -> None:
    """The records of a round are in the order of its lanes: the newest need not be the last."""
    run = Measured(several())
    finish_turn(run, 1)
    finish_turn(run, 0)
    accepted = 'tasuki_turns_total{outcome="accepted",run="r",site="%s"}'
    assert [1, 1] == [run.numbers[accepted % site] for site in "ab"]
    assert not {accepted % site for site in "cd"} & run.numbers.keys()


def test_what_happens_to_a_turn_of_another_lane_is_counted_for_its_site() -> None:
    run = Measured(several(on_silent=OnSilent.RETRY))
    run(machine.LeaseExpired(id=run.state.lanes[1].relay.expected))
    numbers = run.numbers
    assert 1 == numbers['tasuki_turns_total{outcome="expired",run="r",site="b"}']
    assert 1 == numbers['tasuki_turns_retried_total{run="r",site="b"}']
    assert not [name for name in numbers if name.startswith("tasuki_turns") and 'site="a"' in name]


def test_a_merge_is_counted_with_how_long_it_took() -> None:
    run = Measured(several())
    finish_lane(run, 0)
    finish_lane(run, 1)
    assert 1 == run.numbers['tasuki_run_status{run="r",status="merging"}']
    assert 'tasuki_merge_seconds{run="r"}' not in run.numbers
    run.now += 2.5
    merge(run)
    assert (1, 2.5) == (
        run.numbers['tasuki_merges_total{run="r"}'],
        run.numbers['tasuki_merge_seconds{run="r"}'],
    )


def test_the_turns_of_a_late_lane_are_counted_as_skipped_and_nobody_holds_it() -> None:
    run = Measured(several(wait_s=5.0))
    early = record_of(run, 1)
    run(machine.TurnFinished(record=early))
    finish_lane(run, 0)
    run(machine.WaitOver(round=0))
    skipped = 'tasuki_turns_skipped_total{reason="late",run="r",site="%s"}'
    assert [1, 1] == [run.numbers[skipped % site] for site in "bd"]
    run(machine.TurnFinished(record=early))
    assert 1 == run.numbers['tasuki_turns_total{outcome="stale_term",run="r",site="b"}']
