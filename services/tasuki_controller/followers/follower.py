"""What a follower is: somebody who reads the ledger's rows, and has no say in what they record."""

from __future__ import annotations

from abc import ABC, abstractmethod

from tasuki_controller.history import Step


class Follower(ABC):
    """Is told every row of all runs, in the order of the ledger, each with what it led to.

    One with a `name` may take its time: it is told in a thread of its own, which no run waits for.
    The ledger keeps the position up to which it came, so that it goes on there after a restart; one
    that is new begins with the first row. A row that it fails at is told again, later and later,
    and none behind it before that: it is left behind. Killed in the middle, it may be told a row
    twice, unless its own store keeps the position in the transaction of what it made of the row.

    One without is told on the event loop as soon as a row is there, and at each start begins with
    the newest: it must neither wait nor work for long. A row that it fails at, it has missed.
    """

    name: str = ""

    def begin(self, position: int) -> int:
        """After which row it is to be told; 0: from the first one, as if it had made nothing yet.

        Args:
            position: what the ledger knows, for followers that have no better store.
        """
        return position

    @abstractmethod
    def follow(self, step: Step) -> None:
        """Make something of a row. What this raises is counted, and logged when it begins to."""
