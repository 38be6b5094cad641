"""A proxy that understands AMQP just enough to withhold some of the broker's answers.

As a broker does whose node has lost touch with the one that would have to answer: the connection
stays up, heartbeats flow, and what is waited for never comes.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from pika import spec

from support.proxy import Proxy

CONFIRM = (spec.Basic.Ack.INDEX, spec.Basic.Nack.INDEX)
CONFIRMS_ON = (spec.Confirm.SelectOk.INDEX,)
CHANNEL = (spec.Channel.OpenOk.INDEX,)
CHANNEL_END = (spec.Channel.CloseOk.INDEX,)
PREFETCH = (spec.Basic.QosOk.INDEX,)
READER = (spec.Basic.ConsumeOk.INDEX,)
COUNT = (spec.Queue.DeclareOk.INDEX,)

_HEAD = struct.Struct(">BHI")
_METHOD = 1
_SIGHT = 64 * 1024


@dataclass(eq=False)
class _Connection:
    """What becomes of one connection's bytes."""

    swallowed: frozenset[int] = frozenset()
    most: int | None = None  # bytes from the client that are passed on
    passed: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    rest: bytes = b""


class Swallowing(Proxy):
    """Withholds answers on the connections that there are when it is told to; newer ones work."""

    def __init__(self, port: int) -> None:
        self._each: dict[socket.socket, _Connection] = {}
        self.swallowed = 0
        self._bytes_per_s: float | None = None
        super().__init__(port)
        # Little of what the clients send may wait out of their sight.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SIGHT)

    def slow_down(self, *, bytes_per_s: float) -> None:
        """Carry no more than that from each client."""
        self._bytes_per_s = bytes_per_s

    def swallow(self, *methods: int) -> None:
        """Let none of these answers through, on any connection that is open now."""
        for connection in list(self._each.values()):
            connection.swallowed = frozenset(methods)

    def hold_after(self, count: int) -> None:
        """Pass on so many more bytes of each client that is connected now, and then none."""
        for connection in list(self._each.values()):
            connection.most = connection.passed + count

    def close(self) -> None:
        for connection in list(self._each.values()):
            connection.released.set()
        super().close()

    def _begin(self, client: socket.socket, server: socket.socket) -> None:
        self._each[client] = self._each[server] = _Connection()

    def _pass(self, source: socket.socket, data: bytes, *, is_client: bool) -> bytes:
        connection = self._each[source]
        if not is_client:
            return b"".join(self._answers(connection, data))
        if connection.most is not None and connection.passed + len(data) > connection.most:
            connection.released.wait()  # the client finds its socket full
        connection.passed += len(data)
        if self._bytes_per_s is not None:
            time.sleep(len(data) / self._bytes_per_s)  # what a slow network does; no wait of a test
        return data

    def _answers(self, connection: _Connection, data: bytes) -> Iterator[bytes]:
        connection.rest += data
        while len(connection.rest) >= _HEAD.size:
            kind, _, size = _HEAD.unpack_from(connection.rest)
            end = _HEAD.size + size + 1
            if len(connection.rest) < end:
                return
            frame, connection.rest = connection.rest[:end], connection.rest[end:]
            if kind == _METHOD and _index(frame) in connection.swallowed:
                self.swallowed += 1
            else:
                yield frame


def _index(frame: bytes) -> int:
    return int.from_bytes(frame[_HEAD.size : _HEAD.size + 4], "big")
