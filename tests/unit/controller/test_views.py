"""What an onlooker is told is what happened."""

from __future__ import annotations

import json

from support.runs import Relay
from tasuki.core.report import TurnProgressed, TurnTaken
from tasuki.core.run import TurnFailed, TurnFinished
from tasuki_controller.controller import Update
from tasuki_controller.views import dump_update, load_update


def test_a_state_and_what_led_to_it_arrive_as_they_were() -> None:
    relay = Relay()
    record = relay.finish_turn()
    relay.expire()
    for what in (
        TurnFinished(record=record),
        TurnFailed(id=record.id, site="a", error="TrainerRaised", detail="boom"),
        TurnProgressed(id=record.id, site="a", phase="training", values={"loss": 0.5}),
    ):
        update = Update(run=relay.state, what=what, outcome="duplicate")
        assert load_update(dump_update(update)) == update


def test_of_what_is_not_shown_only_the_state_is_told() -> None:
    relay = Relay()
    taken = TurnTaken(id=relay.state.expected, site="a", history=(b"\xff\x00",))
    line = dump_update(Update(run=relay.state, what=taken))
    assert "\n" not in line
    assert json.loads(line)["kind"] == "TurnTaken"
    assert load_update(line) == Update(run=relay.state, what=None)
