"""The end of the channel in a process of the site's code: takes turns, says what came of them.

Such a process ends at once when its service does, so that no trainer of a dead service goes on.
"""

from __future__ import annotations

import errno
import os
import queue
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

from tasuki.errors import MessageError, TrainerError
from tasuki.moments import UNWATCHED, Moment, Moments
from tasuki.trainer import Turn
from tasuki_site.trainer import channel
from tasuki_site.trainer.failure import failure_told
from tasuki_site.trainer.request import TurnRequest
from tasuki_site.trainer.result import outcome_of


class Connection:
    """The child's end of the channel."""

    def __init__(self, end: socket.socket, moments: Moments = UNWATCHED) -> None:
        self._socket = end
        self._moments = moments
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._turns: queue.SimpleQueue[TurnRequest | None] = queue.SimpleQueue()
        self._first: TurnRequest | None = None
        self._has_first = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def first_request(self) -> TurnRequest | None:
        """The turn that this process was started for; `next_request` still gives it."""
        self._has_first.wait()
        return self._first

    def next_request(self, *, timeout_s: float | None = None) -> TurnRequest | None:
        """Blocks until there is a turn; None: there will be no more.

        Raises:
            TimeoutError: there is none yet.
        """
        try:
            request = self._turns.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError from None
        if request is not None:
            self._reach(Moment.TRAINER_ASKED, request)
        return request

    def open(self, request: TurnRequest) -> Turn:
        """The turn as the site's code sees it."""
        return request.open(self.log, loaded=partial(self._reach, Moment.TRAINER_LOADED, request))

    def log(self, values: Mapping[str, float]) -> None:
        self._send({"log": dict(values)})

    def finish(self, request: TurnRequest, result: object) -> None:
        self._end_copy()
        hold_standard_descriptors()
        self._reach(Moment.TRAINER_RETURNED, request)
        outcome = outcome_of(request, result)
        self._reach(Moment.TRAINER_SAVED, request)
        self._send(asdict(outcome))

    def fail(self, exc: BaseException) -> None:
        self._end_copy()
        self._send(failure_told(exc))

    def say_begun(self, request: TurnRequest) -> None:
        """This process, one of several, has this turn."""
        self._send({"begun": request.to_map()})

    def say_through(self) -> None:
        """This process, one of several, is through with its turn; no copy of it says so."""
        if os.getpid() == self._pid:
            self._send({"through": True})

    def say_gone(self, *, has_result: bool) -> None:
        """This process, one of several, ends; whether a turn's result would have been its own."""
        self._send({"gone": has_result})

    def say_ended(self) -> None:
        """This process takes no more turns; one that was given to it meanwhile was not begun."""
        self._send({"ended": True})

    def _reach(self, moment: Moment, request: TurnRequest) -> None:
        self._moments.reach(moment, request.id)

    def _end_copy(self) -> None:
        """One that os.fork made has no turn to answer; the original answers it."""
        if os.getpid() != self._pid:
            said = (
                b"a copy of the trainer's process (os.fork) came out of its turn, and was ended\n"
            )
            with suppress(OSError):
                os.write(2, said)
            os._exit(0)

    def _send(self, message: Mapping[str, Any]) -> None:
        channel.flush_output()
        try:
            packed = channel.pack(message)
        except MessageError as exc:
            raise TrainerError(f"{exc}: log less at once, or fewer metrics") from exc
        with self._lock:
            self._send_packed(packed)

    def _send_packed(self, packed: bytes) -> None:
        try:
            self._socket.sendall(packed)
        except OSError as exc:
            if exc.errno != errno.EBADF:
                raise
            said = "the trainer's code closed the descriptor by which Tasuki hears from it: leave"
            with suppress(OSError):
                os.write(2, f"{said} alone what it did not open itself\n".encode())
            os._exit(1)

    def _listen(self) -> None:
        while (message := channel.receive(self._socket)) is not None:
            request = message.get("request")
            self._take(None if request is None else TurnRequest(**request))
        # The service is gone, and with it whoever wanted this result.
        os._exit(0)

    def _take(self, request: TurnRequest | None) -> None:
        if not self._has_first.is_set():
            self._first = request
            self._has_first.set()
        self._turns.put(request)


def hold_standard_descriptors() -> None:
    """Whoever closed one gets nothing in its place that a print would write into."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is this one
