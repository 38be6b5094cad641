"""What cannot be sent on is found before anybody trains: at submit, or at the site."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.members import Signatory
from support.runs import plan, weights
from tasuki.core.model import CONTROLLER, Plan, Task, Turn, TurnId, TurnRecord
from tasuki.core.order import longest
from tasuki.core.trust import Warrant
from tasuki.errors import TooManySites, TurnTooLarge
from tasuki.settings.run import RunFile, Weights
from tasuki.wire.messages import MAX_BYTES, encode, size_of
from tasuki.wire.size import (
    ANY_DIGEST,
    AROUND,
    MOST,
    NAMED,
    SIGNED,
    SPARE,
    check_one_more,
    check_record,
    check_round,
)

SITES = ("site-1", "site-2", "site-3")


def turn(*records: int) -> Turn:
    """The second turn of a round, behind records of these sizes."""
    return Turn(
        id=TurnId(run="r", term=1, round=0, hop=1),
        itinerary=SITES,
        weights=weights("w"),
        task=Task(trainer="t"),
        history=tuple(bytes(size) for size in records),
    )


def record(size: int) -> TurnRecord:
    """One of so many bytes."""
    ref = weights("w")
    bare = TurnRecord(
        id=TurnId(run="r", term=1, round=0, hop=1),
        site="site-2",
        received=ref.digest,
        sent=ref,
        metrics={"x" * 70_000: 0.5},
    )
    over = size_of(bare) - 70_000
    return replace(bare, metrics={"x" * (size - over): 0.5})


def full_turn(*, one_more: int) -> Turn:
    """With room for one more record of this size, and for none that has a byte more."""
    around = size_of(turn(MAX_BYTES // 2)) - MAX_BYTES // 2
    return turn(MOST - around - one_more - AROUND)


def onward(turn: Turn, *records: TurnRecord) -> Turn:
    """As the next site gets it, at worst: with longer numbers, and past the itinerary's end."""
    return replace(
        turn,
        id=replace(turn.id, hop=turn.id.hop + 1),
        itinerary=(*turn.itinerary, CONTROLLER),
        weights=replace(turn.weights, size=2**62),
        history=(*turn.history, *map(encode, records)),
    )


def test_a_turn_is_trained_if_a_record_like_the_largest_fits_and_not_if_it_has_a_byte_more() -> (
    None
):
    size = (MOST - size_of(turn(2**20)) + 2**20 - AROUND) // 2
    check_one_more(turn(size))
    with pytest.raises(TurnTooLarge, match=f"the largest of them {size + 1}, and one more has to"):
        check_one_more(turn(size + 1))


def test_the_largest_record_says_what_the_next_may_have() -> None:
    check_one_more(turn(MAX_BYTES // 3, 100))
    with pytest.raises(TurnTooLarge, match=f"the largest of them {MAX_BYTES // 3},"):
        check_one_more(turn(MAX_BYTES // 3, 100, MAX_BYTES // 3))


def test_a_record_for_which_there_is_room_can_be_sent_on() -> None:
    full = full_turn(one_more=100_000)
    check_record(full, record(100_000))
    assert size_of(onward(full, record(100_000))) <= MOST


def test_a_signed_record_for_which_there_is_room_can_be_sent_on_and_given_out_again() -> None:
    lab = Signatory()
    roster = lab.roster([CONTROLLER, "site-2"])
    controller, site = lab.member(CONTROLLER, roster), lab.member("site-2", roster)
    about = ANY_DIGEST
    small = turn(*[600] * 2000)
    warrant = Warrant(
        id=small.id, itinerary=SITES, weights=small.weights, task=small.task, began=1e9
    )
    signed = replace(small, warrant=controller.sign(warrant, about=about))
    room = MOST - size_of(signed) - AROUND - SIGNED - NAMED * 2001
    check_record(signed, record(room))
    with pytest.raises(TurnTooLarge):
        check_record(signed, record(room + 1))
    after = onward(signed, site.write(record(room), about=about))
    again = replace(warrant, id=after.id, before=(ANY_DIGEST,) * 2001, roster=2**62)
    assert size_of(replace(after, warrant=controller.sign(again, about=about))) <= MAX_BYTES


def test_a_record_with_a_byte_more_fails_its_turn() -> None:
    full = full_turn(one_more=100_000)
    with pytest.raises(TurnTooLarge, match="its own record 100001"):
        check_record(full, record(100_001))


def test_a_record_that_is_no_message_itself_is_too_large_as_well() -> None:
    with pytest.raises(TurnTooLarge, match=f"its own record {MAX_BYTES + 1}"):
        check_record(turn(), record(MAX_BYTES + 1))


def test_what_may_be_sent_can_be_given_out_again_with_longer_numbers() -> None:
    """Else the controller, which has to send it, could do nothing but end."""
    full = onward(full_turn(one_more=100_000), record(100_000))
    later = replace(full, id=TurnId(run="r", term=2**62, round=2**62, hop=3))
    encode(later)
    assert SPARE > size_of(later) - size_of(full) > 0


# At submit.


def many(number: int) -> tuple[str, ...]:
    return tuple(f"site-{index}" for index in range(1, number + 1))


def full_round(plan: Plan) -> int:
    """How large the last turn of a round is if its trainers report nothing."""
    sites = longest(plan)
    id = TurnId(run=plan.run, term=1, round=0, hop=len(sites) - 1)
    ref = weights("")
    bare = TurnRecord(id=id, site=sites[0], received=ref.digest, sent=ref)
    records = tuple(
        encode(replace(bare, id=replace(id, hop=hop), site=site)) for hop, site in enumerate(sites)
    )
    return size_of(Turn(id=id, itinerary=sites, weights=ref, task=plan.task, history=records))


def test_a_round_is_refused_only_if_it_cannot_be_sent() -> None:
    """The estimate is a lower bound, and a close one."""
    fits, found = 1000, 0
    for number in range(fits, 30_000, 250):
        try:
            check_round(plan(sites=many(number)))
        except TooManySites:
            found = number
            break
    assert found > 10_000
    assert full_round(plan(sites=many(found))) > MOST
    assert full_round(plan(sites=many(int(0.93 * found)))) <= MOST


def test_a_round_of_too_many_turns_says_how_many_fit() -> None:
    with pytest.raises(TooManySites, match="a round of 20000 turns") as caught:
        check_round(plan(sites=many(20_000)))
    (fitting,) = [int(word) for word in str(caught.value).split("some ")[1].split()[:1]]
    check_round(plan(sites=many(fitting - 200)))
    with pytest.raises(TooManySites):
        check_round(plan(sites=many(fitting + 200)))


def test_a_list_as_order_counts_by_its_turns() -> None:
    sites = many(20_000)
    check_round(plan(sites=sites, order=sites[:100]))
    with pytest.raises(TooManySites):
        check_round(plan(sites=sites[:2], order=sites[:2] * 10_000))


def test_params_that_leave_no_room_are_what_has_to_be_shortened() -> None:
    large = plan()
    large = replace(large, task=replace(large.task, params={"text": "x" * MAX_BYTES}))
    with pytest.raises(TooManySites, match=r"Shorten \[params\]"):
        check_round(large)


def test_a_run_file_asks_for_no_round_that_cannot_be_sent() -> None:
    run_file = RunFile(name="r", trainer="t", weights=Weights(initial="m:f"))
    assert 5000 == len(run_file.plan(many(5000)).sites)
    with pytest.raises(TooManySites):
        run_file.plan(many(20_000))
