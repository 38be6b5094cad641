"""What happens to a run, for whoever looks on, now or later."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from support.runs import Relay
from support.several import finish_lane, finish_turn, several
from tasuki.core.model import Kind
from tasuki.core.report import TurnProgressed
from tasuki.core.run import TurnFailed, TurnFinished, WaitOver
from tasuki_controller.news import Update
from tasuki_python import happening
from tasuki_python.happening import Feed, Happening, Printed, happenings


def test_everybody_reads_from_the_beginning_to_the_end() -> None:
    feed, read = Feed(), list[object]()
    reader = threading.Thread(target=lambda: read.extend(feed.items()))
    feed.put(Printed("a", "one"))
    reader.start()
    feed.put(Printed("a", "two"))
    feed.end()
    reader.join(20)
    assert [Printed("a", "one"), Printed("a", "two")] == read == list(feed.items())


def test_whoever_draws_is_woken_though_nothing_happens() -> None:
    feed = Feed()
    items = feed.items(beat_s=0.001)
    assert next(items) is None
    feed.end()
    assert [] == [each for each in items if each is not None]


def test_only_the_newest_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(happening, "MOST_KEPT", 3)
    feed = Feed()
    for number in range(5):
        feed.put(Printed("a", str(number)))
    feed.end()
    lines = [each.line for each in feed.items() if isinstance(each, Printed)]
    assert ["2", "3", "4"] == lines


def test_events_are_told_with_rounds_and_turns_from_1() -> None:
    relay = Relay()
    record = relay.record()
    began = Update(run=relay.state, what=None)
    progress = TurnProgressed(id=record.id, site="a", values={"loss": 0.5}, phase="training")
    late = Update(run=relay.state, what=progress, outcome="stale")
    coming = Update(run=relay.state, what=progress)
    failed = TurnFailed(id=record.id, site="a", error="TrainerRaised", detail="boom")
    broke = Update(run=relay.state, what=failed)
    relay.finish_turn()
    done = Update(run=relay.state, what=TurnFinished(record=record))
    scored = replace(record, kind=Kind.EVALUATE, metrics={"dice": 0.25})
    judged = Update(run=relay.state, what=TurnFinished(record=scored))
    items = iter([began, Printed("a", "hello"), late, coming, None, broke, done, judged])
    assert [
        Happening(what="status", text="relaying"),
        Happening(what="printed", site="a", text="hello"),
        Happening(what="progress", site="a", round=1, turn=1, values={"loss": 0.5}),
        Happening(what="failed", site="a", round=1, turn=1, text="TrainerRaised: boom"),
        Happening(what="turn", site="a", round=1, turn=1, values={"accuracy": 0.5}),
        Happening(what="scores", site="a", values={"dice": 0.25}),
    ] == list(happenings(items))


def test_what_happens_in_one_of_several_lanes_is_told_with_it() -> None:
    relay = Relay(several(wait_s=5.0))
    began = Update(run=relay.state, what=None)
    record = finish_turn(relay, 1)
    done = Update(run=relay.state, what=TurnFinished(record=record))
    finish_lane(relay, 0)
    closed = Update(run=relay.state, what=None)
    relay(WaitOver(round=0))
    over = Update(run=relay.state, what=None)
    told = list(happenings(iter([began, done, closed, over])))
    assert [("turn", "b", 1, 1, 2)] == [
        (each.what, each.site, each.round, each.turn, each.lane)
        for each in told
        if each.what == "turn"
    ]
    assert [("b", 1, 2, "late"), ("d", 2, 2, "late")] == [
        (each.site, each.turn, each.lane, each.text) for each in told if each.what == "skipped"
    ]
