"""Sealed transfers as their sender cuts them, and a reader that counts what it refuses."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from support.members import Signatory
from support.transfers import digested
from support.waiting import until
from tasuki.core.model import CONTROLLER, TurnId, WeightsRef
from tasuki.core.trust import Must
from tasuki.errors import MessageError
from tasuki.ports import Delivery, Settlement
from tasuki.transport.memory import MemoryFederation
from tasuki.trust.member import Member
from tasuki.weights.chunks import ChunkedFile, transfer_id
from tasuki.weights.position import PositionFile
from tasuki.weights.receiver import Receiver
from tasuki.weights.spool import Spool
from tasuki.wire import names

ID = TurnId(run="r", term=1, round=0, hop=1)
SITES = ("a", "b", "c")
STEP = 64


@dataclass
class Lab:
    """A federation with keys: `a` sends to `b`, which reads its stream.

    Attributes:
        refused, passed_over: of how many pieces, and why.
    """

    folder: Path
    signatory: Signatory = field(default_factory=Signatory)
    queues: MemoryFederation = field(
        default_factory=lambda: MemoryFederation(SITES, is_durable=True)
    )
    refused: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)
    seen: int = 0

    def __post_init__(self) -> None:
        self._spools: list[Spool] = []
        self.roster = self.signatory.roster((CONTROLLER, *SITES))

    def member(
        self, name: str, *, require: Collection[Must] = (Must.SIGNED, Must.SEALED)
    ) -> Member:
        return self.signatory.member(name, self.roster, require=require)

    def pieces(
        self,
        data: bytes,
        *,
        id: TurnId = ID,
        sender: str = "a",
        to: str = "b",
        step: int = STEP,
        promised: bytes | None = None,
        is_sealed: bool = True,
    ) -> list[bytes]:
        """A transfer, each of its messages in one."""
        path = self.folder / "sent"
        path.write_bytes(data)
        weights = digested(data if promised is None else promised)
        transfer = transfer_id(id, weights)
        member = self.member(sender)
        sealed = member.seal(transfer, weights, to=to, step=step) if is_sealed else None
        with ChunkedFile(
            path, transfer=transfer, weights=weights, chunk_bytes=step, sealed=sealed
        ) as file:
            return [b"".join(frames) for frames in file]

    def receiver(
        self, name: str = "b", *, stream: str = "b", member: Member | None = None
    ) -> Receiver:
        """Who reads a stream; `b` its own."""
        transport = self.queues.connect(name)

        def count(reason: str, number: int) -> None:
            self.passed_over[reason] += number

        def refuse(delivery: Delivery, why: MessageError) -> None:
            self.refused[why.reason] += 1
            transport.settle(delivery, Settlement.DONE)

        def take_in(delivery: Delivery) -> None:
            receiver.take_in(delivery)
            self.seen += 1

        self.spool = Spool(self.folder / f"spool-{name}", refused=count)
        self._spools.append(self.spool)
        receiver = Receiver(
            transport,
            names.weights_stream(stream),
            self.spool,
            refuse=refuse,
            member=member or self.member(name),
            position=PositionFile(self.spool.folder),
            handler=take_in,
        )
        return receiver

    async def send(self, pieces: Iterable[bytes], *, sender: str = "a", to: str = "b") -> None:
        """Put these on a stream, and wait until its reader has seen all."""
        bodies = [(piece,) for piece in pieces]
        expected = self.seen + len(bodies)
        await self.queues.connect(sender).publish(names.to_weights(to), bodies)
        await until(lambda: self.seen >= expected, what="all was read")

    def arrived(self, data: bytes, *, id: TurnId = ID) -> bytes | None:
        """What is in the spool under the name of these weights."""
        weights: WeightsRef = digested(data)
        path = self.spool.path(transfer_id(id, weights), weights)
        return path.read_bytes() if path.exists() else None

    def close(self) -> None:
        """Close what is open, as the end of their processes does."""
        for spool in self._spools:
            spool.clear()

    def spooled(self) -> set[bytes]:
        """What is complete in the spool, whatever it is called."""
        return {path.read_bytes() for path in self.spool.folder.glob("*.safetensors")}


def run(work: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 100))
