"""One call of `publish`, and the channel it has while it lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pika.channel import Channel

from tasuki.ports import Frames, Route

Done = Callable[[Exception | None], None]


def publishing(route: Route) -> str:
    """What a change of state and an error call this."""
    return f"publishing to {route.exchange} for {route.key!r}"


@dataclass(slots=True, eq=False)
class Publication:
    """One call of `publish`: which bodies are sent and which are confirmed.

    Attributes:
        failures: tries that the broker refused since it last confirmed something.
        unanswered: connections that were given up for want of a confirm since then.
    """

    route: Route
    bodies: Sequence[Frames]
    done: Done
    on_confirmed: Callable[[int], None] | None = None
    sent: int = 0
    confirmed: int = 0
    failures: int = 0
    unanswered: int = 0
    sent_most: int = 0
    is_over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        return publishing(self.route)

    def next_body(self) -> Frames | None:
        """The next body, made now; None if the publication was cancelled."""
        with self.lock:
            return None if self.is_over else self.bodies[self.sent]

    def cancel(self) -> None:
        """From the caller's thread: once this returns, `bodies` is not asked for any more."""
        with self.lock:
            self.is_over = True

    def note_confirmed(self, count: int) -> None:
        """Tell the caller when more bodies, from the first on, are confirmed."""
        if count > self.confirmed:
            self.confirmed = count
            if self.on_confirmed is not None and not self.is_over:
                self.on_confirmed(count)

    def end(self, error: Exception | None) -> None:
        """Tell the caller, once."""
        if not self.is_over:
            self.is_over = True
            self.done(error)


@dataclass(slots=True, eq=False)
class Outlet:
    """A channel in confirm mode and the publication that has it."""

    channel: Channel
    publication: Publication | None = None
    tag: int = 0
    unconfirmed: dict[int, int] = field(default_factory=dict)  # tag -> bytes, in order

    def confirmed(self, tag: int, *, multiple: bool) -> list[int]:
        """Remove what this confirm is about; the sizes."""
        tags = [known for known in self.unconfirmed if known <= tag] if multiple else [tag]
        return [self.unconfirmed.pop(known) for known in tags if known in self.unconfirmed]

    def first_unconfirmed(self, publication: Publication) -> int:
        """The index of the body to go on from when this channel is lost."""
        oldest = next(iter(self.unconfirmed), self.tag + 1)
        return publication.sent - (self.tag + 1 - oldest)
