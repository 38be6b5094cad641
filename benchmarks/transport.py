"""How long a hand-over takes: chunks into the next site's stream, then the turn into its queue.

    PYTHONPATH=tests python benchmarks/transport.py [--gigabyte] [--rounds N]

From the first byte sent until all is confirmed to the sender and delivered to the receiver, which
is a process of its own. Compared with the same bytes over loopback TCP through a relay ("two-leg",
which is what a broker cannot beat), over AMQP frames without a client library, and over stock pika
as its documentation shows it. Ratios, because this machine is shared: absolute times drift.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import replace

import pika
from raw_amqp import RawClient

from support.broker import Broker
from support.transports import opened
from tasuki.broker.topology import Sizes, topology
from tasuki.ports import Delivery, Frames, Settlement
from tasuki.transport.amqp import AmqpSettings, AmqpTransport
from tasuki.wire import names

SITE = "site-1"
CHUNK = 2**20
WINDOW = 32 * 2**20
TURN = bytes(2000)
PREFETCH = 16
WARM_UP = 2
SYNC_ABOVE = 10**7

Timed = Callable[[], Awaitable[float]]
Sender = Callable[[int, str, AsyncExitStack], Awaitable[Timed]]


def chunks(size: int) -> list[memoryview]:
    data = memoryview(bytes(size))
    return [data[at : at + CHUNK] for at in range(0, size, CHUNK)]


# --- receivers: each a process; prints a line when a whole hand-over has arrived


class Arrivals:
    """Counts what arrives and says when a hand-over is complete."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._bytes = self._turns = 0
        self._lock = threading.Lock()

    def add(self, *, size: int = 0, turns: int = 0) -> None:
        with self._lock:
            self._bytes += size
            self._turns += turns
            if self._bytes == self._size and self._turns == 1:
                self._bytes = self._turns = 0
                say("done")


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def receive_tcp(size: int, _: str) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    say(str(server.getsockname()[1]))
    connection, _address = server.accept()
    buffer = bytearray(CHUNK)
    while True:
        left = size + len(TURN)
        while left:
            left -= connection.recv_into(buffer, min(left, CHUNK))
        say("done")


def relay_tcp(_: int, port: str) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    say(str(server.getsockname()[1]))
    source, _address = server.accept()
    buffer = memoryview(bytearray(CHUNK))
    with socket.create_connection(("127.0.0.1", int(port))) as sink:
        while count := source.recv_into(buffer):
            sink.sendall(buffer[:count])


def receive_raw(size: int, url: str) -> None:
    arrivals = Arrivals(size)
    turns, weights = raw_client(url), raw_client(url)
    turns.consume(names.turns_queue(SITE), prefetch=1, arguments={})
    stream = names.weights_stream(SITE)
    weights.consume(stream, prefetch=PREFETCH, arguments={"x-stream-offset": "next"})
    say("ready")

    def read_turns() -> None:
        for tag, _ in turns.deliveries():
            turns.ack(tag)
            arrivals.add(turns=1)

    threading.Thread(target=read_turns, daemon=True).start()
    for tag, body in weights.deliveries():
        weights.ack(tag)
        arrivals.add(size=body)


def receive_stock(size: int, url: str) -> None:
    arrivals = Arrivals(size)
    connection = pika.BlockingConnection(pika.URLParameters(url))

    def on_chunk(channel: object, method: object, _: object, body: bytes) -> None:
        channel.basic_ack(method.delivery_tag)  # type: ignore[attr-defined]
        arrivals.add(size=len(body))

    def on_turn(channel: object, method: object, *_: object) -> None:
        channel.basic_ack(method.delivery_tag)  # type: ignore[attr-defined]
        arrivals.add(turns=1)

    channel = connection.channel()
    channel.basic_qos(prefetch_count=PREFETCH)
    channel.basic_consume(names.turns_queue(SITE), on_turn)
    stream = names.weights_stream(SITE)
    channel.basic_consume(stream, on_chunk, arguments={"x-stream-offset": "next"})
    say("ready")
    channel.start_consuming()


def receive_ours(size: int, url: str, *, is_fast: bool) -> None:
    async def main() -> None:
        arrivals = Arrivals(size)
        settings = replace(AmqpSettings.from_url(url), is_fast=is_fast)
        async with opened(AmqpTransport(settings)) as transport:

            def on_chunk(delivery: Delivery) -> None:
                transport.settle(delivery, Settlement.DONE)
                arrivals.add(size=len(delivery.body))

            def on_turn(delivery: Delivery) -> None:
                transport.settle(delivery, Settlement.DONE)
                arrivals.add(turns=1)

            await transport.consume(names.turns_queue(SITE), on_turn)
            await transport.consume(names.weights_stream(SITE), on_chunk, prefetch=PREFETCH)
            say("ready")
            await asyncio.get_running_loop().create_future()

    asyncio.run(main())


RECEIVERS: dict[str, Callable[[int, str], None]] = {
    "tcp": receive_tcp,
    "relay": relay_tcp,
    "raw": receive_raw,
    "stock": receive_stock,
    "plain": lambda size, url: receive_ours(size, url, is_fast=False),
    "fast": lambda size, url: receive_ours(size, url, is_fast=True),
}


class Child:
    """A receiver's process."""

    def __init__(self, role: str, size: int, where: str) -> None:
        command = [sys.executable, __file__, "--child", role, str(size), where]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.hello = self.line()

    def line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError("the receiver has ended")
        return line

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


# --- senders: each yields a function that hands over once and says how long it took


async def send_tcp(size: int, _: str, stack: AsyncExitStack) -> Timed:
    receiver = stack.enter_context(Child("tcp", size, ""))
    relay = stack.enter_context(Child("relay", size, receiver.hello))
    out = stack.enter_context(socket.create_connection(("127.0.0.1", int(relay.hello))))
    bodies = chunks(size)

    async def once() -> float:
        start = time.perf_counter()
        for body in bodies:
            out.sendall(body)
        out.sendall(TURN)
        receiver.line()
        return time.perf_counter() - start

    return once


def raw_client(url: str) -> RawClient:
    settings = AmqpSettings.from_url(url)
    return RawClient(
        settings.nodes[0].host,
        settings.nodes[0].port,
        user=settings.user,
        password=settings.password,
        vhost=settings.vhost,
    )


async def send_raw(size: int, url: str, stack: AsyncExitStack) -> Timed:
    receiver = stack.enter_context(Child("raw", size, url))
    client = raw_client(url)
    client.confirm_delivery()
    bodies = chunks(size)

    async def once() -> float:
        start = time.perf_counter()
        client.publish_within(names.WEIGHTS, SITE, iter(bodies), window=WINDOW)
        client.publish_within(names.TURNS, SITE, iter([memoryview(TURN)]), window=WINDOW)
        receiver.line()
        return time.perf_counter() - start

    return once


async def send_stock(size: int, url: str, stack: AsyncExitStack) -> Timed:
    receiver = stack.enter_context(Child("stock", size, url))
    connection = stack.enter_context(pika.BlockingConnection(pika.URLParameters(url)))
    channel = connection.channel()
    channel.confirm_delivery()
    same = bytes(CHUNK)  # stock pika takes nothing but bytes, and a copy of all would be gigabytes
    bodies = [same[: len(body)] for body in chunks(size)]
    durable = pika.BasicProperties(delivery_mode=2)

    async def once() -> float:
        connection.process_data_events()  # the heartbeats of the time that others had
        start = time.perf_counter()
        for body in bodies:
            channel.basic_publish(names.WEIGHTS, SITE, body, durable, mandatory=True)
        channel.basic_publish(names.TURNS, SITE, TURN, durable, mandatory=True)
        receiver.line()
        return time.perf_counter() - start

    return once


def send_ours(*, is_fast: bool) -> Sender:
    async def start(size: int, url: str, stack: AsyncExitStack) -> Timed:
        settings = replace(AmqpSettings.from_url(url), is_fast=is_fast, window_bytes=WINDOW)
        receiver = stack.enter_context(Child("fast" if is_fast else "plain", size, url))
        transport = await stack.enter_async_context(opened(AmqpTransport(settings)))
        bodies: list[Frames] = [(body,) for body in chunks(size)]

        async def once() -> float:
            start = time.perf_counter()
            await transport.publish(names.to_weights(SITE), bodies)
            await transport.publish(names.to_turns(SITE), [(TURN,)])
            receiver.line()
            return time.perf_counter() - start

        return once

    return start


FLOOR = "two-leg loopback TCP"
RAW = "AMQP frames, no library"
STOCK = "stock pika, one by one"
SENDERS: dict[str, Sender] = {
    FLOOR: send_tcp,
    RAW: send_raw,
    STOCK: send_stock,
    "AmqpTransport, not fast": send_ours(is_fast=False),
    "AmqpTransport": send_ours(is_fast=True),
}


async def measure(
    broker: Broker,
    size: int,
    rounds: int,
    *,
    wanted: Collection[str] = tuple(SENDERS),
    warm_up: int = WARM_UP,
) -> dict[str, list[float]]:
    """Times of each subject, which take turns so that the machine's moods are shared.

    In between, the kernel writes out what the broker has left in its page cache: hand-overs are
    minutes apart, and without this everything after the first gigabyte measures the disk.
    """
    times: dict[str, list[float]] = {subject: [] for subject in wanted}
    sizes = Sizes(stream_bytes=3 * size + 10**8)
    async with AsyncExitStack() as stack:
        subjects = {}
        for subject in wanted:
            vhost = broker.vhost()
            broker.provision(vhost, topology([SITE], sizes=sizes))
            stack.callback(broker.drop_vhost, vhost)
            subjects[subject] = await SENDERS[subject](size, broker.url(SITE, vhost), stack)
        for _ in range(rounds + warm_up):
            for subject, once in subjects.items():
                times[subject].append(await once())
                if size > SYNC_ABOVE:
                    os.sync()
    return {subject: sorted(of_one[warm_up:]) for subject, of_one in times.items()}


def summary(times: list[float]) -> dict[str, float]:
    p95 = times[min(len(times) - 1, round(0.95 * len(times)))]
    return {"median_s": statistics.median(times), "p95_s": p95, "best_s": times[0]}


def show(size: int, results: dict[str, dict[str, float]]) -> None:
    floor, raw = results[FLOOR]["median_s"], results[RAW]["median_s"]
    title = f"{size / 1e6:g} MB"
    print(f"\n{title:28}{'median':>10}{'p95':>10}{'best':>10}{'x two-leg':>11}{'x raw':>8}")
    for subject, of_one in results.items():
        median = of_one["median_s"]
        figures = "".join(f"{of_one[key] * 1e3:8.2f}ms" for key in ("median_s", "p95_s", "best_s"))
        print(f"{subject:28}{figures}{median / floor:11.2f}{median / raw:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--gigabyte", action="store_true", help="also 1 GB")
    parser.add_argument("--rounds", type=int, default=11, help="of 100 MB; others in proportion")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    if options.child:
        role, size, where = options.child
        RECEIVERS[role](int(size), where)
        return
    sizes = {250_000: options.rounds * 20, 100_000_000: options.rounds}
    if options.gigabyte:
        sizes[1_000_000_000] = max(3, options.rounds // 3)
    with Broker() as broker:
        broker.start()
        for size, rounds in sizes.items():
            times = asyncio.run(measure(broker, size, rounds))
            show(size, {subject: summary(of_one) for subject, of_one in times.items()})


if __name__ == "__main__":
    main()
