"""One connection to the broker: its thread, and making it again when it breaks.

pika has no connection that threads may share, so one thread owns each and does nothing else:
heartbeats flow whatever the rest of the process does. pika's `SelectConnection` rather than its
`BlockingConnection`, because that one awaits confirms one by one and stalls acks behind writes.
"""

from __future__ import annotations

import random
import threading
import zlib
from collections import deque
from collections.abc import Callable
from typing import Protocol

from pika import SelectConnection
from pika.adapters.select_connection import IOLoop

from tasuki.transport.amqp import fastpath, refusals
from tasuki.transport.amqp.settings import AmqpSettings
from tasuki.transport.amqp.state import LinkState

CLOSING_S = 5.0
"""How long an orderly goodbye may take: a broker that is short of memory reads none."""


class LinkUser(Protocol):
    """Who works on a connection. Called on its thread."""

    def on_up(self, connection: SelectConnection) -> None:
        """A new connection is open."""

    def on_change(self, state: LinkState, reason: str, error: Exception | None) -> None:
        """It went up or down, was refused (with the error to raise) or blocked."""


class Link:
    """A connection that is made again until it is stopped."""

    def __init__(self, name: str, settings: AmqpSettings) -> None:
        self.name = name
        self._settings = settings
        self._lock = threading.Lock()
        self._inbox: deque[Callable[[], None]] = deque()
        self._ioloop: IOLoop | None = None
        self._connection: SelectConnection | None = None
        self._attempt = 0
        # Each identity begins somewhere else, and always there.
        self._node = zlib.crc32(settings.user.encode()) % len(settings.nodes)
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=f"tasuki-{name}", daemon=True)
        self._user: LinkUser

    def start(self, user: LinkUser) -> None:
        self._user = user
        self._thread.start()

    def call(self, action: Callable[[], None]) -> None:
        """Have the thread do this soon, in the order of the calls. From any thread."""
        with self._lock:
            self._inbox.append(action)
            if self._ioloop is not None:
                self._ioloop.add_callback_threadsafe(self._work_off)

    def later(self, action: Callable[[], None], *, delay_s: float) -> None:
        """Do this after a while. On the link's thread only; forgotten if the thread recovers."""
        if self._ioloop is not None:
            self._ioloop.call_later(delay_s, action)

    def backoff_s(self, attempt: int) -> float:
        """A random pause, longer the more often it failed: many sites must not return as one."""
        longest = self._settings.backoff_first_s * 2 ** min(attempt, 20)
        return random.uniform(0, min(longest, self._settings.backoff_most_s))  # noqa: S311 - jitter

    @property
    def connection(self) -> SelectConnection | None:
        """The open connection, on the link's thread only."""
        connection = self._connection
        return connection if connection is not None and connection.is_open else None

    def stop(self) -> None:
        """Disconnect once everything asked for before is done, and end the thread."""
        self.call(self._goodbye)

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        while not self._is_stopping:
            loop = IOLoop()
            with self._lock:
                self._ioloop = loop
            loop.add_callback(self._work_off)
            self.later(self._connect, delay_s=self.backoff_s(self._attempt) * bool(self._attempt))
            try:
                loop.start()
            except Exception as exc:  # noqa: BLE001 - the thread's supervision: see below
                # pika asserts in its callbacks. Whatever it was, a new connection on a new loop
                # is a sound state, and publications and consumers pick up from there.
                self._drop(exc)
            with self._lock:
                self._ioloop = None
            loop.close()

    def _drop(self, error: Exception) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            fastpath.abandon(connection, is_loop_dead=True)
        self._user.on_change(LinkState.DOWN, repr(error), error)
        self._attempt += 1

    def _work_off(self) -> None:
        while self._inbox:
            self._inbox.popleft()()

    def _connect(self) -> None:
        if self._is_stopping:
            return
        self._connection = fastpath.connection_class(is_fast=self._settings.is_fast)(
            self._settings.parameters(
                self._settings.nodes[self._node],
                name=f"tasuki {self._settings.user} {self.name}",
            ),
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_failed,
            on_close_callback=self._on_closed,
            custom_ioloop=self._ioloop,
        )

    def _on_open(self, connection: SelectConnection) -> None:
        self._attempt = 0
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._user.on_change(LinkState.UP, "", None)
        self._user.on_up(connection)

    def _on_failed(self, _: SelectConnection, error: Exception) -> None:
        refused = refusals.login_refusal(error, user=self._settings.user)
        refused = refused or refusals.certificate_refusal(error)
        state = LinkState.REFUSED if refused else LinkState.DOWN
        reason = str(refused) if refused else refusals.describe(error)
        self._user.on_change(state, reason, refused)
        self._again()

    def _on_closed(self, _: SelectConnection, error: Exception) -> None:
        if not self._is_stopping:
            self._user.on_change(LinkState.DOWN, refusals.describe(error), None)
        self._again()

    def _again(self) -> None:
        self._connection = None
        self._node = (self._node + 1) % len(self._settings.nodes)
        if self._is_stopping:
            self._end()
            return
        self.later(self._connect, delay_s=self.backoff_s(self._attempt))
        self._attempt += 1

    def _on_blocked(self, _: SelectConnection, frame: object) -> None:
        reason = getattr(getattr(frame, "method", None), "reason", "")
        self._user.on_change(LinkState.BLOCKED, str(reason), None)

    def _on_unblocked(self, _: SelectConnection, __: object) -> None:
        self._user.on_change(LinkState.UNBLOCKED, "", None)

    def _goodbye(self) -> None:
        self._is_stopping = True
        if self._connection is None:
            self._end()
            return
        self.later(self._abort, delay_s=CLOSING_S)
        if not (self._connection.is_closing or self._connection.is_closed):
            self._connection.close()

    def _abort(self) -> None:
        if self._connection is not None:
            fastpath.abandon(self._connection)
        self.later(self._end, delay_s=1.0)  # sooner, once the socket is closed

    def _end(self) -> None:
        if self._ioloop is not None:
            self._ioloop.stop()
