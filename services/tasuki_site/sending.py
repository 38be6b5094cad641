"""The second long step of a turn: its result to the successor, or back from there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tasuki.core.model import Turn, TurnRecord
from tasuki.core.turn import is_proved, needs_proof, onward
from tasuki.errors import MessageError
from tasuki.weights.chunks import transfer_id
from tasuki.weights.sender import hand_over, take_back
from tasuki.wire.messages import decode, encode
from tasuki_site.facts import HandedOver
from tasuki_site.site import Site

Check = Callable[[Path], None]
"""Raises DigestMismatch if a file is not what it was."""


def check_sender(site: Site, turn: Turn, sender: str) -> None:
    """Whoever hands a turn on trained the one before, and says so with what it sends.

    So nobody passes weights on in another site's name: the controller asks whose turn it was.

    Raises:
        MessageError: the history does not end with the sender's result.
    """
    if not needs_proof(turn, site=site.name, sender=sender):
        return
    if not (turn.history and is_proved(turn, decode(turn.history[-1], TurnRecord), sender=sender)):
        raise MessageError(
            f"{sender} hands on {turn.id} without its own result", reason="wrong_site"
        )


async def send(
    site: Site,
    turn: Turn,
    record: TurnRecord,
    *,
    check: Check,
    came_on: Callable[[], None],
    ready_at: float | None,
) -> None:
    """Send the result to the successor; returns once its queue has confirmed it.

    Args:
        came_on: told with every body that the broker has confirmed.
        ready_at: the event loop's time when the result was there, if that was in this process.

    Raises:
        DigestMismatch, Unroutable, MessageError: it cannot be sent.
    """
    loop, following = asyncio.get_running_loop(), passed_on(turn, record)
    began = loop.time() if ready_at is None else ready_at
    path = site.spool.path(transfer_of(following), record.sent)
    check(path)
    await hand_over(
        site.transport,
        path,
        following,
        to=turn.successor,
        came_on=came_on,
        member=site.member,
        moments=site.moments,
    )
    seconds = loop.time() - began
    site.watcher(HandedOver(id=turn.id, seconds=seconds, size=record.sent.size))


async def withdraw(site: Site, turn: Turn, record: TurnRecord) -> None:
    """Its result is void: nobody keeps any of it, here or at the successor."""
    let_go(site, turn, record)
    following = passed_on(turn, record)
    await take_back(
        site.transport,
        following,
        to=turn.successor,
        within_s=site.farewell_s,
        member=site.member,
    )


def let_go(site: Site, turn: Turn, record: TurnRecord) -> None:
    """The successor has the result: no copy of it is needed here."""
    if turn.successor != site.name:
        # Else it is what the next turn trains on.
        site.spool.discard(transfer_of(passed_on(turn, record)), record.sent)


def passed_on(turn: Turn, record: TurnRecord) -> Turn:
    """The turn as its successor gets it."""
    return onward(turn, record, written=encode(record))


def transfer_of(turn: Turn) -> bytes:
    """The name by which the weights of a turn travel."""
    return transfer_id(turn.id, turn.weights)
