"""Publishing with a window of unconfirmed bytes, several publications at a time.

Each publication has a channel to itself while it lasts: what the broker refuses closes a channel
and names no message, so a shared one could not tell whose fault it was. The window is shared, and
filled in turns, one body each: a report does not wait for the gigabytes before it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from pika import BasicProperties, SelectConnection, spec
from pika.frame import Method

from tasuki.errors import Unroutable
from tasuki.ports import OnSent
from tasuki.transport.amqp import fastpath, refusals
from tasuki.transport.amqp.connection import Link
from tasuki.transport.amqp.publication import Outlet, Publication
from tasuki.transport.amqp.settings import AmqpSettings
from tasuki.transport.amqp.state import Counters, LinkState, StateChange

_CHANNELS = 32  # publications at a time; the others wait for a free channel
_SPARE = 4  # idle channels kept: opening one costs two round trips
_BURST_BYTES = 4 * 2**20  # handed to pika between two looks at the socket
_BACKLOG_BYTES = 2 * 2**20  # handed to pika and not yet to the socket: the rest can still be mixed

_MOST_PATIENCE = 32
"""Times the limit for a confirm, doubled each time that it did not come: a queue that has lost the
majority of its nodes may keep what it does not confirm, and must not get it again all the time."""

_NOT_TAKEN = (
    "its queue refuses it: it is full, since its reader is away or somebody sends too much, or it "
    "has failed"
)

OnChange = Callable[[StateChange], None]


class Publisher:
    """All publications of one transport; lives on its link's thread."""

    def __init__(
        self,
        link: Link,
        settings: AmqpSettings,
        counters: Counters,
        on_change: OnChange,
        on_sent: OnSent | None = None,
    ) -> None:
        self._link = link
        self._on_sent = on_sent
        self._counters = counters
        self._on_change = on_change
        self._window = settings.window_bytes
        self._user = settings.user
        self._recovery_s = settings.recovery_s
        self._up_since = 0.0
        self._in_flight = 0
        self._waiting: deque[Publication] = deque()  # for a channel
        self._ready: deque[Outlet] = deque()  # have more to send
        self._outlets: set[Outlet] = set()
        self._resting: set[Publication] = set()  # failed, and tried again after a pause
        self._spare: list[Outlet] = []
        self._opening: set[Outlet] = set()
        self._is_pumping = False

    def submit(self, publication: Publication) -> None:
        """From any thread."""
        self._link.call(lambda: self._admit(publication))

    def withdraw(self, publication: Publication) -> None:
        """After `Publication.cancel`, from any thread: give back what it holds."""
        self._link.call(lambda: self._forget(publication))

    def on_up(self, connection: SelectConnection) -> None:
        fastpath.when_drained(connection, self._on_drained)
        self._up_since = time.monotonic()
        self._assign()

    def on_change(self, change: StateChange) -> None:
        match change.state:
            case LinkState.BLOCKED:
                self._counters.block()
            case LinkState.UNBLOCKED:
                self._counters.unblock()
            case LinkState.SILENT:
                self._counters.publish_unanswered += 1
                self._note_unanswered()
            case LinkState.DOWN:
                self._counters.unblock()
                self._lose_all()
        self._on_change(change)

    def _admit(self, publication: Publication) -> None:
        if not publication.is_over:
            self._waiting.append(publication)
            self._assign()

    def _forget(self, publication: Publication) -> None:
        self._resting.discard(publication)
        if publication in self._waiting:
            self._waiting.remove(publication)
        for outlet in [outlet for outlet in self._outlets if outlet.publication is publication]:
            self._discard(outlet)
        self._assign()

    # --- channels

    def _assign(self) -> None:
        """Give channels to those who wait, and open more if there are too few."""
        if self._link.connection is None:
            return
        while self._waiting and self._spare:
            self._occupy(self._spare.pop(), self._waiting.popleft())
        wanted = len(self._waiting) - len(self._opening)
        for _ in range(min(wanted, _CHANNELS - len(self._outlets) - len(self._opening))):
            self._open(self._link.connection)
        self._pump()

    def _occupy(self, outlet: Outlet, publication: Publication) -> None:
        outlet.publication = publication
        self._ready.append(outlet)

    def _open(self, connection: SelectConnection) -> None:
        channel = connection.channel(on_open_callback=lambda _: self._on_channel_open(outlet))
        outlet: Outlet = Outlet(channel)
        self._opening.add(outlet)
        self._link.expect(outlet, "a channel to publish on")
        channel.add_on_close_callback(lambda _, error: self._on_channel_closed(outlet, error))
        channel.add_on_return_callback(lambda _, method, __, ___: self._on_return(outlet, method))

    def _on_channel_open(self, outlet: Outlet) -> None:
        self._link.expect(outlet, "a channel that confirms")
        outlet.channel.confirm_delivery(
            lambda frame: self._on_confirm(outlet, frame),
            callback=lambda _: self._on_channel_ready(outlet),
        )

    def _on_channel_ready(self, outlet: Outlet) -> None:
        self._link.came(outlet)
        if outlet in self._opening:
            self._opening.remove(outlet)
            self._outlets.add(outlet)
            self._spare.append(outlet)
            self._assign()

    def _on_channel_closed(self, outlet: Outlet, error: Exception) -> None:
        self._link.came(outlet)
        if outlet in self._opening:
            self._opening.remove(outlet)
            self._link.later(self._assign, delay_s=self._link.backoff_s(0))
        elif outlet in self._outlets:  # else discarded by us, or with its connection
            publication = outlet.publication
            self._discard(outlet)
            if publication is not None:
                self._go_on_elsewhere(publication, error)
            self._assign()

    def _go_on_elsewhere(self, publication: Publication, error: Exception) -> None:
        refused = refusals.refusal(error, what=publication.name)
        if refused is not None:
            publication.end(refused)
        elif self._link.connection is None:
            self._waiting.appendleft(publication)
        else:
            self._retry(publication, refusals.describe(error))

    def _discard(self, outlet: Outlet) -> None:
        """Close a channel; its publication, if it goes on, starts at its first unconfirmed body."""
        self._release(outlet)
        if outlet.channel.is_open:
            self._link.expect(outlet, "the end of a channel")
            outlet.channel.close()

    def _release(self, outlet: Outlet) -> None:
        self._outlets.discard(outlet)
        if outlet in self._ready:
            self._ready.remove(outlet)
        if outlet in self._spare:
            self._spare.remove(outlet)
        self._in_flight -= sum(outlet.unconfirmed.values())
        self._link.came(outlet)
        if outlet.publication is not None:
            outlet.publication.sent = outlet.first_unconfirmed(outlet.publication)
        outlet.unconfirmed.clear()

    def _lose_all(self) -> None:
        """The connection is gone, its timers perhaps too: everyone waits for the next one."""
        self._opening.clear()
        self._is_pumping = False
        self._waiting.extend(self._resting)
        self._resting.clear()
        for outlet in list(self._outlets):
            self._release(outlet)
            if outlet.publication is not None and not outlet.publication.is_over:
                self._waiting.appendleft(outlet.publication)

    def _note_unanswered(self) -> None:
        """Whoever waits for confirms waits longer for the next."""
        for outlet in self._outlets:
            if outlet.unconfirmed and outlet.publication is not None:
                outlet.publication.unanswered += 1

    def _retry(self, publication: Publication, reason: str) -> None:
        self._link.tell(LinkState.WAITING, what=publication.name, reason=reason)
        self._resting.add(publication)
        delay_s = self._link.backoff_s(publication.failures)
        publication.failures += 1
        self._link.later(lambda: self._return_from_rest(publication), delay_s=delay_s)

    def _return_from_rest(self, publication: Publication) -> None:
        if publication in self._resting:
            self._resting.remove(publication)
            self._admit(publication)

    # --- sending

    def _pump(self) -> None:
        """Send in turns while the window has room, and look at the socket in between."""
        burst = 0
        while self._ready and self._in_flight < self._window:
            if self._has_backlog():
                return  # goes on when it has left
            if burst >= _BURST_BYTES:
                self._pump_later()
                return
            burst += self._send_one(self._ready.popleft())

    def _has_backlog(self) -> bool:
        connection = self._link.connection
        return connection is not None and fastpath.backlog(connection) >= _BACKLOG_BYTES

    def _on_drained(self) -> None:
        if self._ready:
            self._pump_later()

    def _pump_later(self) -> None:
        if not self._is_pumping:
            self._is_pumping = True
            self._link.later(self._pump_on, delay_s=0)

    def _pump_on(self) -> None:
        self._is_pumping = False
        self._pump()

    def _send_one(self, outlet: Outlet) -> int:
        publication = outlet.publication
        assert publication is not None  # noqa: S101 - only outlets in use are ready
        try:
            body = publication.next_body()
        except Exception as exc:  # noqa: BLE001 - the caller's own sequence: he gets it
            publication.end(exc)
            body = None
        if body is None:
            self._discard(outlet)
            return 0
        size = sum(len(piece) for piece in body)
        fastpath.publish(outlet.channel, publication.route, self._properties(), body)
        self._note_sent(outlet, publication, size)
        if self._on_sent is not None and publication.sent == len(publication.bodies):
            self._on_sent(publication.route, body)
        return size

    def _note_sent(self, outlet: Outlet, publication: Publication, size: int) -> None:
        outlet.tag += 1
        outlet.unconfirmed[outlet.tag] = size
        if len(outlet.unconfirmed) == 1:
            self._expect_confirm(outlet, publication)
        self._in_flight += size
        publication.sent += 1
        if publication.sent > publication.sent_most:
            publication.sent_most = publication.sent
        else:
            self._counters.resent_messages += 1
        if publication.sent < len(publication.bodies):
            self._ready.append(outlet)

    def _expect_confirm(self, outlet: Outlet, publication: Publication) -> None:
        times = min(2**publication.unanswered, _MOST_PATIENCE)
        self._link.expect(outlet, f"the confirm of {publication.name}", times=times)

    def _properties(self) -> BasicProperties:
        return BasicProperties(delivery_mode=2, user_id=self._user)

    # --- what the broker says of it

    def _on_confirm(self, outlet: Outlet, frame: Method) -> None:
        confirm, publication = frame.method, outlet.publication
        if publication is None or outlet not in self._outlets:
            return
        if isinstance(confirm, spec.Basic.Nack):
            self._counters.nacked_messages += 1
            self._discard(outlet)
            self._retry(publication, _NOT_TAKEN)
        else:
            sizes = outlet.confirmed(confirm.delivery_tag, multiple=confirm.multiple)
            self._count_confirmed(sizes)
            self._come_on(outlet, publication)
            publication.note_confirmed(outlet.first_unconfirmed(publication))
            self._finish_if_done(outlet, publication)
        self._pump()

    def _come_on(self, outlet: Outlet, publication: Publication) -> None:
        if publication.failures:
            self._link.tell(LinkState.SERVED, what=publication.name)
        publication.failures = publication.unanswered = 0
        if outlet.unconfirmed:
            self._expect_confirm(outlet, publication)
        else:
            self._link.came(outlet)

    def _count_confirmed(self, sizes: list[int]) -> None:
        self._in_flight -= sum(sizes)
        self._counters.published_messages += len(sizes)
        self._counters.published_bytes += sum(sizes)

    def _finish_if_done(self, outlet: Outlet, publication: Publication) -> None:
        if outlet.unconfirmed or publication.sent < len(publication.bodies):
            return
        publication.end(None)
        outlet.publication = None
        if len(self._spare) < _SPARE or self._waiting:
            self._spare.append(outlet)
            self._assign()
        else:
            self._discard(outlet)

    def _on_return(self, outlet: Outlet, method: spec.Basic.Return) -> None:
        publication = outlet.publication
        if publication is None or outlet not in self._outlets:
            return
        self._discard(outlet)
        if time.monotonic() - self._up_since < self._recovery_s:
            self._retry(publication, method.reply_text)
        else:
            said = f"no queue takes it ({method.reply_text}); provision it on the broker first"
            publication.end(Unroutable(f"{publication.name}: {said}"))
        self._assign()
