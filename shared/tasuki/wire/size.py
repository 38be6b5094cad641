"""Whether a round's turns fit into messages: each carries the records of the turns before it.

Found before anybody trains, so that no training is thrown away.
"""

from __future__ import annotations

from dataclasses import replace

from tasuki.core.model import Plan, Turn, TurnId, TurnRecord, WeightsRef
from tasuki.core.order import longest
from tasuki.errors import TooManySites, TurnTooLarge
from tasuki.wire.messages import MAX_BYTES, encode, size_of

SPARE = 1024
"""Bytes that stay free: given out again, a turn has longer numbers, and is another site's."""

MOST = MAX_BYTES - SPARE
ANY_DIGEST = f"blake3:{0:064x}"
AROUND = 64
"""Bytes that a record adds beyond its own: how long it is, and longer numbers."""

SIGNED = 512
"""Bytes of a signed record's envelope."""

NAMED = 80
"""Bytes of a record's digest in the warrant of a turn that is given out again after it."""


def check_one_more(turn: Turn) -> None:
    """Before it is trained: with a record like the largest so far it could be sent on.

    Raises:
        TurnTooLarge: it could not.
    """
    largest = max(map(len, turn.history), default=0)
    if not _has_room(turn, largest):
        raise _too_large(turn, f"the largest of them {largest}, and one more has to fit")


def check_record(turn: Turn, record: TurnRecord) -> None:
    """When it is trained: it can be sent on with this record.

    Raises:
        TurnTooLarge: it cannot.
        MessageError: a value in the record has no form as a message.
    """
    if not _has_room(turn, size := size_of(record)):
        raise _too_large(turn, f"its own record {size}")


def check_round(plan: Plan) -> None:
    """A round of so many turns, if their trainers report no more than they must and nobody signs.

    Raises:
        TooManySites: its last turn could not be sent.
    """
    last = _last_turn(plan)
    size, turns = size_of(last), len(last.itinerary)
    if size > MOST:
        alone = size_of(replace(last, itinerary=last.itinerary[:1], history=()))
        fitting = (MOST - alone) * turns // (size - alone)
        raise TooManySites(
            f"a round of {turns} turns does not fit into messages, which carry its records: "
            f"{size} bytes at the least, where a message may have {MOST}. {_advice(fitting)}"
        )


def _has_room(turn: Turn, size: int) -> bool:
    signed = SIGNED + NAMED * (len(turn.history) + 1) if turn.warrant else 0
    return size_of(turn) + size + AROUND + signed <= MOST


def _last_turn(plan: Plan) -> Turn:
    """The largest message of a round, as small as it can be."""
    itinerary = longest(plan)
    id = TurnId(run=plan.run, term=1, round=0, hop=0)
    weights = WeightsRef(digest=ANY_DIGEST, size=0)
    record = TurnRecord(
        id=id,
        site=min(itinerary, key=len),
        received=weights.digest,
        sent=weights,
        metrics=dict.fromkeys(plan.task.requires, 0.0),
    )
    history = (encode(record),) * len(itinerary)
    return Turn(id=id, itinerary=itinerary, weights=weights, task=plan.task, history=history)


def _advice(fitting: int) -> str:
    if fitting < 1:
        return "Shorten [params] and [params_at], which leave no room for any"
    return (
        f"Have fewer sites, or a list of fewer as order: some {fitting} turns fit if trainers "
        "report nothing else"
    )


def _too_large(turn: Turn, what: str) -> TurnTooLarge:
    before = turn.history
    return TurnTooLarge(
        f"the records of this round do not fit into a message of {MOST} bytes: those of the "
        f"{len(before)} turns before have {sum(map(len, before))}, {what}. Report fewer metrics or "
        "shorter names of them, or have fewer turns in a round"
    )
