"""What the adapter tells about itself: numbers for the metrics and changes for the log."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum


class LinkState(StrEnum):
    """What a connection has just become."""

    UP = "up"
    DOWN = "down"  # it is being made again
    SILENT = "silent"  # the broker owed an answer for too long; given up, so that DOWN follows
    REFUSED = "refused"  # the broker does not take these credentials; tried again all the same
    BLOCKED = "blocked"  # the broker is short of memory or disk and takes nothing
    UNBLOCKED = "unblocked"
    WAITING = "waiting"  # a queue or an exchange is not available; tried again
    SERVED = "served"  # it is available again


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """One change of one of the two connections, `publish` or `consume`.

    Attributes:
        node: of the broker, to which it is or was to be connected.
        what: is waited for or served; empty for the connection itself.
        error: of a refusal, for whoever waits for the connection.
    """

    link: str
    state: LinkState
    node: str = ""
    what: str = ""
    reason: str = ""
    error: Exception | None = None


@dataclass(slots=True, kw_only=True)
class Counters:
    """Running totals since `open`. Each field is written by one thread only.

    Attributes:
        nacked_messages: tries that the broker refused since a queue was full; each is made again.
        publish_unanswered, consume_unanswered: connections given up since an answer was overdue.
    """

    publish_reconnects: int = 0
    consume_reconnects: int = 0
    published_messages: int = 0
    published_bytes: int = 0
    resent_messages: int = 0
    nacked_messages: int = 0
    publish_unanswered: int = 0
    consume_unanswered: int = 0
    delivered_bytes: int = 0
    ended_blocks_s: float = 0.0
    blocked_since: float | None = None

    @property
    def reconnects(self) -> int:
        return self.publish_reconnects + self.consume_reconnects

    @property
    def unanswered(self) -> int:
        return self.publish_unanswered + self.consume_unanswered

    @property
    def blocked_s(self) -> float:
        """How long publishing was blocked by the broker, a block that lasts included."""
        since = self.blocked_since
        return self.ended_blocks_s + (time.monotonic() - since if since is not None else 0.0)

    def block(self) -> None:
        if self.blocked_since is None:
            self.blocked_since = time.monotonic()

    def unblock(self) -> None:
        if self.blocked_since is not None:
            self.ended_blocks_s += time.monotonic() - self.blocked_since
            self.blocked_since = None
