"""The two long steps of a turn: training, and handing the result to the next queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tasuki.core.model import CONTROLLER, Turn, TurnRecord, WeightsRef
from tasuki.disk.errors import disk_errors
from tasuki.errors import MessageError, WeightsError
from tasuki.weights.chunks import transfer_id
from tasuki.weights.sender import hand_over, take_back
from tasuki.wire.messages import decode, encode, written
from tasuki.wire.size import check_one_more, check_record
from tasuki_site import gate
from tasuki_site.facts import GateClosed, HandedOver, Trained
from tasuki_site.site import Site
from tasuki_site.spell import Log, Outcome, Spell

Check = Callable[[Path], None]
"""Raises DigestMismatch if a file is not what it was."""


async def train(site: Site, turn: Turn, log: Log) -> TurnRecord:
    """Train; the result is in the spool, named for the turn that it goes to.

    A turn that could not be sent on is not trained at all.

    Raises:
        TasukiError: why there is no result that may be handed on.
    """
    check_one_more(turn)
    started = site.clock.now()
    received = site.spool.path(_transfer(turn), turn.weights)
    # A name of its own: an aborted trainer in a thread may go on writing for a while.
    result = site.spool.part(f"{_transfer(turn).hex()}-{site.name}")
    try:
        spell = Spell.of(turn, received=received, result=result, data=site.data, device=site.device)
        outcome = await site.trainers.train(turn.task.trainer, spell, log)
        with disk_errors(result):  # whatever the site's code started may have removed it
            gate.check(turn.task, received=received, result=result, outcome=outcome)
            outcome = gate.as_received(turn, received=received, result=result, outcome=outcome)
        record = _record(turn, outcome, seconds=site.clock.now() - started)
        check_record(turn, record)
        record = written(record)
        site.spool.adopt(result, _transfer(onward(turn, record)), record.sent)
    except BaseException as exc:
        result.unlink(missing_ok=True)
        if isinstance(exc, WeightsError):
            site.watcher(GateClosed(id=turn.id, error=exc))
        raise
    site.watcher(Trained(id=turn.id, seconds=record.seconds))
    return record


async def send_on(
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
        DigestMismatch, Unroutable: it cannot be sent.
    """
    loop, following = asyncio.get_running_loop(), onward(turn, record)
    began = loop.time() if ready_at is None else ready_at
    path = site.spool.path(_transfer(following), record.sent)
    check(path)
    await hand_over(
        site.transport,
        path,
        following,
        to=turn.successor,
        came_on=came_on,
        moments=site.moments,
    )
    seconds = loop.time() - began
    site.watcher(HandedOver(id=turn.id, seconds=seconds, size=record.sent.size))


async def withdraw(site: Site, turn: Turn, record: TurnRecord) -> None:
    """Its result is void: nobody keeps any of it, here or at the successor."""
    let_go(site, turn, record)
    following = onward(turn, record)
    await take_back(site.transport, following, to=turn.successor, within_s=site.farewell_s)


def let_go(site: Site, turn: Turn, record: TurnRecord) -> None:
    """The successor has the result: no copy of it is needed here."""
    if turn.successor != site.name:
        # Else it is what the next turn trains on.
        site.spool.discard(_transfer(onward(turn, record)), record.sent)


def onward(turn: Turn, record: TurnRecord) -> Turn:
    """The turn as the successor gets it; for the controller, past the end of the itinerary."""
    history = (*turn.history, encode(record))
    following = replace(turn.id, hop=turn.id.hop + 1)
    itinerary = turn.itinerary
    if turn.successor == CONTROLLER:
        itinerary = (*itinerary, CONTROLLER)
    return replace(turn, id=following, itinerary=itinerary, weights=record.sent, history=history)


def check_handed_on(site: Site, turn: Turn, sender: str) -> None:
    """Whoever hands a turn on trained the one before, and says so with what it sends.

    So nobody passes weights on in another site's name: the controller asks whose turn it was.

    Raises:
        MessageError: the history does not end with the sender's result.
    """
    if turn.site != site.name or sender != turn.predecessor or sender == CONTROLLER:
        return  # the machine drops what is not ours; the controller gives out in anybody's stead
    before = decode(turn.history[-1], TurnRecord) if turn.history else None
    own = (replace(turn.id, hop=turn.id.hop - 1), sender, turn.weights)
    if before is None or (before.id, before.site, before.sent) != own:
        raise MessageError(
            f"{sender} hands on {turn.id} without its own result", reason="wrong_site"
        )


def _transfer(turn: Turn) -> bytes:
    return transfer_id(turn.id, turn.weights)


def _record(turn: Turn, outcome: Outcome, *, seconds: float) -> TurnRecord:
    return TurnRecord(
        id=turn.id,
        site=turn.site,
        received=turn.weights.digest,
        sent=WeightsRef(digest=outcome.digest, size=outcome.size),
        metrics=dict(outcome.metrics),
        samples=outcome.samples,
        seconds=round(seconds, 6),
    )
