"""A process that moves megabytes through the AMQP transport and prints what memory that took.

python -m support.memory_probe URL send|receive COUNT SIZE
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from support.transports import Made, opened
from tasuki.ports import Delivery, Settlement
from tasuki.transport.amqp import AmqpSettings, AmqpTransport
from tasuki.wire import names

SITE = "site-1"


def peak_kb() -> int:
    """The most memory this process had, in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


async def send(transport: AmqpTransport, count: int, size: int) -> None:
    await transport.publish(names.to_weights(SITE), Made(count, size=size))


async def receive(transport: AmqpTransport, count: int, size: int) -> None:
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    await transport.consume(names.weights_stream(SITE), arrived.put_nowait, prefetch=8)
    while count:
        delivery = await arrived.get()
        count -= len(delivery.body) == size  # there are also the first small ones
        await asyncio.to_thread(bytes, 2 * size)  # as long as it takes to write it somewhere
        transport.settle(delivery, Settlement.DONE)


async def main(url: str, role: str, count: int, size: int) -> None:
    async with opened(AmqpTransport(AmqpSettings.from_url(url))) as transport:
        await send(transport, 1, 4)  # what a first use costs is not the transfer's
        forget_peak()
        before = peak_kb()
        await (send if role == "send" else receive)(transport, count, size)
        sys.stdout.write(f"{peak_kb() - before}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
