"""The controller's signatures over the rows of its ledger."""

from __future__ import annotations

from tasuki.core.model import CONTROLLER
from tasuki.core.trust import Roster
from tasuki.trust.signing import is_signature, public_key

_PREFIX = b"tasuki ledger row 1\0"


def covered_by_row(hash: str, *, federation: str) -> bytes:
    """What such a signature is over. A hash has no zero byte, and so this has one meaning."""
    return _PREFIX + federation.encode() + b"\0" + hash.encode()


def is_row_signed(row_hash: str, signature: bytes, roster: Roster, at: float) -> bool:
    """Whether the controller signed a row of this hash, with a card that was good at that time."""
    covered = covered_by_row(row_hash, federation=roster.federation)
    cards = roster.cards_of(CONTROLLER, at=at)
    return any(is_signature(signature, covered, public_key(card.signs)) for card in cards)
