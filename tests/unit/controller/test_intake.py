"""The controller gets the weights that it waits for, whatever became of its reader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from blake3 import blake3

from support.deaf import deaf_to
from tasuki.clock import SystemClock
from tasuki.core.model import CONTROLLER, CheckpointPolicy, Plan, Task, TurnId, WeightsRef
from tasuki.core.run import SaveCheckpoint, submitted
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.ports import Transport
from tasuki.transport.memory import MemoryFederation
from tasuki.weights.chunks import ChunkedFile, transfer_id
from tasuki.weights.digest import Hasher
from tasuki.weights.spool import Spool
from tasuki.wire import names
from tasuki.wire.messages import encode
from tasuki_controller.checkpoints import Checkpoints
from tasuki_controller.controller import Controller
from tasuki_controller.intake import Intake
from tasuki_controller.weight_store import WeightStore, free

ID = TurnId(run="r", term=1, round=0, hop=1)
TASK = Task(trainer="t")
CONTENT = b"weights " * 1000
WEIGHTS = WeightsRef(digest=f"blake3:{blake3(CONTENT).hexdigest()}", size=len(CONTENT))


def unchanged(transport: Transport) -> Transport:
    return transport


def intake(
    folder: Path,
    queues: MemoryFederation,
    through: Callable[[Transport], Transport] = unchanged,
    *,
    patience_s: float = 0.2,
) -> Intake:
    transport = through(queues.connect(CONTROLLER))
    spool = Spool(folder / "spool")
    return Intake(transport, spool, patience_s=patience_s, refused=lambda _: None)


async def send(folder: Path, queues: MemoryFederation, *, to: str, content: bytes) -> WeightsRef:
    path = folder / "sent"
    path.write_bytes(content)
    hasher = Hasher()
    hasher.update(content)
    weights = WeightsRef(digest=hasher.digest(), size=len(content))
    transfer = transfer_id(ID, weights)
    with ChunkedFile(path, transfer=transfer, weights=weights, chunk_bytes=1000) as chunks:
        await queues.connect("a").publish(names.to_weights(to), chunks)
    return weights


async def obtained(
    folder: Path,
    queues: MemoryFederation,
    through: Callable[[Transport], Transport] = unchanged,
    *,
    at: str = CONTROLLER,
) -> Path | None:
    """What the controller gets of weights that lie in that stream."""
    reading = intake(folder, queues, through)
    await reading.open()
    weights = await send(folder, queues, to=at, content=CONTENT)
    async with asyncio.timeout(30):
        return await reading.obtain(weights, at)


def content_of(path: Path | None) -> bytes:
    assert path is not None
    return path.read_bytes()


def test_a_site_whose_stream_gives_nothing_at_first_is_rescued_all_the_same(tmp_path: Path) -> None:
    queues = MemoryFederation(["b"], is_durable=True)
    deaf = deaf_to(names.weights_stream("b"))
    assert CONTENT == content_of(asyncio.run(obtained(tmp_path, queues, deaf, at="b")))


def test_weights_come_from_an_empty_broker_that_took_the_place_of_a_full_one(
    tmp_path: Path,
) -> None:
    async def run() -> Path | None:
        old = MemoryFederation(["b"], is_durable=True)
        for number in range(3):
            before = intake(tmp_path, old)
            await before.open()
            weights = await send(tmp_path, old, to=CONTROLLER, content=CONTENT[number:])
            assert await before.obtain(weights, CONTROLLER)
            Spool(tmp_path / "spool").drop(weights)
        return await obtained(tmp_path, MemoryFederation(["b"], is_durable=True))

    assert CONTENT == content_of(asyncio.run(run()))


def test_weights_at_a_site_whose_stream_was_deleted_are_lost_and_nothing_else(
    tmp_path: Path,
) -> None:
    async def run() -> Path | None:
        queues = MemoryFederation(["b"], is_durable=True)
        reading = intake(tmp_path, queues)
        await reading.open()
        return await reading.obtain(WeightsRef(digest="blake3:" + "0" * 64, size=5), "gone")

    assert asyncio.run(run()) is None


def test_weights_that_a_power_cut_took_before_their_checkpoint_are_read_again(
    tmp_path: Path,
) -> None:
    """Bug: the controller ended over it, and again each time it was started."""

    async def run() -> None:
        queues = MemoryFederation(["b"], is_durable=True)
        before = intake(tmp_path, queues)
        await before.open()
        weights = await send(tmp_path, queues, to=CONTROLLER, content=CONTENT)
        assert await before.obtain(weights, CONTROLLER)
        Spool(tmp_path / "spool").drop(weights)  # its position says that all of it was read

        reading = intake(tmp_path, queues)
        await reading.open()
        ledger = SqliteLedger(":memory:")
        parts = Controller(
            transport=queues.connect(CONTROLLER),
            ledger=ledger,
            runs=tmp_path / "runs",
            spool=Spool(tmp_path / "spool"),
            clock=SystemClock(),
        )
        plan = Plan(run="r", sites=("a", "b"), task=TASK)
        row, _ = ledger.append("r", encode(plan), at=0)
        store = WeightStore(parts, reading)
        effect = SaveCheckpoint(round=0, weights=weights, records=())
        await store.save(plan, effect, decided_in=row.seq, runs={})
        assert CONTENT == (tmp_path / "runs" / "r" / "round-0001.safetensors").read_bytes()
        ledger.close()

    asyncio.run(run())


def test_weights_that_another_run_has_still_to_keep_stay_when_one_has_kept_them(
    tmp_path: Path,
) -> None:
    """Bug: two runs of one seed end a round with the same, and the second one's were gone."""
    spool, runs = Spool(tmp_path / "spool"), tmp_path / "runs"
    states = {run: submitted(Plan(run=run, sites=("a",), task=TASK), WEIGHTS) for run in "ab"}
    path = spool.path(transfer_id(ID, WEIGHTS), WEIGHTS)
    path.write_bytes(CONTENT)
    free(spool, WEIGHTS, run="a", runs=states, folder=runs)
    assert path.exists()
    content = {"run": "b", "round": 0, "digest": WEIGHTS.digest, "metrics": {}}
    Checkpoints(runs / "b").save(path, content, CheckpointPolicy())
    free(spool, WEIGHTS, run="b", runs={"b": states["b"]}, folder=runs)
    assert not path.exists()


def test_a_stream_that_accepts_no_reader_is_given_up_unless_its_broker_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: the run stood for ever, since the turn that needs these weights had no lease yet."""
    monkeypatch.setattr("tasuki_controller.intake.READER_S", 0.1)

    async def run() -> None:
        queues, asked = MemoryFederation(["a"]), list[bool]()
        stuck = _NoReader(queues.connect(CONTROLLER), names.weights_stream("a"))

        def is_there() -> bool:
            asked.append(len(asked) == 2)
            return asked[-1]

        reading = Intake(
            cast("Transport", stuck),
            Spool(tmp_path / "spool"),
            patience_s=0.2,
            refused=lambda _: None,
            is_there=is_there,
        )
        weights = await send(tmp_path, queues, to="a", content=CONTENT)
        assert await reading.obtain(weights, "a") is None
        assert [False, False, True] == asked

    asyncio.run(asyncio.wait_for(run(), 20))


class _NoReader:
    """A transport that waits for a reader of one stream to be accepted."""

    def __init__(self, transport: Transport, stream: str) -> None:
        self._transport = transport
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    async def consume(self, queue: str, *_: object, **__: object) -> None:
        assert queue == self._stream
        await asyncio.Event().wait()
