"""One connection to the broker: its thread, and making it again when it breaks or falls silent.

pika has no connection that threads may share, so one thread owns each and does nothing else:
heartbeats flow whatever the rest of the process does. pika's `SelectConnection` rather than its
`BlockingConnection`, because that one awaits confirms one by one and stalls acks behind writes.
"""

from __future__ import annotations

import random
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from pika import SelectConnection
from pika.adapters.select_connection import IOLoop

from tasuki.transport.amqp import fastpath, refusals
from tasuki.transport.amqp.answers import Answers
from tasuki.transport.amqp.passwords import Passwords
from tasuki.transport.amqp.settings import AmqpSettings
from tasuki.transport.amqp.state import LinkState, StateChange

CLOSING_S = 5.0
"""How long an orderly goodbye may take: a broker that is short of memory reads none."""


class LinkUser(Protocol):
    """Who works on a connection. Called on its thread."""

    def on_up(self, connection: SelectConnection) -> None:
        """A new connection is open."""

    def on_change(self, change: StateChange) -> None:
        """It went up or down, was refused or blocked, or owed an answer for too long."""


class Link:
    """A connection that is made again until it is stopped, to one node of the broker or another."""

    def __init__(self, name: str, settings: AmqpSettings) -> None:
        self.name = name
        self._settings = settings
        self._lock = threading.Lock()
        self._inbox: deque[Callable[[], None]] = deque()
        self._ioloop: IOLoop | None = None
        self._connection: SelectConnection | None = None
        self._answers = Answers(limit_s=settings.answer_s)
        self._is_looking = False
        self._is_blocked = False
        self._gave_up = ""
        self._attempt = 0
        self._passwords = Passwords(settings.candidates)
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

    @property
    def nodes(self) -> int:
        """How many there are to go to."""
        return len(self._settings.nodes)

    def tell(self, state: LinkState, *, what: str = "", reason: str = "") -> None:
        """Tell the user of a change. On the link's thread only."""
        self._user.on_change(self._change(state, what=what, reason=reason))

    def stop(self) -> None:
        """Disconnect once everything asked for before is done, and end the thread."""
        self.call(self._goodbye)

    def join(self) -> None:
        self._thread.join()

    # --- answers, all on the link's thread

    def expect(self, key: object, what: str, *, times: float = 1) -> None:
        """The broker owes an answer from now on; in place of what `key` waited for so far.

        A connection whose answer does not come in time is given up.
        """
        if self._connection is None:
            return
        flow = fastpath.flow(self._connection)
        self._answers.expect(key, what, now=time.monotonic(), flow=flow, times=times)
        if not self._is_looking:
            self._look_later()

    def came(self, key: object) -> None:
        """The answer came, or is not waited for any more."""
        self._answers.came(key)

    def go_elsewhere(self, reason: str) -> None:
        """This node cannot do what another may: close the connection, and make one to the next."""
        connection = self.connection
        if connection is not None:
            self._gave_up = reason
            connection.close()
            self.expect(self, "the end of the connection")

    def _look_later(self) -> None:
        self._is_looking = True
        look = partial(self._look, self._connection)
        self.later(look, delay_s=self._answers.look_in_s(now=time.monotonic()))

    def _look(self, connection: SelectConnection) -> None:
        if connection is not self._connection:
            return  # a timer of one that is gone
        self._is_looking = False
        if not self._answers.are_due:
            return
        now = time.monotonic()
        if self._is_blocked:
            self._answers.excuse(now=now)  # it has said that it takes nothing
        overdue = self._answers.overdue(now=now, flow=fastpath.flow(connection))
        if overdue is None:
            self._look_later()
        else:
            self._gave_up = f"no answer: waited for {overdue}"
            self.tell(LinkState.SILENT, reason=self._gave_up)
            fastpath.abandon(connection)

    # --- the thread

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
        connection = self._forget_connection()
        if connection is not None:
            fastpath.abandon(connection, is_loop_dead=True)
        self._user.on_change(self._change(LinkState.DOWN, reason=repr(error), error=error))
        self._attempt += 1

    def _forget_connection(self) -> SelectConnection | None:
        """It is gone, with its timers perhaps, and nothing on it is answered any more."""
        connection, self._connection = self._connection, None
        self._answers = Answers(limit_s=self._settings.answer_s)
        self._is_looking = self._is_blocked = False
        self._gave_up = ""
        return connection

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
                password=self._passwords.next(),
            ),
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_failed,
            on_close_callback=self._on_closed,
            custom_ioloop=self._ioloop,
        )

    def _on_open(self, connection: SelectConnection) -> None:
        self._attempt = 0
        self._passwords.was_taken()
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self.tell(LinkState.UP)
        self._user.on_up(connection)

    def _on_failed(self, _: SelectConnection, error: Exception) -> None:
        refused = refusals.login_refusal(error, user=self._settings.user)
        if refused and self._passwords.has_another and not self._is_stopping:
            self._forget_connection()
            self.later(self._connect, delay_s=self.backoff_s(0))
            return
        self._passwords.begin_again()
        refused = refused or refusals.certificate_refusal(error)
        state = LinkState.REFUSED if refused else LinkState.DOWN
        reason = str(refused) if refused else refusals.describe(error)
        self._user.on_change(self._change(state, reason=reason, error=refused))
        self._again()

    def _on_closed(self, _: SelectConnection, error: Exception) -> None:
        if not self._is_stopping:
            self.tell(LinkState.DOWN, reason=self._gave_up or refusals.describe(error))
        self._again()

    def _again(self) -> None:
        self._forget_connection()
        if self._is_stopping:
            self._end()
            return
        self._node = (self._node + 1) % self.nodes
        # Each node is tried once before the pause grows.
        self.later(self._connect, delay_s=self.backoff_s(self._attempt // self.nodes))
        self._attempt += 1

    def _on_blocked(self, _: SelectConnection, frame: object) -> None:
        self._is_blocked = True
        reason = getattr(getattr(frame, "method", None), "reason", "")
        self.tell(LinkState.BLOCKED, reason=str(reason))

    def _on_unblocked(self, _: SelectConnection, __: object) -> None:
        self._is_blocked = False
        self._answers.excuse(now=time.monotonic())
        self.tell(LinkState.UNBLOCKED)

    def _change(
        self, state: LinkState, *, what: str = "", reason: str = "", error: Exception | None = None
    ) -> StateChange:
        node = str(self._settings.nodes[self._node])
        return StateChange(
            link=self.name, state=state, node=node, what=what, reason=reason, error=error
        )

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
