"""Message bodies past pika's copies, and the other places that reach past its public interface.

Stock pika copies each byte three times on its way out and, reading 4 KiB at a time into a buffer
that it builds anew each time, some thirty times on its way in. Here bodies leave from where they
lie and arrive in pieces that are joined once. Everything private that is used is named in this
module, tried once against the pika that is installed, and not used if anything differs.
"""

# Private members are what this module is about:
# ruff: noqa: SLF001

from __future__ import annotations

import fcntl
import functools
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from itertools import islice

import pika
from pika import BasicProperties, SelectConnection, frame, spec
from pika.adapters.utils import io_services_utils
from pika.channel import Channel

from tasuki.ports import Buffer, Frames, Route
from tasuki.transport.amqp.answers import Flow

_KNOWN = ("1.3.", "1.4.")
_RECEIVE_BYTES = 256 * 1024  # at once; pika's 4096 make a system call of each 4 KiB
_READ_BYTES = 2**20  # before other events have their turn
_PIECES = 64  # given to one system call
_HEAD = struct.Struct(">BHI")
_END = bytes([spec.FRAME_END])
_TYPES = {spec.FRAME_METHOD, spec.FRAME_HEADER, spec.FRAME_BODY, spec.FRAME_HEARTBEAT}


def connection_class(*, is_fast: bool) -> type[SelectConnection]:
    """The connection to use: the fast one if it is wanted and fits the installed pika."""
    chosen: type[SelectConnection] = FastConnection if is_fast and fits() else SelectConnection
    return chosen


def publish(channel: Channel, route: Route, properties: BasicProperties, body: Frames) -> None:
    """Send one message; its body's pieces are read until it has left, and not copied."""
    if isinstance(channel.connection, FastConnection):
        channel.connection.send(channel.channel_number, route, properties, body)
    else:
        joined = b"".join(body)
        channel.basic_publish(route.exchange, route.key, joined, properties, mandatory=True)


def backlog(connection: SelectConnection) -> int:
    """How many bytes wait for the socket; 0 if nobody would tell when they have left."""
    transport = connection._transport
    return transport.get_write_buffer_size() if isinstance(transport, _FastTransport) else 0


def flow(connection: SelectConnection) -> Flow:
    """How much has moved on a connection so far."""
    given = connection.bytes_sent
    return Flow(given=given, left=given - _held_back(connection), arrived=connection.bytes_received)


def _held_back(connection: SelectConnection) -> int:
    """Bytes that wait for the socket, and those in it that the other end has not taken yet."""
    transport = connection._transport
    if transport is None:
        return 0
    waiting: int = transport.get_write_buffer_size()
    try:
        taken = fcntl.ioctl(transport._sock, termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # closed, or not to be known on this system
        return waiting
    return waiting + int.from_bytes(taken, sys.byteorder)


def when_drained(connection: SelectConnection, action: Callable[[], None]) -> None:
    """Have `action` called whenever all that waited for the socket has left."""
    if isinstance(connection._transport, _FastTransport):
        connection._transport.on_drained = action


def abandon(connection: SelectConnection, *, is_loop_dead: bool = False) -> None:
    """Close the socket without the goodbye that pika's own close waits for."""
    transport = connection._transport
    if transport is not None:
        transport.abort()
        if is_loop_dead:
            transport._sock.close()  # nothing else will


class FrameReader:
    """Frames out of received bytes; a body frame as the pieces in which it arrives."""

    def __init__(self) -> None:
        self._rest = b""  # the start of a frame that is no body frame
        self._left = 0  # of a body frame, its end mark included
        self._channel = 0

    def feed(self, data: bytes) -> Iterator[frame.Frame]:
        """The frames and pieces in these bytes and what was left before."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        view, at = memoryview(data), 0
        while at < len(view):
            if self._left:
                piece = view[at : at + self._left]
                at += len(piece)
                yield from self._body(piece)
            elif len(view) - at < _HEAD.size or view[at] not in _TYPES:
                self._rest = data[at:]
                return
            else:
                kind, channel, size = _HEAD.unpack_from(view, at)
                if kind == spec.FRAME_BODY:
                    self._left, self._channel = size + 1, channel
                    at += _HEAD.size
                    continue
                end = at + _HEAD.size + size + 1
                if end > len(view):
                    self._rest = data[at:]
                    return
                yield frame.decode_frame(data[at:end])[1]
                at = end

    def unknown(self) -> bytes:
        """Bytes that are no frame, such as another protocol's greeting: pika judges them."""
        rest = self._rest
        return rest if rest and rest[0] not in _TYPES else b""

    def _body(self, piece: memoryview) -> Iterator[frame.Frame]:
        self._left -= len(piece)
        if not self._left:
            if piece[-1] != spec.FRAME_END:
                raise pika.exceptions.InvalidFrameError("Invalid FRAME_END marker")
            piece = piece[:-1]
        if piece:
            yield frame.Body(self._channel, piece)


def message_pieces(
    channel: int, route: Route, properties: BasicProperties, body: Frames, *, most: int
) -> list[Buffer]:
    """A message as buffers in the order of the wire, `most` bytes of body a frame."""
    method = spec.Basic.Publish(exchange=route.exchange, routing_key=route.key, mandatory=True)
    size = sum(len(piece) for piece in body)
    pieces: list[Buffer] = []
    glue = frame.Method(channel, method).marshal()
    glue += frame.Header(channel, size, properties).marshal()
    for piece in body:
        for at in range(0, len(piece), most):
            part = memoryview(piece)[at : at + most]
            pieces += [glue + _HEAD.pack(spec.FRAME_BODY, channel, len(part)), part]
            glue = _END
    return [*pieces, glue]


class _FastTransport(io_services_utils._AsyncPlaintextTransport):  # type: ignore[misc]
    """pika's plain socket, which sends many buffers with one system call."""

    on_drained: Callable[[], None] | None = None

    def _produce(self) -> None:
        waiting = self._tx_buffers
        while waiting:
            sent = self._sock.sendmsg(list(islice(waiting, _PIECES)))
            self._tx_buffered_byte_count -= sent
            while sent:
                first = waiting.popleft()
                if sent < len(first):
                    waiting.appendleft(memoryview(first)[sent:])
                sent -= min(sent, len(first))
        if self.on_drained is not None:
            self.on_drained()


class FastConnection(SelectConnection):  # type: ignore[misc]
    """pika's connection with another way in and out for bodies."""

    def send(self, channel: int, route: Route, properties: BasicProperties, body: Frames) -> None:
        most = self._body_max_length
        pieces = message_pieces(channel, route, properties, body, most=most)
        if isinstance(self._transport, _FastTransport):
            self._output_marshaled_frames(pieces)
            self._transport._on_socket_writable()  # now, if it is; pika would ask first
        else:
            self._output_marshaled_frames([b"".join(pieces)])  # TLS seals each by itself

    def _proto_connection_made(self, transport: object) -> None:
        self._frames = FrameReader()
        if type(transport) is io_services_utils._AsyncPlaintextTransport:
            transport.__class__ = _FastTransport
        transport._MAX_RECV_BYTES = _RECEIVE_BYTES  # type: ignore[attr-defined]
        transport._MAX_CONSUME_BYTES = _READ_BYTES  # type: ignore[attr-defined]
        super()._proto_connection_made(transport)

    def _on_data_available(self, data_in: bytes) -> None:
        self.bytes_received += len(data_in)  # heartbeats are judged by it
        for arrived in self._frames.feed(data_in):
            self._process_frame(arrived)
        if unknown := self._frames.unknown():
            super()._on_data_available(unknown)


@functools.cache
def fits() -> bool:
    """Whether the pika that is installed is one that all of this was written for."""
    if not pika.__version__.startswith(_KNOWN) or not _has_its_parts():
        return False
    try:
        return _reads() and _writes()
    except Exception:  # noqa: BLE001 - a pika that differs may fail in any way
        return False


def _has_its_parts() -> bool:
    transport = io_services_utils._AsyncPlaintextTransport
    mentioned = io_services_utils._AsyncTransportBase._produce.__code__.co_names
    return (
        hasattr(SelectConnection, "_proto_connection_made")
        and hasattr(SelectConnection, "_on_data_available")
        and hasattr(SelectConnection, "_output_marshaled_frames")
        and hasattr(SelectConnection, "_process_frame")
        and all(hasattr(transport, name) for name in ("_produce", "_consume", "abort"))
        and {"_tx_buffers", "_tx_buffered_byte_count", "_sock"} <= set(mentioned)
    )


_SAMPLE = (b"head", memoryview(bytes(range(256)) * 3), b"", b"tail")
_ROUTE = Route(exchange="some", key="where")


def _sample(most: int) -> bytes:
    return b"".join(message_pieces(7, _ROUTE, BasicProperties(), _SAMPLE, most=most))


def _writes() -> bool:
    """What we write, pika reads as the message that was meant."""
    wire, frames = _sample(100), []
    while wire:
        size, arrived = frame.decode_frame(wire)
        if not size:
            return False
        frames.append(arrived)
        wire = wire[size:]
    return _is_sample(frames)


def _reads() -> bool:
    """However the bytes are cut, the same frames come out."""
    for step in (1, 6, 7, 8, 99, 10_000):
        reader, wire = FrameReader(), _sample(100) + frame.Heartbeat().marshal()
        frames = [
            arrived
            for at in range(0, len(wire), step)
            for arrived in reader.feed(wire[at : at + step])
        ]
        if not isinstance(frames.pop(), frame.Heartbeat) or not _is_sample(frames):
            return False
    return True


def _is_sample(frames: list[frame.Frame]) -> bool:
    method, header, *bodies = frames
    return (
        isinstance(method.method, spec.Basic.Publish)
        and (method.method.exchange, method.method.routing_key) == (_ROUTE.exchange, _ROUTE.key)
        and header.body_size == sum(len(piece) for piece in _SAMPLE)
        and b"".join(body.fragment for body in bodies) == b"".join(_SAMPLE)
        and {one.channel_number for one in frames} == {7}
    )
