"""What unseals the transfers that are coming in: known from each one's first piece on."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.core.model import WeightsRef
from tasuki.errors import MessageError
from tasuki.trust.member import BAD_SEAL, Member
from tasuki.trust.sealing import Cipher
from tasuki.weights.chunks import MAX_CHUNK_BYTES, Chunk, SealedChunk
from tasuki.weights.unclaimed import Name

MOST = 64
"""Seals of one sender that are known at a time, as many as it may have transfers open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    weights: WeightsRef
    seal: bytes
    cipher: Cipher


class Seals:
    """The seals that one reader of a stream knows.

    Nothing of a transfer is unsealed before its seal was checked: that its sender signed it, for
    this transfer, and for us. Used by one thread, and one piece at a time.
    """

    def __init__(self, member: Member) -> None:
        self._member = member
        self._known: dict[Name, _Known] = {}  # in the order in which they were used last
        self._buffer = bytearray()

    def check_plain(self, sender: str) -> None:
        """Raises MessageError: weights have to be sealed, and these are not."""
        self._member.check_plain(sender)

    def unsealed(self, piece: SealedChunk, *, sender: str) -> Chunk | None:
        """What is in a piece, until the next one is unsealed; None: its seal is not known.

        A sender that starts anew seals its transfer anew; its pieces are those from before.

        Raises:
            MessageError: the seal or the piece is not as its sender made it.
        """
        name = (sender, piece.transfer)
        known = self._opened(name, piece) if piece.seal else self._known.pop(name, None)
        if known is None:
            return None
        self._known[name] = known
        if piece.seal:
            self._let_go_of_oldest(sender)
        if known.weights != piece.weights:
            raise MessageError("a piece of other weights than were sealed", reason=BAD_SEAL)
        return piece.with_data(self._unseal(piece, known.cipher))

    def forget(self, transfer: bytes) -> None:
        """No more of it is to be unsealed, whoever sent it."""
        for name in [name for name in self._known if name[1] == transfer]:
            del self._known[name]

    def _opened(self, name: Name, piece: SealedChunk) -> _Known:
        """What its seal opens. A bad one changes nothing about a good one that came before."""
        known = self._known.get(name)
        if known is not None and known.seal == piece.seal and known.weights == piece.weights:
            return self._known.pop(name)
        sender, transfer = name
        cipher = self._member.unseal(piece.seal, transfer, piece.weights, sender=sender)
        self._known.pop(name, None)
        return _Known(weights=piece.weights, seal=bytes(piece.seal), cipher=cipher)

    def _let_go_of_oldest(self, sender: str) -> None:
        mine = [name for name in self._known if name[0] == sender]
        for oldest in mine[:-MOST]:
            del self._known[oldest]

    def _unseal(self, piece: SealedChunk, cipher: Cipher) -> memoryview:
        """Into one buffer, as large as the largest piece was."""
        if len(self._buffer) < piece.length:
            self._buffer = bytearray(min(MAX_CHUNK_BYTES, piece.length))
        data = memoryview(self._buffer)[: piece.length]
        cipher.unseal_into(data, piece.data, at=piece.at, is_last=piece.is_last)
        return data
