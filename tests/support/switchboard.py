"""Stands in for epmd, so that the links between Erlang nodes can be cut and healed without root.

An Erlang node asks epmd at which port another node listens. Here every node has an epmd of its own,
in this process, which names it a proxy of ours instead. A proxy that is stalled is a network that
drops every packet: nobody is told, both sides find out by their own ticks, and a connection that
is tried meanwhile hangs, all of which an `erlang:disconnect_node` or a wrong cookie would not show.
"""

from __future__ import annotations

import secrets
import socketserver
import struct
import threading
from contextlib import suppress
from typing import Self

from support.proxy import Proxy
from support.rabbit import HOST

_ALIVE, _ALIVE_ANSWER = 120, 118
_PORT_PLEASE, _PORT_ANSWER = 122, 119
_NAMES = 110
_UNKNOWN = 1
_VISIBLE, _TCP = 77, 0
_VERSIONS = (6, 5)  # of the distribution's protocol, the highest and the lowest


class Switchboard:
    """The nodes of one cluster and the links between each two of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ports: dict[str, int] = {}
        self._directories: dict[str, Directory] = {}
        self._links: dict[tuple[str, str], Proxy] = {}
        self._registered: dict[str, list[int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def directory(self) -> Directory:
        """An epmd for one node; `add` tells whose it is."""
        return Directory(self)

    def add(self, directory: Directory, node: str, dist_port: int) -> None:
        """A node that listens for others at this port whenever it is up."""
        name = _short(node)
        directory.owner = name
        self._directories[name] = directory
        for other in self._ports:
            self._links[other, name] = Proxy(dist_port)
            self._links[name, other] = Proxy(self._ports[other])
        self._ports[name] = dist_port

    def remove(self, node: str) -> None:
        """It never comes back."""
        name = _short(node)
        for ends in [ends for ends in self._links if name in ends]:
            self._links.pop(ends).close()
        self._ports.pop(name)
        self._directories.pop(name).close()

    def cut_off(self, node: str) -> None:
        """Every packet between it and the others is lost from now on."""
        for link in self._links_of(node):
            link.stall()

    def heal(self, node: str) -> None:
        for link in self._links_of(node):
            link.restore()

    def close(self) -> None:
        for link in self._links.values():
            link.close()
        for directory in self._directories.values():
            directory.close()

    def register(self, name: str, port: int) -> None:
        """Also nodes that we never heard of: RabbitMQ starts some that live for a second."""
        with self._lock:
            self._registered.setdefault(name, []).append(port)

    def forget(self, name: str, port: int) -> None:
        with self._lock:
            self._registered[name].remove(port)

    def port(self, *, asked_by: str, of: str) -> int | None:
        """Where a node finds another one that is up; itself it finds without a proxy."""
        ports = self._registered.get(of)
        if not ports:
            return None
        link = self._links.get((asked_by, of))
        return link.port if link else ports[-1]

    def _links_of(self, node: str) -> list[Proxy]:
        return [link for ends, link in self._links.items() if _short(node) in ends]


class Directory(socketserver.ThreadingTCPServer):
    """One node's epmd."""

    daemon_threads = True
    block_on_close = False  # a node that is up keeps its connection: registered is who has one

    def __init__(self, board: Switchboard) -> None:
        super().__init__((HOST, 0), _Caller)
        self.board = board
        self.owner = ""
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, name="epmd", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Caller(socketserver.StreamRequestHandler):
    """One connection: a question, or a node that stays registered as long as it lasts."""

    server: Directory

    def handle(self) -> None:
        with suppress(OSError):
            request = self.rfile.read(int.from_bytes(self.rfile.read(2), "big"))
            if request:
                self._answer(request[0], request[1:])

    def _answer(self, kind: int, body: bytes) -> None:
        if kind == _ALIVE:
            (port,), (size,) = struct.unpack("!H", body[:2]), struct.unpack("!H", body[8:10])
            self._keep_alive(body[10 : 10 + size].decode(), port)
        elif kind == _PORT_PLEASE:
            self._send(self._located(body.decode()))
        elif kind == _NAMES:
            self._send(struct.pack("!I", self.server.port) + self._listed())

    def _keep_alive(self, name: str, port: int) -> None:
        board = self.server.board
        creation = 4 + secrets.randbelow(2**30)  # tells a node from the one before it of its name
        board.register(name, port)
        try:
            self._send(struct.pack("!BBI", _ALIVE_ANSWER, 0, creation))
            self.rfile.read(1)
        finally:
            board.forget(name, port)

    def _located(self, name: str) -> bytes:
        port = self.server.board.port(asked_by=self.server.owner, of=name)
        if port is None:
            return struct.pack("!BB", _PORT_ANSWER, _UNKNOWN)
        told = struct.pack(
            "!BBHBBHHH", _PORT_ANSWER, 0, port, _VISIBLE, _TCP, *_VERSIONS, len(name)
        )
        return told + name.encode() + struct.pack("!H", 0)

    def _listed(self) -> bytes:
        owner = self.server.owner
        port = self.server.board.port(asked_by=owner, of=owner)
        return b"" if port is None else f"name {owner} at port {port}\n".encode()

    def _send(self, answer: bytes) -> None:
        self.wfile.write(answer)


def _short(node: str) -> str:
    return node.partition("@")[0]
