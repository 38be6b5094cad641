"""Signatures over a ledger's rows: the controller's, over a hash that fixes all before it too."""

from __future__ import annotations

from tasuki.core.model import CONTROLLER
from tasuki.core.trust import Roster
from tasuki.trust.signing import SigningKey, is_signature, public_key

_PREFIX = b"tasuki ledger row 1\0"


def sign_row(key: SigningKey, federation: str, hash: str) -> bytes:
    """The controller's signature over a row's hash."""
    return key.over(_covered(federation, hash))


def is_row_signed(row_hash: str, signature: bytes, roster: Roster, at: float) -> bool:
    """Whether the controller has signed it, with a key whose card was good then."""
    covered = _covered(roster.federation, row_hash)
    cards = roster.cards_of(CONTROLLER, at=at)
    return any(is_signature(signature, covered, public_key(card.signs)) for card in cards)


def _covered(federation: str, hash: str) -> bytes:
    return _PREFIX + federation.encode() + b"\0" + hash.encode()
