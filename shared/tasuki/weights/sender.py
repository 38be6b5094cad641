"""The one way out: weights and their turn go to the next queue, in this order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

from tasuki.core.model import CONTROLLER, Turn, TurnId
from tasuki.errors import CannotSeal, Unroutable
from tasuki.moments import UNWATCHED, Moment, Moments
from tasuki.ports import Frames, OnSent, Route, Transport
from tasuki.trust.member import NOBODY, Member
from tasuki.weights.chunks import CHUNK_BYTES, ChunkedFile, transfer_id
from tasuki.wire import names
from tasuki.wire.messages import encode


def noting_turns(moments: Moments) -> OnSent | None:
    """For a transport's `on_sent`: a turn that left, and of which no confirm has come, is a moment.

    Nothing looks at what leaves while nobody listens.
    """
    if moments is UNWATCHED:
        return None

    def note(_: Route, body: Frames) -> None:
        for frame in body:
            if isinstance(frame, _TurnBody):
                moments.reach(Moment.TURN_SENT, frame.id)

    return note


class _TurnBody(bytes):
    """A turn as it travels, and which: whoever sends it can read it no more."""

    id: TurnId

    @classmethod
    def of(cls, turn: Turn, *, to: str, member: Member) -> Self:
        body = cls(member.close(encode(turn), to=to))
        body.id = turn.id
        return body


async def hand_over(
    transport: Transport,
    path: Path,
    turn: Turn,
    *,
    to: str,
    came_on: Callable[[], None],
    member: Member = NOBODY,
    moments: Moments = UNWATCHED,
) -> None:
    """Send these weights, then their turn; returns once the broker has confirmed both.

    Weights first: whoever has a turn has its weights too, or they are on their way. The controller
    gets no turn, since there is none after the last.

    Args:
        came_on: told with every body that the broker has confirmed.
        member: who sends them; it seals them for their receiver and the controller, if it can.

    Raises:
        Unroutable, NotPermitted: nothing more is sent.
        CannotSeal: nothing is sent.
    """
    transfer = transfer_id(turn.id, turn.weights)

    def confirmed(_: int) -> None:
        came_on()

    body = _TurnBody.of(turn, to=to, member=member)
    sealed = member.seal(transfer, turn.weights, to=to, step=CHUNK_BYTES)
    halfway = partial(moments.reach, Moment.CHUNKS_HALF_SENT, turn.id)
    with ChunkedFile(
        path, transfer=transfer, weights=turn.weights, sealed=sealed, halfway=halfway
    ) as chunks:
        await transport.publish(names.to_weights(to), chunks, on_confirmed=confirmed)
    moments.reach(Moment.WEIGHTS_CONFIRMED, turn.id)
    if to != CONTROLLER:
        await transport.publish(names.to_turns(to), [(body,)], on_confirmed=confirmed)


async def take_back(
    transport: Transport, turn: Turn, *, to: str, within_s: float, member: Member = NOBODY
) -> None:
    """After a hand-over that was let go of half-way: whoever has some of its weights drops them.

    Their turn does that: it is of a term that is void, so that it is refused, and its weights with
    it. That is no more than tidy, so a queue that does not take it is not waited for.
    """
    if to != CONTROLLER:
        with suppress(TimeoutError, Unroutable, CannotSeal):
            body = _TurnBody.of(turn, to=to, member=member)
            async with asyncio.timeout(within_s):
                await transport.publish(names.to_turns(to), [(body,)])
