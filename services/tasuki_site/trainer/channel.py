"""How the site service and its trainer's process talk: msgpack maps, each after its length.

The two trust each other no more than messages do: sizes are bounded, and the service reads
nothing but plain values.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import socket
import struct
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgpack

from tasuki.errors import MessageError

Map = Mapping[str, Any]  # Any: plain values as msgpack has them

FD_VARIABLE = "TASUKI_TRAINER_FD"
_LENGTH = struct.Struct(">I")
_MAX_BYTES = 16 * 2**20
_HIGH = 1000
"""The least descriptor of the channel, where there may be so many."""


def connect() -> socket.socket:
    """The end of the channel that a process of the site's code was started with."""
    return out_of_reach(socket.socket(fileno=int(os.environ.pop(FD_VARIABLE))))


def out_of_reach(connection: socket.socket) -> socket.socket:
    """The same by a descriptor that code does not come upon which closes what it does not know."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = _HIGH if soft == resource.RLIM_INFINITY else max(3, min(_HIGH, soft - 8))
    try:
        high = fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, lowest)
    except OSError:  # few descriptors, and those are taken
        return connection
    connection.close()
    return socket.socket(fileno=high)


def end_with(connection: socket.socket) -> None:
    """End this process when the service ends, for one that is told nothing."""

    def watch() -> None:
        while receive(connection) is not None:
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def flush_output() -> None:
    """What was printed before a message is there before it, if the code's output still is one."""
    with suppress(Exception):  # it may be closed, or be anything at all
        sys.stdout.flush()


def pack(message: Map) -> bytes:
    # A text of the site's code may hold what UTF-8 does not: half a pair of surrogates.
    body = msgpack.packb(message, unicode_errors="backslashreplace")
    if len(body) > _MAX_BYTES:
        raise MessageError(f"{len(body)} bytes are too many to pass between site and trainer")
    return _LENGTH.pack(len(body)) + bytes(body)


def receive(connection: socket.socket) -> Map | None:
    """The next message, or None when the other side is gone."""
    head = _read(connection, _LENGTH.size)
    body = head and _read(connection, _LENGTH.unpack(head)[0])
    return msgpack.unpackb(body) if body else None


async def receive_async(reader: asyncio.StreamReader) -> Map | None:
    """The next message, or None when the other side is gone."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > _MAX_BYTES:
            raise MessageError(f"the trainer's process sent a message of {length} bytes")
        return msgpack.unpackb(await reader.readexactly(length))  # type: ignore[no-any-return]
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _read(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        try:
            part = connection.recv(size - len(parts))
        except ConnectionError:
            return b""
        if not part:
            return b""
        parts += part
    return bytes(parts)
