"""Random numbers that are the same for ever: on every machine, Python and after every restart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from tasuki.core.order.policy import Situation


class Draws:
    """Uniform integers as a pure function of (seed, round).

    SHA-256 in counter mode instead of `random`, whose shuffle may change between Pythons.
    """

    def __init__(self, situation: Situation) -> None:
        self._words = self._stream(f"tasuki-order/{situation.seed}/{situation.round}")

    def below(self, limit: int) -> int:
        """One of 0 .. limit-1, each exactly as likely (values past a multiple are drawn again)."""
        usable = 2**64 - 2**64 % limit
        return next(word for word in self._words if word < usable) % limit

    def permutation(self, items: tuple[str, ...]) -> list[str]:
        """A uniform permutation (Fisher and Yates)."""
        drawn = list(items)
        for last in range(len(drawn) - 1, 0, -1):
            other = self.below(last + 1)
            drawn[last], drawn[other] = drawn[other], drawn[last]
        return drawn

    @staticmethod
    def _stream(label: str) -> Iterator[int]:
        counter = 0
        while True:
            block = hashlib.sha256(f"{label}/{counter}".encode()).digest()
            yield from (int.from_bytes(block[at : at + 8], "big") for at in range(0, 32, 8))
            counter += 1
