"""One site's service on queues in memory, and the controller's end of them, by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from support.in_process import InProcessTrainer
from support.simulation import TRAINERS
from tasuki.clock import SystemClock
from tasuki.core.control import FenceRaised, RunEnded
from tasuki.core.model import CONTROLLER, Kind, Task, Turn, TurnId
from tasuki.core.report import REPORTS, Report
from tasuki.ledger import migrations
from tasuki.ports import Delivery, Settlement, Transport
from tasuki.transport.memory import MemoryFederation
from tasuki.trust.member import NOBODY, Member
from tasuki.weights.chunks import ChunkedFile, transfer_id
from tasuki.weights.spool import Spool
from tasuki.wire import names
from tasuki.wire.messages import decode, encode
from tasuki_site.facts import Watcher
from tasuki_site.journal import Journal
from tasuki_site.model_files.initial import write_initial
from tasuki_site.service import SiteService
from tasuki_site.site import Site
from tasuki_site.trainer.pool import Trainer, TrainerPool
from tasuki_site.trainer.source import Source

DEADLINE_S = 20.0
TASK = Task(trainer="walk")
EVALUATION = 2**40
R = TypeVar("R")
Talk = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The controller's end, by hand."""

    def __init__(
        self, queues: MemoryFederation, folder: Path, *, controller: Member = NOBODY
    ) -> None:
        self._member = controller
        self._transport = queues.connect(CONTROLLER)
        self._other = queues.connect("c")
        self._reports: asyncio.Queue[Report] = asyncio.Queue()
        self._path = folder / "initial.safetensors"
        self._weights = write_initial("walk:make", self._path, folder=TRAINERS, seed=0)

    async def open(self) -> None:
        await self._transport.consume(names.REPORTS, self._take)

    async def send(self, *itinerary: str, term: int = 1, run: str = "r", task: Task = TASK) -> Turn:
        id = TurnId(run=run, term=term, round=0, hop=0)
        turn = Turn(id=id, itinerary=itinerary, weights=self._weights, task=task)
        await self.send_weights(turn)
        await self.send_turn(turn)
        return turn

    async def ask(
        self, *, term: int = 1, run: str = "r", split: str = "", task: Task = TASK
    ) -> Turn:
        """Let `a` evaluate, on a lane of its own."""
        id = TurnId(run=run, lane=EVALUATION, term=term, round=0, hop=0)
        turn = Turn(id=id, itinerary=("a",), weights=self._weights, task=task)
        turn = replace(turn, kind=Kind.EVALUATE, split=split)
        await self.send_weights(turn)
        await self.send_turn(turn)
        return turn

    async def send_weights(self, turn: Turn) -> None:
        transfer = transfer_id(turn.id, self._weights)
        with ChunkedFile(self._path, transfer=transfer, weights=self._weights) as chunks:
            await self._transport.publish(names.to_weights(turn.site), chunks)

    async def send_turn(self, turn: Turn) -> None:
        body = self._member.close(encode(turn), to=turn.site)
        await self._transport.publish(names.to_turns(turn.site), [(body,)])

    async def send_rubbish(self) -> None:
        await self._transport.publish(names.to_turns("a"), [(b"rubbish",)])

    async def send_from_c(self, body: bytes) -> None:
        await self._other.publish(names.to_turns("a"), [(body,)])

    async def forge(self, turn: Turn) -> None:
        """Send a turn in the name of a site that has nothing to do with it."""
        await self._other.publish(names.to_turns(turn.site), [(encode(turn),)])

    async def fence(self, turn: Turn) -> None:
        message = FenceRaised(run=turn.id.run, lane=turn.id.lane, term=turn.id.term + 1)
        await self._transport.publish(names.to_control(turn.site), [(encode(message),)])

    async def end_run(self, turn: Turn) -> None:
        message = RunEnded(run=turn.id.run)
        await self._transport.publish(names.to_control(turn.site), [(encode(message),)])

    def heard(self) -> list[Report]:
        """What has been said since and was not listened to."""
        return [self._reports.get_nowait() for _ in range(self._reports.qsize())]

    async def hear(self, kind: type[R]) -> R:
        """The next report of a kind."""
        while not isinstance(report := await self._reports.get(), kind):
            pass
        return report

    def _take(self, delivery: Delivery) -> None:
        body = self._member.open(delivery.body, sender=delivery.sender)
        report: Report = decode(body, REPORTS)
        self._reports.put_nowait(report)
        self._transport.settle(delivery, Settlement.DONE)


def with_site(
    folder: Path,
    talk: Talk,
    *,
    trainer: str = "train",
    evaluate: str = "",
    as_trainer: Callable[[Trainer], Trainer] = lambda trainer: trainer,
    watcher: Watcher = lambda _: None,
    journal: Journal | None = None,
    through: Callable[[Transport], Transport] = lambda transport: transport,
    stall_s: float = 0.2,
    controller: Member = NOBODY,
    **changes: Any,  # any of Site
) -> Spool:
    """Talk to site `a`, the only one that is provisioned, then drain it; its spool.

    Each trainer that it makes is `as_trainer` of one in a thread.
    """
    database = migrations.connect(":memory:", migrations.JOURNAL)
    kept = journal or Journal(database, "a")
    spool = Spool(folder / "spool")

    async def run() -> None:
        queues = MemoryFederation(["a"], is_durable=True)
        peer = Peer(queues, folder, controller=controller)
        source = Source(run=f"walk:{trainer}", folder=TRAINERS, evaluate=evaluate)
        service = SiteService(
            Site(
                name="a",
                transport=through(queues.connect("a")),
                stall_s=stall_s,
                journal=kept,
                spool=spool,
                trainers=TrainerPool(lambda _: as_trainer(InProcessTrainer(source))),
                clock=SystemClock(),
                watcher=watcher,
                **changes,
            )
        )
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
            await peer.open()
            tasks.create_task(service.run())
            await talk(peer)
            service.drain()

    async def run_and_let_go() -> None:
        try:
            await run()
        finally:
            (folder / "go").touch()  # or a trainer's thread would outlive a failed test

    with closing(database):
        asyncio.run(run_and_let_go())
    return spool
