"""What is shown of a run in which several models circulate at once."""

from __future__ import annotations

import io

from rich.console import Console

from support.displayed import Displayed
from support.runs import weights
from support.several import record_of, several
from tasuki.core import run
from tasuki.core.model import Cover, Plan
from tasuki.core.report import TurnProgressed
from tasuki_cli.display.show import RunDisplay
from tasuki_cli.display.view import DONE, HOLDS, PASSED, WAITS
from tasuki_controller.news import HeldUp, TurnOut, Update

EIGHT = tuple(f"site-{number}" for number in range(1, 9))


class Watched(Displayed):
    """A run with lanes, as a display sees it."""

    def finish_turn(self, lane: int, **metrics: float) -> None:
        self.happens(run.TurnFinished(record=record_of(self.relay, lane, metrics)))

    def finish_lane(self, lane: int) -> None:
        while self.relay.state.lanes[lane].relay.holder is not None:
            self.finish_turn(lane, accuracy=0.5)
        arrived = self.relay.state.lanes[lane].relay.weights
        self.happens(run.WeightsArrived(weights=arrived, lane=lane))

    def logs(self, lane: int, **values: float) -> None:
        relay = self.relay.state.lanes[lane].relay
        site = relay.holder or ""
        self.see(TurnProgressed(id=relay.expected, site=site, phase="training", values=values))

    @property
    def said(self) -> list[str]:
        return [f"{line.who} {line.text}" for line in self.lines]


def eight() -> Plan:
    return several(4, sites=EIGHT)


def late() -> Watched:
    """Lane 2 has one turn of two when the wait for it is over."""
    watched = Watched(several(wait_s=5.0))
    watched.finish_turn(1)
    watched.finish_lane(0)
    watched.happens(run.WaitOver(round=0))
    return watched


def test_each_lane_has_a_line_with_who_holds_it_and_how_far_it_is() -> None:
    watched = Watched(eight())
    watched.logs(0, step=22.0, steps=50.0, loss=0.25)
    watched.finish_turn(1, accuracy=0.5)
    watched.finish_lane(2)
    drawn = watched.drawn()
    assert [
        "lane 1  1/2  site-1 trains  ━━━━━━━━────────────  step 22 of 50  loss 0.25",
        "lane 2  2/2  site-6 has the turn",
        "lane 3  2/2  done",
        "lane 4  1/2  site-4 has the turn",
    ] == [line for line in drawn if line.startswith("lane")]
    assert max(map(len, drawn)) <= 80
    assert {"site-1", "site-4", "site-6"} == {row.site for row in watched.view().rows if row.holds}


def test_what_a_trainer_logs_is_cut_at_the_edge_of_a_narrow_terminal() -> None:
    watched = Watched(eight())
    for lane in range(4):
        watched.logs(lane, step=22.0, steps=50.0, **{f"a-long-name-{n}": 0.5 for n in range(5)})
    drawn = watched.drawn()
    assert (4, 80) == (
        len([line for line in drawn if line.startswith("lane")]),
        max(map(len, drawn)),
    )


def test_a_site_is_marked_by_its_turns_in_all_lanes() -> None:
    watched = Watched(several(2, cover=Cover.ALL))
    watched.finish_turn(0)
    marks = {row.site: row.mark for row in watched.view().rows}
    # It had its turn of one lane, and waits for that of the other.
    assert {"a": WAITS, "b": HOLDS, "c": HOLDS, "d": WAITS} == marks
    watched.finish_lane(0)
    watched.finish_lane(1)
    assert {DONE} == {row.mark for row in watched.view().rows}


def test_that_all_lanes_are_made_one_is_shown_while_it_is_so_and_said_once() -> None:
    watched = Watched(several())
    watched.finish_lane(0)
    watched.finish_lane(1)
    assert ("merging", "all lanes are made one") == (watched.view().status, watched.view().doing)
    watched.happens(run.WeightsMerged(done=1, weights=weights("merged")))
    assert ("relaying", "") == (watched.view().status, watched.view().doing)
    assert 1 == watched.said.count("r all lanes are made one after round 1")


def test_a_late_lane_is_said_once_with_all_its_turns() -> None:
    watched = late()
    told = [line for line in watched.said if "late" in line]
    assert ["r lane 2 is late: the round goes on without it, and without the turns of b, d"] == told
    assert ["lane 2 is late: the round goes on without it (round 1)"] == list(
        watched.view().notices
    )


def test_the_turns_of_a_late_lane_are_marked_while_its_round_is_under_way() -> None:
    watched = Watched(several(3, sites=(*"abcdef",), wait_s=5.0))
    watched.finish_lane(0)
    watched.finish_turn(1)
    watched.finish_turn(1)  # its weights are still on their way
    watched.happens(run.WaitOver(round=0))
    marks = {row.site: row.mark for row in watched.view().rows}
    assert {"a": DONE, "d": DONE, "b": DONE, "e": DONE, "c": PASSED, "f": PASSED} == marks
    assert "lane 3  0/2  late: the round goes on without it" in watched.drawn()
    assert 0.999 < watched.view().done <= 1


def test_a_turn_is_said_with_its_lane() -> None:
    watched = Watched(several())
    watched.finish_turn(1, accuracy=0.5)
    assert ["b lane 2, round 1 of 2 done in 1.5 s: accuracy 0.5"] == watched.said


def test_trouble_in_one_lane_is_told_of_that_lane_and_ends_with_it() -> None:
    watched = Watched(several())
    watched.logs(0)
    watched.logs(1)
    watched.at = 31.0
    watched.logs(0)
    assert "r lane 2: b was last heard of 31 s ago" in watched.said
    watched.at = 40.0
    notices = watched.view().notices
    assert ["lane 2: b was last heard of 40 s ago (round 1)"] == [n.strip() for n in notices]
    watched.logs(1)
    assert "r goes on" in watched.said


def test_two_lanes_in_trouble_are_both_told_of() -> None:
    watched = Watched(several())
    watched.at = 31.0
    watched.see(None)
    told = [line for line in watched.said if "last heard" in line]
    assert [] == told, "nobody has said anything yet"
    watched.logs(0)
    watched.logs(1)
    watched.at = 62.0
    watched.see(None)
    assert [
        "r lane 1: a was last heard of 31 s ago",
        "r lane 2: b was last heard of 31 s ago",
    ] == [line for line in watched.said if "last heard" in line]


def test_what_holds_everybody_up_is_told_once() -> None:
    watched = Watched(several())
    watched.see(HeldUp(reason="the broker is full"))
    watched.see(None)
    assert ["r the broker is full"] == watched.said


def test_who_looks_on_from_now_on_is_told_since_when_each_turn_is_out() -> None:
    watched = Watched(several())
    watched.see(TurnOut(held_s=700.0, lane=1))
    assert (0.0, 700.0) == (
        watched.board.turns[0].now(watched.at).held_s,
        watched.board.turns[1].now(watched.at).held_s,
    )


def test_how_much_is_done_goes_by_the_turns_of_all_lanes() -> None:
    watched = Watched(several())
    watched.finish_turn(0)
    assert 0.25 == watched.view().done
    watched.finish_turn(1)
    watched.finish_turn(1)
    assert 0.75 == watched.view().done


def test_without_a_terminal_there_is_a_line_for_each_thing_that_happens() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    display, watched = RunDisplay(console), Watched(several(rounds=1))
    with display:
        display.watch(Update(run=watched.relay.state, what=None))
        for lane in (0, 1):
            while watched.relay.state.lanes[lane].relay.holder is not None:
                event = run.TurnFinished(record=record_of(watched.relay, lane))
                watched.relay(event)
                display.watch(Update(run=watched.relay.state, what=event))
            arrived = watched.relay.state.lanes[lane].relay.weights
            watched.relay(run.WeightsArrived(weights=arrived, lane=lane))
            display.watch(Update(run=watched.relay.state, what=None))
    file = console.file
    assert isinstance(file, io.StringIO)
    assert [
        "a lane 1, round 1 of 1 done in 1.5 s: accuracy 0.5",
        "c lane 1, round 1 of 1 done in 1.5 s: accuracy 0.5",
        "b lane 2, round 1 of 1 done in 1.5 s: accuracy 0.5",
        "d lane 2, round 1 of 1 done in 1.5 s: accuracy 0.5",
        "r all lanes are made one after round 1",
    ] == file.getvalue().splitlines()
