"""The weights that come to a site: taken in chunk by chunk, and let go when nobody needs them."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from tasuki.core.model import CONTROLLER, Turn, TurnId, WeightsRef
from tasuki.core.turn.standing import NEVER
from tasuki.errors import DigestMismatch, MessageError, TasukiError
from tasuki.moments import Moment
from tasuki.ports import Delivery, Settlement
from tasuki.weights.chunks import Chunk, check_known, decode_chunk, transfer_id
from tasuki.weights.container import verify_digest
from tasuki.weights.position import Reading
from tasuki.weights.unclaimed import Name
from tasuki_site.site import Site

UNWANTED = 1024  # transfers that may still come and are remembered as void
BROKEN = 256  # transfers that were not what they promised, and whose turns may still come


class Arrivals:
    """What is in the spool, what is on its way there and what must not be kept.

    Args:
        restored: turns that the journal had when the service started.
    """

    def __init__(self, site: Site, *, restored: Set[TurnId]) -> None:
        self._site = site
        self._restored = restored
        self._reading = Reading()
        self._broken: dict[Name, TasukiError] = {}  # in the order in which they became so
        self._unwanted: dict[bytes, None] = {}  # in the order in which they became so
        self.count = 0  # chunks that came, of any transfer
        self.came_at = NEVER  # when the last of them did, by the site's `elapsed`

    def take_in(self, delivery: Delivery) -> bytes | None:
        """Spool a piece of weights; the transfer, if that is complete now, or broken."""
        try:
            chunk = decode_chunk(delivery.body)
            check_known(delivery)
        except MessageError as exc:
            self._site.bury(delivery, exc)
            return None
        self.count += 1
        self.came_at = self._site.elapsed()
        is_over = self._spool(chunk, delivery.sender)
        if self._site.transport.is_durable and delivery.offset is not None:
            self._note_position(chunk, delivery.sender, delivery.offset, is_over=is_over)
        self._site.transport.settle(delivery, Settlement.DONE)
        if not chunk.is_last:
            self._site.moments.reach(Moment.CHUNKS_HALF_RECEIVED, None)
        return chunk.transfer if is_over else None

    def expect(self, turn: Turn) -> None:
        """A turn was taken: its weights stay until they are discarded."""
        self._site.spool.claim(transfer_id(turn.id, turn.weights), turn.weights)

    def path_of(self, turn: Turn) -> Path | None:
        """The file of a turn's weights; None while they have not come.

        Raises:
            TasukiError: they will not come, not as they were promised.
        """
        transfer = transfer_id(turn.id, turn.weights)
        # What anybody else sends under the same name is not what this turn waits for.
        for sender in {turn.predecessor, CONTROLLER}:
            if (error := self._broken.pop((sender, transfer), None)) is not None:
                raise error
        if not self._site.spool.has(transfer, turn.weights):
            return None
        path = self._site.spool.path(transfer, turn.weights)
        self.check(turn.id, path, turn.weights)
        return path

    def check(self, id: TurnId, path: Path, weights: WeightsRef) -> None:
        """Whether a spool file from before a restart is what the journal says.

        After a power cut it may not be: files are not forced to the disk, the journal is. What
        this process spooled has passed through its digest already.

        Raises:
            DigestMismatch: it is not.
        """
        if id in self._restored and not (path.exists() and verify_digest(path) == weights.digest):
            raise DigestMismatch("weights that were here were lost in a restart")

    def discard(self, turn: Turn) -> None:
        """Its weights are not needed any more, nor are those pieces of them that still come."""
        if not self._site.transport.is_durable:
            return  # the controller would look for them here
        transfer = transfer_id(turn.id, turn.weights)
        self._unwanted[transfer] = None
        while len(self._unwanted) > UNWANTED:
            del self._unwanted[next(iter(self._unwanted))]
        self._site.spool.discard(transfer, turn.weights)

    def _spool(self, chunk: Chunk, sender: str) -> bool:
        """A broken transfer fails the turn that needs it, nothing else."""
        if chunk.transfer in self._unwanted:
            self._site.spool.refused("unwanted", 1)
            return False
        try:
            return self._site.spool.add(chunk, sender=sender)
        except TasukiError as exc:
            self._broken[sender, chunk.transfer] = exc
            while len(self._broken) > BROKEN:
                del self._broken[next(iter(self._broken))]
            return True

    def _note_position(self, chunk: Chunk, sender: str, offset: int, *, is_over: bool) -> None:
        is_open = self._site.spool.is_open(chunk.transfer, sender=sender)
        following = self._reading.note((sender, chunk.transfer), offset, is_open=is_open)
        if is_over:
            self._site.journal.write_offset(following)
