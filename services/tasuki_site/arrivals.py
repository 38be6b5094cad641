"""The weights that come to a site: waited for by its turns, and let go when nobody needs them."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from tasuki.core.model import CONTROLLER, Turn, TurnId, WeightsRef
from tasuki.core.turn.standing import NEVER
from tasuki.errors import DigestMismatch
from tasuki.moments import Moment
from tasuki.ports import Delivery, Handler
from tasuki.weights.chunks import transfer_id
from tasuki.weights.digest import verify_digest
from tasuki.weights.receiver import Receiver
from tasuki.wire import names
from tasuki_site.site import Site


class Arrivals:
    """What is here of the weights of each turn.

    Args:
        handler: gets what comes, and calls `take_in` with it in its own time.
        restored: turns that the journal had when the service started.
    """

    def __init__(self, site: Site, handler: Handler, *, restored: Set[TurnId]) -> None:
        self._site = site
        self._restored = restored
        self._receiver = Receiver(
            site.transport,
            names.weights_stream(site.name),
            site.spool,
            refuse=site.bury,
            member=site.member,
            position=site.journal,
            handler=handler,
        )
        self.came_at = NEVER  # when the last chunk did, by the site's `elapsed`

    async def open(self) -> None:
        """Read the site's stream, from where the journal says."""
        await self._receiver.open()

    def close(self) -> None:
        """The service ends: look for nothing any more."""
        self._receiver.stop()

    def take_in(self, delivery: Delivery) -> bytes | None:
        """Spool a piece of weights; the transfer, if that is complete now, or broken."""
        taken = self._receiver.take_in(delivery)
        if taken is None:
            return None
        self.came_at = self._site.elapsed()
        if not taken.is_last:
            self._site.moments.reach(Moment.CHUNKS_HALF_RECEIVED, None)
        return taken.transfer if taken.is_over else None

    def expect(self, turn: Turn) -> None:
        """A turn was taken: its weights stay until they are discarded."""
        transfer = transfer_id(turn.id, turn.weights)
        self._receiver.expect(transfer)
        self._site.spool.claim(transfer, turn.weights)

    async def obtain(self, turn: Turn) -> None:
        """A turn comes after its weights. Once for each that gets none the stream is read anew.

        Raises:
            MessageError: it gets none then either, and pieces of them were refused.
        """
        patience_s = self._site.stall_s
        found = await self._receiver.obtain(lambda: self._found(turn), patience_s=patience_s)
        if found is None:
            transfer = transfer_id(turn.id, turn.weights)
            self._receiver.check_refused(transfer, senders=_senders(turn))

    def path_of(self, turn: Turn) -> Path | None:
        """The file of a turn's weights; None while they have not come.

        Raises:
            TasukiError: they will not come, not as they were promised.
        """
        transfer = transfer_id(turn.id, turn.weights)
        self._receiver.check(transfer, senders=_senders(turn))
        if (path := self._found(turn)) is not None:
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
        self._receiver.discard(transfer_id(turn.id, turn.weights), turn.weights)

    def _found(self, turn: Turn) -> Path | None:
        path = self._site.spool.path(transfer_id(turn.id, turn.weights), turn.weights)
        return path if path.exists() else None


def _senders(turn: Turn) -> set[str]:
    """Who may send its weights."""
    return {turn.predecessor, CONTROLLER}
