"""A TCP proxy in this process that can cut, stall and restore the connections through it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset, as a crashed peer would
_PIECE = 64 * 1024


class Proxy:
    """Listens on a free port of 127.0.0.1 and forwards to `port` there."""

    def __init__(self, port: int, *, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        self._is_refusing = False
        self._on_bytes: Callable[[int], None] | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.forwarded = 0
        self._run(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self) -> None:
        """Reset every connection there is; new ones are welcome."""
        with self._lock:
            doomed, self._sockets = self._sockets, set()
        for end in doomed:
            _reset(end)

    def refuse(self) -> None:
        """Cut, and take no connection until `restore`."""
        self._is_refusing = True
        self.cut()

    def stall(self) -> None:
        """Hold all bytes back, as a network that drops every packet."""
        self._flowing.clear()

    def restore(self) -> None:
        self._is_refusing = False
        self._flowing.set()

    def cut_after(self, count: int) -> None:
        """Cut once, when this many more bytes have gone from client to broker."""
        goal = self.forwarded + count

        def check(forwarded: int) -> None:
            if forwarded >= goal:
                self._on_bytes = None
                self.cut()

        self._on_bytes = check

    def close(self) -> None:
        self.refuse()
        self._flowing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            if self._is_refusing:
                raise ConnectionRefusedError
            server = socket.create_connection(self._target, timeout=10)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        with self._lock:
            self._sockets |= {client, server}
        self.connections += 1
        self._begin(client, server)
        self._run(self._pump, client, server, True)
        self._run(self._pump, server, client, False)

    def _pump(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        try:
            while data := source.recv(_PIECE):
                self._flowing.wait()
                sink.sendall(self._pass(source, data, is_client=counts))
                if counts:
                    self._count(len(data))
        except OSError:
            pass  # cut, by us or by an end: the other end learns of it below
        for end in (source, sink):
            with self._lock:
                self._sockets.discard(end)
            _reset(end)

    def _begin(self, client: socket.socket, server: socket.socket) -> None:
        """Two sockets are a connection from now on."""

    def _pass(self, source: socket.socket, data: bytes, *, is_client: bool) -> bytes:
        """What of these bytes the other end gets."""
        return data

    def _count(self, size: int) -> None:
        self.forwarded += size
        if self._on_bytes is not None:
            self._on_bytes(self.forwarded)


def _reset(end: socket.socket) -> None:
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in recv
    except OSError:
        pass  # it is gone already
    end.close()
