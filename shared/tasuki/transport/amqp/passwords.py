"""Which password to try: while one is being changed, only the broker knows which it has."""

from __future__ import annotations

from collections.abc import Callable


class Passwords:
    """Tried one after the other, as the broker refuses them; the one that it took comes first.

    Args:
        candidates: all that there are now.
    """

    def __init__(self, candidates: Callable[[], tuple[str, ...]]) -> None:
        self._candidates = candidates
        self._left: list[str] = []
        self._tried = self._taken = ""

    def next(self) -> str:
        """The one to try now. After the last one it begins again, with those of then."""
        if not self._left:
            self._left = sorted(self._candidates(), key=lambda each: each != self._taken)
        self._tried = self._left.pop(0)
        return self._tried

    @property
    def has_another(self) -> bool:
        """Whether there is one that was not tried since it began."""
        return bool(self._left)

    def was_taken(self) -> None:
        """The broker took the one that was tried."""
        self._taken = self._tried
        self.begin_again()

    def begin_again(self) -> None:
        self._left = []
