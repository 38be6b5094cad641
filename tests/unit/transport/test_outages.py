"""What the log says of a broker that is away: once, then once a minute, then for how long."""

from __future__ import annotations

from tasuki.transport.amqp import LinkState, StateChange
from tasuki.transport.outages import Line, Outages


def change(
    state: LinkState, link: str = "publish", *, what: str = "", reason: str = ""
) -> StateChange:
    return StateChange(link=link, state=state, node="a:5672", what=what, reason=reason)


def told(*changes: tuple[float, StateChange]) -> list[Line]:
    outages = Outages()
    return [line for now, each in changes for line in outages.note(each, now=now)]


UP, DOWN, SILENT = LinkState.UP, LinkState.DOWN, LinkState.SILENT


def test_each_connection_says_that_it_is_there() -> None:
    lines = told((0.0, change(UP)), (0.1, change(UP, "consume")))

    assert ["connected to the broker"] * 2 == [line.event for line in lines]
    assert {"link": "publish", "node": "a:5672"} == lines[0].facts


def test_two_minutes_without_a_broker_are_four_lines() -> None:
    lost = [(0.0, change(DOWN, reason="reset")), (0.0, change(DOWN, "consume", reason="reset"))]
    tries = [
        (float(s), change(DOWN, link)) for s in range(3, 120, 3) for link in ("publish", "consume")
    ]
    back = [(120.0, change(UP)), (121.5, change(UP, "consume"))]
    lines = told(*lost, *tries, *back)

    assert ["the broker is away", "the broker is away, still", "the broker is back"] == [
        line.event for line in lines
    ]
    first, still, last = lines
    assert "reset" == first.facts["reason"]
    assert 60.0 == still.facts["away_s"]
    assert (121.5, 80) == (last.facts["away_s"], last.facts["tries"])
    assert [True, True, False] == [line.is_warning for line in lines]


def test_an_answer_that_never_came_is_told_once_with_what_was_awaited() -> None:
    reason = "no answer: waited for the confirm of publishing to tasuki.weights for 15 s"
    lines = told(
        (0.0, change(SILENT, reason=reason)), (0.0, change(DOWN, reason=reason)), (1.0, change(UP))
    )

    assert ["the broker is away", "the broker is back"] == [line.event for line in lines]
    assert reason == lines[0].facts["reason"]
    assert 1 == lines[1].facts["tries"]


def test_each_queue_that_is_waited_for_is_an_outage_of_its_own() -> None:
    waits = [
        (s / 10, change(LinkState.WAITING, "consume", what=what, reason="404"))
        for s in range(700)
        for what in ("reading a", "reading b")
    ]
    served = (70.5, change(LinkState.SERVED, "consume", what="reading a"))
    lines = told(*waits, served)

    assert 5 == len(lines)
    assert {"reading a", "reading b"} == {line.facts["what"] for line in lines}
    assert (70.5, 700) == (lines[-1].facts["away_s"], lines[-1].facts["tries"])


def test_a_broker_that_takes_nothing_says_why_and_for_how_long() -> None:
    lines = told(
        (0.0, change(LinkState.BLOCKED, reason="low on memory")),
        (25.0, change(LinkState.UNBLOCKED)),
    )

    assert ["the broker takes nothing", "the broker takes messages again"] == [
        line.event for line in lines
    ]
    assert "low on memory" == lines[0].facts["reason"]
    assert 25.0 == lines[1].facts["blocked_s"]
