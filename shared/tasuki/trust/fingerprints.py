"""Letters that two people compare by telephone, so that neither is told of another's keys."""

from __future__ import annotations

import blake3

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without I and O, which are taken for digits."""
_GROUPS, _GROUP = 6, 4
_PREFIX = b"tasuki fingerprint 1\0"


def fingerprint(data: bytes) -> str:
    """Groups of letters that other data do not have: 24^24 is more than 2^110."""
    left = int.from_bytes(blake3.blake3(_PREFIX + data).digest(), "big")
    letters = []
    for _ in range(_GROUPS * _GROUP):
        left, letter = divmod(left, len(LETTERS))
        letters.append(LETTERS[letter])
    return " ".join("".join(letters[at : at + _GROUP]) for at in range(0, len(letters), _GROUP))
