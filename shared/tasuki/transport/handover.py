"""A hand-over: the one way in which weights and a turn get to the next queue."""

from __future__ import annotations

from pathlib import Path

from tasuki.core.model import CONTROLLER, Turn
from tasuki.ports import Transport
from tasuki.wire import names
from tasuki.wire.chunks import ChunkedFile, transfer_id
from tasuki.wire.messages import encode


async def hand_over(transport: Transport, path: Path, turn: Turn, *, to: str) -> None:
    """Send these weights, then their turn; returns once the broker has confirmed both.

    Weights first: whoever has a turn has its weights too, or they are on their way. The controller
    gets no turn, since there is none after the last.

    Raises:
        Unroutable, NotPermitted: nothing more is sent.
    """
    transfer = transfer_id(turn.id, turn.weights)
    with ChunkedFile(path, transfer=transfer, weights=turn.weights) as chunks:
        await transport.publish(names.to_weights(to), chunks)
    if to != CONTROLLER:
        await transport.publish(names.to_turns(to), [(encode(turn),)])
