"""Digests of weights. The algorithm's name is part of the text, so that it can change."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from blake3 import blake3

from tasuki.errors import WeightsError

if TYPE_CHECKING:
    from typing_extensions import Buffer

ALGORITHM = "blake3"

_FORM = re.compile(ALGORITHM + ":[0-9a-f]{64}")


class Hasher:
    """Computes the digest of bytes as they pass.

    One thread: the other cores belong to the trainer, and it is faster than any disk.
    """

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = blake3(max_threads=1)

    def update(self, data: Buffer) -> None:
        """Add these bytes; any contiguous buffer will do and none is copied."""
        self._state.update(data)

    def digest(self) -> str:
        """Text form of what passed so far: `blake3:` and 64 lowercase hex digits."""
        return f"{ALGORITHM}:{self._state.hexdigest()}"


def parse_digest(text: str) -> str:
    """The digest itself, once it is known to be one that this version can check.

    Raises:
        WeightsError: it has another form or names another algorithm.
    """
    if not _FORM.fullmatch(text):
        raise WeightsError(
            f"{text[:80]!r} is no digest: it must read {ALGORITHM}: and 64 lowercase hex digits"
        )
    return text
