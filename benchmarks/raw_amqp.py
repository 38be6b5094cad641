"""AMQP without a library around it: frames written and read on a blocking socket.

The broker's own floor, as any client could reach it. pika only encodes the method frames.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Iterator

import pika
from pika import frame, spec

FRAME_BYTES = 131072
_CHANNELS = 2047  # what RabbitMQ offers
_HEAD = struct.Struct(">BHI")


class RawClient:
    """One connection with one channel."""

    def __init__(self, host: str, port: int, *, user: str, password: str, vhost: str) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._socket.makefile("rb", buffering=2**20)
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self.read()
        login = f"\0{user}\0{password}".encode()
        self._ask(spec.Connection.StartOk({}, "PLAIN", login, "en_US"), channel=0)
        self._send(spec.Connection.TuneOk(_CHANNELS, FRAME_BYTES, 0), channel=0)
        self._ask(spec.Connection.Open(vhost, insist=True), channel=0)
        self._ask(spec.Channel.Open())

    def confirm_delivery(self) -> None:
        self._ask(spec.Confirm.Select())

    def consume(self, queue: str, *, prefetch: int, arguments: dict[str, object]) -> None:
        self._ask(spec.Basic.Qos(0, prefetch, False))
        self._ask(spec.Basic.Consume(queue=queue, consumer_tag="raw", arguments=arguments))

    def ack(self, tag: int) -> None:
        self._send(spec.Basic.Ack(tag))

    def publish(self, exchange: str, key: str, body: memoryview) -> None:
        method = spec.Basic.Publish(exchange=exchange, routing_key=key, mandatory=True)
        header = frame.Header(1, len(body), pika.BasicProperties(delivery_mode=2)).marshal()
        pieces: deque[bytes | memoryview] = deque([frame.Method(1, method).marshal() + header])
        step = FRAME_BYTES - 8
        for at in range(0, len(body), step):
            part = body[at : at + step]
            pieces += [_HEAD.pack(spec.FRAME_BODY, 1, len(part)), part, b"\xce"]
        self._send_all(pieces)

    def publish_within(
        self, exchange: str, key: str, bodies: Iterator[memoryview], *, window: int
    ) -> None:
        """Publish all, with at most this many bytes unconfirmed; returns when none is."""
        sizes: list[int] = []
        confirmed = in_flight = 0
        for body in bodies:
            while in_flight and in_flight + len(body) > window:
                upto = self._confirm(len(sizes), confirmed)
                in_flight -= sum(sizes[confirmed:upto])
                confirmed = upto
            self.publish(exchange, key, body)
            sizes.append(len(body))
            in_flight += len(body)
        while confirmed < len(sizes):
            confirmed = self._confirm(len(sizes), confirmed)
        self._first += len(sizes)

    def deliveries(self) -> Iterator[tuple[int, int]]:
        """Tag and size of each message that arrives."""
        while True:
            kind, payload = self.read()
            if kind != spec.FRAME_METHOD:
                continue
            tag_at = 4 + 1 + payload[4]
            tag = int.from_bytes(payload[tag_at : tag_at + 8], "big")
            _, header = self.read()
            size = left = int.from_bytes(header[4:12], "big")
            while left:
                left -= len(self.read()[1])
            yield tag, size

    def read(self) -> tuple[int, memoryview]:
        kind, _, size = _HEAD.unpack(self._reader.read(7))
        return kind, memoryview(self._reader.read(size + 1))[:-1]

    _first = 0  # messages of earlier calls: tags count on

    def _confirm(self, sent: int, confirmed: int) -> int:
        """Wait for one confirm; how many are confirmed then, which the broker does in order."""
        _, payload = self.read()
        tag = int.from_bytes(payload[4:12], "big") - self._first
        return max(confirmed, min(tag, sent))

    def _ask(self, method: object, *, channel: int = 1) -> None:
        self._send(method, channel=channel)
        self.read()

    def _send(self, method: object, *, channel: int = 1) -> None:
        self._socket.sendall(frame.Method(channel, method).marshal())

    def _send_all(self, pieces: deque[bytes | memoryview]) -> None:
        while pieces:
            batch = [pieces[at] for at in range(min(len(pieces), 256))]
            sent = self._socket.sendmsg(batch)
            while sent and sent >= len(pieces[0]):
                sent -= len(pieces.popleft())
            if sent:
                pieces[0] = memoryview(pieces[0])[sent:]
