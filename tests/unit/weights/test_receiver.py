"""Weights come in whatever became of their reader, and what is none of them stays out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from support.deaf import deaf_to
from support.transfers import digested
from support.waiting import until
from tasuki.core.model import CONTROLLER, TurnId, WeightsRef
from tasuki.errors import (
    DigestMismatch,
    DiskFull,
    MessageError,
    StorageError,
    TasukiError,
    Unroutable,
)
from tasuki.ports import Delivery, Handler, Settlement, Subscription, Transport
from tasuki.transport.memory import MemoryFederation
from tasuki.weights.chunks import ChunkedFile, transfer_id
from tasuki.weights.position import PositionFile
from tasuki.weights.receiver import Receiver
from tasuki.weights.spool import Spool
from tasuki.wire import names

ID = TurnId(run="r", term=1, round=0, hop=1)
CONTENT = b"weights " * 1000
STREAM = names.weights_stream(CONTROLLER)


@dataclass
class Scene:
    """A stream with a receiver, and whoever sends to it."""

    folder: Path
    queues: MemoryFederation = field(
        default_factory=lambda: MemoryFederation(["b"], is_durable=True)
    )
    refused: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)

    def receiver(
        self,
        through: Callable[[Transport], Transport] = lambda transport: transport,
        *,
        ends_by: tuple[type[TasukiError], ...] = (),
    ) -> Receiver:
        transport = through(self.queues.connect(CONTROLLER))

        def count(reason: str, number: int) -> None:
            self.passed_over[reason] += number

        def refuse(delivery: Delivery, why: MessageError) -> None:
            self.refused.append(why.reason)
            transport.settle(delivery, Settlement.DONE)

        self.spool = Spool(self.folder / "spool", refused=count)
        self.position = PositionFile(self.spool.folder)
        return Receiver(
            transport,
            STREAM,
            self.spool,
            refuse=refuse,
            position=self.position,
            ends_by=ends_by,
        )

    async def send(
        self, content: bytes = CONTENT, *, promised: bytes | None = None, sender: str = "b"
    ) -> WeightsRef:
        """Send these, which may be other weights than those that they are said to be."""
        path = self.folder / "sent"
        path.write_bytes(content)
        weights = digested(content if promised is None else promised)
        with ChunkedFile(path, transfer=transfer(weights), weights=weights, chunk_bytes=1000) as it:
            await self.queues.connect(sender).publish(names.to_weights(CONTROLLER), it)
        return weights

    async def obtain(self, receiver: Receiver, weights: WeightsRef) -> bytes | None:
        """What the receiver gets of them."""
        async with asyncio.timeout(20):
            path = await receiver.obtain(lambda: self.spool.find(weights), patience_s=0.2)
        return None if path is None else path.read_bytes()


def transfer(weights: WeightsRef) -> bytes:
    return transfer_id(ID, weights)


async def passed(seconds: float) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    await until(lambda: clock() - began > seconds, what="time passes")


def run(work: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_stream_that_gives_nothing_is_read_anew(scene: Scene) -> None:
    async def work() -> None:
        receiver = scene.receiver(deaf_to(STREAM))
        await receiver.open()
        assert CONTENT == await scene.obtain(receiver, await scene.send())

    run(work())


def test_two_that_miss_their_weights_read_the_stream_anew_once(scene: Scene) -> None:
    offsets: list[int | None] = []

    async def work() -> None:
        receiver = scene.receiver(lambda transport: deaf_to(STREAM)(noting(offsets)(transport)))
        await receiver.open()
        sent = [await scene.send(), await scene.send(CONTENT[1:])]
        found = await asyncio.gather(*(scene.obtain(receiver, weights) for weights in sent))
        assert [CONTENT, CONTENT[1:]] == found
        assert [None] == offsets
        assert 1 == len(scene.queues.queue(STREAM).readers)

    run(work())


def test_weights_that_are_nowhere_are_lost(scene: Scene) -> None:
    async def work() -> None:
        receiver = scene.receiver()
        await receiver.open()
        assert await scene.obtain(receiver, digested(b"others")) is None

    run(work())


def test_weights_that_keep_coming_are_waited_for_however_long_they_take(scene: Scene) -> None:
    async def work() -> None:
        receiver = scene.receiver()
        await receiver.open()
        waiting = asyncio.create_task(scene.obtain(receiver, digested(CONTENT)))
        for _ in range(12):
            await scene.send(b"of another turn")
            await passed(0.05)
        assert not waiting.done()
        await scene.send()
        assert CONTENT == await waiting
        assert 1 == len(scene.queues.queue(STREAM).readers)

    run(work())


def test_who_waits_before_the_stream_is_read_misses_nothing(scene: Scene) -> None:
    """Or it would be read anew before it was read, and never again for those who wait."""

    async def work() -> None:
        receiver = scene.receiver(deaf_to(STREAM))
        waiting = asyncio.create_task(scene.obtain(receiver, await scene.send()))
        await passed(0.6)
        await receiver.open()
        assert CONTENT == await waiting

    run(work())


@pytest.mark.parametrize("failing", ["the spool", "the position"])
def test_weights_that_found_the_disk_full_are_not_called_lost(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """They came before anybody waited for them."""

    async def work() -> None:
        receiver = scene.receiver(ends_by=(StorageError,))
        await receiver.open()
        with monkeypatch.context() as patched:
            if failing == "the spool":
                patched.setattr("tasuki.weights.spool._write_all", fail)
            else:
                patched.setattr("tasuki.weights.position.write_whole", fail)
            weights = await scene.send()
            await until(lambda: len(failed) > 0, what="the disk is full")
        if failing == "the spool":
            with pytest.raises(DiskFull):
                await scene.obtain(receiver, weights)
        assert scene.position.next_offset() is None
        again = scene.receiver()  # after the restart that follows
        await again.open()
        assert CONTENT == await scene.obtain(again, weights)

    failed: list[object] = []

    def fail(*write: object, **_: object) -> None:
        failed.append(write)
        raise DiskFull

    run(work())


def test_an_error_that_ends_nothing_is_told_to_who_waits_for_that_transfer(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        receiver = scene.receiver()
        await receiver.open()
        with monkeypatch.context() as patched:
            patched.setattr("tasuki.weights.spool._write_all", fail)
            weights = await scene.send()
            await until(lambda: scene.passed_over["disk"] == 1, what="the disk is full")
        await scene.send(CONTENT[1:])
        assert CONTENT[1:] == await scene.obtain(receiver, digested(CONTENT[1:]))
        with pytest.raises(DiskFull):
            receiver.check(transfer(weights), senders=["b"])

    def fail(*_: object) -> None:
        raise DiskFull

    run(work())


def test_weights_that_are_not_those_promised_break_their_own_transfer_only(scene: Scene) -> None:
    async def work() -> None:
        receiver = scene.receiver()
        await receiver.open()
        broken = await scene.send(CONTENT[::-1], promised=CONTENT)
        await until(lambda: scene.passed_over["bad_digest"] > 0, what="it is broken")
        receiver.check(transfer(broken), senders=[CONTROLLER])  # which had sent nothing
        with pytest.raises(DigestMismatch):
            receiver.check(transfer(broken), senders=["b", CONTROLLER])
        receiver.check(transfer(broken), senders=["b", CONTROLLER])  # the next may be whole
        assert CONTENT == await scene.obtain(receiver, await scene.send())

    run(work())


def test_chunks_that_nobody_wants_are_passed_over_and_counted(scene: Scene) -> None:
    async def work() -> None:
        receiver = scene.receiver()
        await receiver.open()
        receiver.discard(transfer(digested(CONTENT)), digested(CONTENT))
        await scene.send()
        await scene.send(CONTENT[1:])
        assert CONTENT[1:] == await scene.obtain(receiver, digested(CONTENT[1:]))
        assert {"unwanted": 8} == scene.passed_over
        assert scene.spool.find(digested(CONTENT)) is None

    run(work())


def test_what_is_no_chunk_or_from_nobody_is_refused(scene: Scene) -> None:
    async def work() -> None:
        receiver = scene.receiver()
        await receiver.open()
        await scene.queues.connect("b").publish(names.to_weights(CONTROLLER), [(b"rubbish",)])
        await scene.send(sender="")
        assert CONTENT[1:] == await scene.obtain(receiver, await scene.send(CONTENT[1:]))
        assert ["bad_chunk"] + ["wrong_sender"] * 8 == scene.refused

    run(work())


def test_what_was_read_for_good_is_not_read_again(scene: Scene) -> None:
    offsets: list[int | None] = []

    async def work() -> None:
        receiver = scene.receiver(noting(offsets))
        await receiver.open()
        assert CONTENT == await scene.obtain(receiver, await scene.send())
        again = scene.receiver(noting(offsets))
        await again.open()
        assert CONTENT[1:] == await scene.obtain(again, await scene.send(CONTENT[1:]))
        assert [None, 8] == offsets
        assert 16 == scene.position.next_offset()

    run(work())


def test_a_transport_that_does_not_last_is_read_from_its_start(tmp_path: Path) -> None:
    async def work() -> None:
        scene = Scene(tmp_path, MemoryFederation(["b"]))
        receiver = scene.receiver()
        scene.position.write_offset(5)
        await receiver.open()
        assert CONTENT == await scene.obtain(receiver, await scene.send())
        assert 5 == scene.position.next_offset()

    run(work())


def test_who_waits_no_longer_leaves_the_others_a_reader(scene: Scene) -> None:
    """Bug: it was cancelled between the old reader and the new one, and nobody got any more."""
    slow = Slow()

    async def work() -> None:
        receiver = scene.receiver(slow.through)
        await receiver.open()
        slow.is_slow = True
        waiting = asyncio.create_task(scene.obtain(receiver, digested(CONTENT)))
        await until(lambda: slow.waiting, what="it is read anew")
        waiting.cancel()
        await asyncio.wait({waiting})
        slow.free.set()
        weights = await scene.send()
        await until(lambda: scene.spool.find(weights), what="it is read all the same")

    run(work())


def test_a_stream_that_cannot_be_read_anew_is_told_to_whoever_waits_next(scene: Scene) -> None:
    """Bug: if the one who asked for it was gone, nobody ever knew that there was no reader."""
    slow = Slow()

    async def work() -> None:
        receiver = scene.receiver(slow.through)
        await receiver.open()
        slow.is_slow = True
        waiting = asyncio.create_task(scene.obtain(receiver, digested(CONTENT)))
        await until(lambda: slow.waiting, what="it is read anew")
        waiting.cancel()
        await asyncio.wait({waiting})
        slow.error = Unroutable("there is no such stream any more")
        slow.free.set()
        with pytest.raises(Unroutable):
            await receiver.obtain(lambda: None, patience_s=60)

    run(work())


def test_a_receiver_that_is_closed_while_it_reads_anew_leaves_no_reader(scene: Scene) -> None:
    slow = Slow()

    async def work() -> None:
        receiver = scene.receiver(slow.through)
        await receiver.open()
        slow.is_slow = True
        waiting = asyncio.create_task(scene.obtain(receiver, digested(CONTENT)))
        await until(lambda: slow.waiting, what="it is read anew")
        waiting.cancel()
        await receiver.close()
        slow.free.set()
        await asyncio.wait({waiting})
        assert [] == scene.queues.queue(STREAM).readers

    run(work())


def noting(offsets: list[int | None]) -> Callable[[Transport], Transport]:
    """A transport that keeps note of where its streams were read from."""

    def through(transport: Transport) -> Transport:
        return cast("Transport", _Wrapped(transport, note))

    async def note(offset: int | None) -> None:
        offsets.append(offset)

    return through


@dataclass
class Slow:
    """Whoever reads waits until it is freed."""

    is_slow: bool = False
    waiting: int = 0
    error: Exception | None = None
    free: asyncio.Event = field(default_factory=asyncio.Event)

    def through(self, transport: Transport) -> Transport:
        return cast("Transport", _Wrapped(transport, self._wait))

    async def _wait(self, _: int | None) -> None:
        if self.is_slow:
            self.waiting += 1
            await self.free.wait()
        if self.error is not None:
            raise self.error


@dataclass
class _Wrapped:
    transport: Transport
    before: Callable[[int | None], Coroutine[object, object, None]]

    def __getattr__(self, name: str) -> object:
        return getattr(self.transport, name)

    async def consume(
        self, queue: str, handler: Handler, *, prefetch: int = 1, offset: int | None = None
    ) -> Subscription:
        await self.before(offset)
        return await self.transport.consume(queue, handler, prefetch=prefetch, offset=offset)
