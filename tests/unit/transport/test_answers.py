"""How long the broker may owe an answer, and what counts as coming on."""

from __future__ import annotations

import pytest

from tasuki.transport.amqp.answers import MOST_AHEAD, Answers, Flow

STILL = Flow(given=100, left=100, arrived=1000)
KEY = object()


def asked(*, flow: Flow = STILL, limit_s: float = 10.0, times: float = 1) -> Answers:
    answers = Answers(limit_s=limit_s)
    answers.expect(KEY, "the confirm", now=0.0, flow=flow, times=times)
    return answers


def test_an_answer_is_overdue_when_its_limit_is_reached() -> None:
    answers = asked()

    assert answers.overdue(now=9.9, flow=STILL) is None
    assert "the confirm for 10 s" == answers.overdue(now=10.0, flow=STILL)


def test_an_answer_that_came_is_not_due() -> None:
    answers = asked()
    answers.came(KEY)
    answers.came(KEY)

    assert not answers.are_due
    assert answers.overdue(now=99.0, flow=STILL) is None


def test_what_waits_longest_is_told() -> None:
    answers = asked()
    answers.expect("other", "a channel", now=5.0, flow=STILL)

    assert "the confirm for 20 s" == answers.overdue(now=20.0, flow=STILL)


def test_a_new_question_takes_the_place_of_the_old_one() -> None:
    answers = asked()
    answers.expect(KEY, "the next", now=8.0, flow=STILL)

    assert answers.overdue(now=17.9, flow=STILL) is None
    assert "the next for 10 s" == answers.overdue(now=18.0, flow=STILL)


def test_some_answers_may_take_several_limits() -> None:
    answers = asked(times=4)

    assert answers.overdue(now=39.0, flow=STILL) is None
    assert answers.overdue(now=40.0, flow=STILL) is not None


def test_a_question_that_is_still_leaving_has_not_been_asked() -> None:
    slow = Flow(given=1000, left=0)
    answers = asked(flow=slow)
    for second in range(1, 40):
        leaving = Flow(given=1000, left=second * 10)
        assert answers.overdue(now=float(second), flow=leaving) is None
    stuck = Flow(given=1000, left=390)

    assert answers.overdue(now=48.9, flow=stuck) is None
    assert answers.overdue(now=49.0, flow=stuck) is not None


def test_what_leaves_after_a_question_does_not_excuse_its_answer() -> None:
    answers = asked(flow=Flow(given=100, left=90))
    for second in range(1, 10):
        more = Flow(given=10_000, left=100 + second * 10)
        answers.overdue(now=float(second), flow=more)

    assert answers.overdue(now=11.0, flow=Flow(given=10_000, left=500)) is not None


def test_an_answer_may_come_after_much_else() -> None:
    answers = asked(limit_s=10.0)
    for second in range(1, 40):
        coming = Flow(given=100, left=100, arrived=1000 + second * 100_000)
        assert answers.overdue(now=float(second), flow=coming) is None


@pytest.mark.parametrize(("a_second", "why"), [(8, "heartbeats"), (MOST_AHEAD // 4, "too much")])
def test_not_everything_that_comes_excuses_an_answer(a_second: int, why: str) -> None:
    answers = asked()
    told = [
        answers.overdue(now=float(s), flow=Flow(given=100, left=100, arrived=1000 + s * a_second))
        for s in range(1, 16)
    ]

    assert told[-1] is not None, why


def test_nothing_that_moved_before_the_question_excuses_its_answer() -> None:
    answers = Answers(limit_s=10.0)
    answers.expect("first", "a channel", now=0.0, flow=Flow())
    answers.came("first")
    answers.expect(KEY, "the confirm", now=100.0, flow=STILL)

    assert "the confirm for 10 s" == answers.overdue(now=110.0, flow=STILL)


def test_time_in_which_the_broker_takes_nothing_does_not_count() -> None:
    answers = asked()
    answers.excuse(now=30.0)

    assert answers.overdue(now=39.0, flow=STILL) is None
    assert answers.overdue(now=40.0, flow=STILL) is not None


def test_it_is_looked_several_times_within_a_limit_and_at_its_end() -> None:
    answers = asked(limit_s=8.0)

    assert 2.0 == answers.look_in_s(now=0.0)
    assert 1.0 == answers.look_in_s(now=7.0)
    assert 0.0 == answers.look_in_s(now=9.0)
