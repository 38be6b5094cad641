"""Turns that evaluate, at one site's service on queues in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from support.one_site import EVALUATION, TASK, Peer, with_site
from support.waiting import until
from tasuki.core.model import CONTROLLER, Kind, Task, Turn
from tasuki.core.report import (
    Report,
    RoundDone,
    TurnAbandoned,
    TurnDone,
    TurnProgressed,
    TurnRefused,
    TurnTaken,
)
from tasuki.ledger import migrations
from tasuki.moments import Moment
from tasuki.ports import Frames, OnConfirmed, Route, Transport
from tasuki.wire import names
from tasuki_site.facts import Fact
from tasuki_site.journal import Journal
from tasuki_site.trainer.pool import Trainer
from tasuki_site.trainer.request import Began, Log, TurnRequest, unnoticed
from tasuki_site.trainer.result import Outcome

OFTEN = replace(TASK, beat_s=0.02)


def until_released(folder: Path) -> Task:
    """A turn that trains or scores until there is the file `go`, and beats often."""
    return replace(OFTEN, params={"flag": str(folder), "hold": {"a": "go"}, "stamps": True})


def stamped(folder: Path, what: str) -> int:
    return (folder / "stamps").read_text().count(f'"what": "{what}"')


def test_a_site_scores_what_it_is_sent_and_hands_nothing_on(tmp_path: Path) -> None:
    sent: list[Route] = []
    facts: list[Fact] = []

    def overheard(transport: Transport) -> Transport:
        return cast("Transport", Overheard(sent, transport))

    async def talk(peer: Peer) -> None:
        turn = await peer.ask(split="test")
        assert turn.id == (await peer.hear(TurnTaken)).id
        record = (await peer.hear(TurnDone)).record
        assert (turn.id, "a", Kind.EVALUATE) == (record.id, record.site, record.kind)
        assert (turn.weights.digest, turn.weights) == (record.received, record.sent)
        assert {"accuracy", "mean"} == record.metrics.keys()
        assert (0.0, 8) == (record.metrics["accuracy"], record.samples)
        assert record.written
        assert not record.is_unchanged
        await peer.send("a")
        assert "r" == (await peer.hear(RoundDone)).id.run, "and on it goes"
        assert [] == [said for said in peer.heard() if isinstance(said, RoundDone)]

    spool = with_site(tmp_path, talk, through=overheard, watcher=facts.append)
    assert [] == list(spool.folder.iterdir())
    besides = [route for route in sent if route != names.to_controller()]
    assert [names.to_weights(CONTROLLER)] == besides, "those of the training turn alone"
    assert ["Trained", "HandedOver"] == [type(fact).__name__ for fact in facts]


class Overheard:
    """A transport that notes where anything is sent to."""

    def __init__(self, sent: list[Route], transport: Transport) -> None:
        self._sent = sent
        self._transport = transport

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    async def publish(
        self, route: Route, bodies: Sequence[Frames], *, on_confirmed: OnConfirmed | None = None
    ) -> None:
        self._sent.append(route)
        await self._transport.publish(route, bodies, on_confirmed=on_confirmed)


def test_an_evaluation_waits_for_the_turn_that_trains_and_is_not_silent(tmp_path: Path) -> None:
    """Its lease would run out otherwise: the site has one place, and one trainer."""

    async def talk(peer: Peer) -> None:
        training = await peer.send("a", task=until_released(tmp_path))
        asked = await peer.ask(task=until_released(tmp_path))
        for _ in range(3):
            while (beat := await peer.hear(TurnProgressed)).id != asked.id:
                pass
            assert ("waiting", 0) == (beat.phase, beat.still_s)
        (tmp_path / "go").touch()
        assert training.id == (await peer.hear(RoundDone)).id
        assert asked.id == (await peer.hear(TurnDone)).record.id

    with_site(tmp_path, talk)


def test_a_turn_that_trains_waits_for_the_evaluation(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        asked = await peer.ask(task=until_released(tmp_path))
        training = await peer.send("a", task=until_released(tmp_path))
        while (beat := await peer.hear(TurnProgressed)).id != training.id:
            pass
        assert ("waiting", 0) == (beat.phase, beat.still_s)
        (tmp_path / "go").touch()
        assert asked.id == (await peer.hear(TurnDone)).record.id
        assert training.id == (await peer.hear(RoundDone)).id

    with_site(tmp_path, talk)


@dataclass
class OneAtATime:
    """A trainer's process: it counts how many turns it is asked for at once."""

    trainer: Trainer
    made: list[OneAtATime]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    asked: int = 0

    async def train(self, request: TurnRequest, log: Log, *, began: Began = unnoticed) -> Outcome:
        self.asked += 1
        async with self.lock:
            return await self.trainer.train(request, log, began=began)

    async def farewell(self) -> None:
        await self.trainer.farewell()

    async def close(self) -> None:
        await self.trainer.close()


def test_a_site_with_many_places_evaluates_in_the_process_that_trains(tmp_path: Path) -> None:
    """One after the other, and whoever waits is not silent meanwhile."""
    made: list[OneAtATime] = []

    def as_trainer(trainer: Trainer) -> Trainer:
        made.append(OneAtATime(trainer, made))
        return made[-1]

    async def talk(peer: Peer) -> None:
        training = await peer.send("a", task=until_released(tmp_path))
        asked = await peer.ask(task=until_released(tmp_path))
        await until(lambda: bool(made) and made[0].asked == 2, what="both ask for the process")
        for _ in range(3):
            while (beat := await peer.hear(TurnProgressed)).id != asked.id:
                pass
        assert ("training", 0) == (beat.phase, beat.still_s)
        (tmp_path / "go").touch()
        assert training.id == (await peer.hear(RoundDone)).id
        assert asked.id == (await peer.hear(TurnDone)).record.id

    with_site(tmp_path, talk, as_trainer=as_trainer, capacity=2)
    assert 1 == len(made)


def test_an_evaluation_that_is_fenced_leaves_nothing(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        turn = await peer.ask(task=until_released(tmp_path))
        while (await peer.hear(TurnProgressed)).phase != "training":
            pass
        await peer.fence(turn)
        refused = await peer.hear(TurnRefused)
        assert ("fenced", turn.id) == (refused.reason, refused.id)
        (tmp_path / "go").touch()
        again = await peer.ask(term=2)
        assert again.id == (await peer.hear(TurnDone)).record.id

    assert [] == list(with_site(tmp_path, talk).folder.iterdir())


@pytest.mark.parametrize(
    ("evaluate", "task", "error", "said"),
    [
        ("walk:gone", TASK, "CannotEvaluate", "has no function 'gone'"),
        ("walk:always_raise", TASK, "TrainerRaised", "the scanner is on fire"),
        ("walk:train", TASK, "TrainerError", "returned weights (a Result)"),
        ("walk:many_scores", TASK, "TurnTooLarge", "Report fewer metrics"),
        (
            "walk:evaluate",
            replace(TASK, scores=("auc",)),
            "GateRejected",
            "has no score 'auc', which [checkpoint] best or [stop] metric of the run names; it has "
            "accuracy, mean: return",
        ),
    ],
)
def test_what_is_no_evaluation_fails_its_turn_and_not_the_site(
    tmp_path: Path, evaluate: str, task: Task, error: str, said: str
) -> None:
    async def talk(peer: Peer) -> None:
        turn = await peer.ask(task=task)
        abandoned = await peer.hear(TurnAbandoned)
        assert (turn.id, error) == (abandoned.id, abandoned.error)
        assert said in abandoned.detail
        await peer.send("a")
        await peer.hear(RoundDone)

    assert [] == list(with_site(tmp_path, talk, evaluate=evaluate).folder.iterdir())


def test_metrics_that_results_need_are_none_that_evaluations_need(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        await peer.ask(task=replace(TASK, requires=("received_accuracy",), scores=("mean",)))
        await peer.hear(TurnDone)

    with_site(tmp_path, talk)


class Killed(BaseException):
    """The process is gone."""


@dataclass
class KillsAt:
    """Ends the service at a moment, once, as `kill -9` does: nothing after that is done."""

    moment: Moment
    is_over: bool = False

    def reach(self, moment: Moment, id: object) -> None:
        if moment is self.moment and not self.is_over:
            self.is_over = True
            raise Killed


@pytest.mark.parametrize(
    "moment",
    [
        Moment.TURN_RECEIVED,
        Moment.TURN_JOURNALED,
        Moment.WEIGHTS_COMPLETE,
        Moment.TRAINING,
        Moment.TRAINED,
        Moment.RESULT_JOURNALED,
    ],
)
def test_a_site_that_is_killed_in_an_evaluation_scores_again_and_reports_once(
    tmp_path: Path, moment: Moment
) -> None:
    kills = KillsAt(moment)
    task = replace(TASK, params={"flag": str(tmp_path), "stamps": True})
    asked: list[Turn] = []
    reports: list[Report] = []

    async def ask(peer: Peer) -> None:
        asked.append(await peer.ask(task=task))
        await peer.hear(TurnDone)
        raise AssertionError("it lived on")

    async def go_on(peer: Peer) -> None:
        if moment is Moment.TURN_RECEIVED:  # the broker delivers again what was not acknowledged
            await peer.send_turn(asked[0])
        reports.append(await peer.hear(TurnDone))
        await peer.send("a")
        await peer.hear(RoundDone)
        reports.extend(said for said in peer.heard() if isinstance(said, TurnDone))

    with closing(migrations.connect(tmp_path / "journal.sqlite", migrations.JOURNAL)) as database:
        with pytest.raises(BaseExceptionGroup):
            with_site(tmp_path, ask, journal=Journal(database, "a"), moments=kills)
        spool = with_site(tmp_path, go_on, journal=Journal(database, "a"))
    assert kills.is_over
    assert [asked[0].id] == [said.record.id for said in reports if isinstance(said, TurnDone)]
    scored_before = moment is Moment.TRAINED  # and not journaled
    assert 1 + scored_before == stamped(tmp_path, "score")
    assert [] == list(spool.folder.iterdir())


def test_a_site_that_is_killed_while_it_scores_scores_again_and_reports_once(
    tmp_path: Path,
) -> None:
    task = until_released(tmp_path)
    asked: list[Turn] = []
    done: list[TurnDone] = []

    async def ask(peer: Peer) -> None:
        asked.append(await peer.ask(task=task))
        await until(lambda: (tmp_path / "stamps").exists(), what="it scores")
        raise Killed

    async def go_on(peer: Peer) -> None:
        await until(lambda: stamped(tmp_path, "score") == 2, what="it scores again")
        (tmp_path / "go").touch()
        done.append(await peer.hear(TurnDone))
        await peer.send("a")
        await peer.hear(RoundDone)
        done.extend(said for said in peer.heard() if isinstance(said, TurnDone))

    with closing(migrations.connect(tmp_path / "journal.sqlite", migrations.JOURNAL)) as database:
        with pytest.raises(BaseExceptionGroup):
            with_site(tmp_path, ask, journal=Journal(database, "a"))
        (tmp_path / "go").unlink()  # by which the thread of the first one ended
        with_site(tmp_path, go_on, journal=Journal(database, "a"))
    assert [asked[0].id] == [said.record.id for said in done]


def test_evaluations_and_turns_of_one_run_have_positions_of_their_own(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        await peer.send("a", term=5)
        await peer.hear(RoundDone)
        first = await peer.ask(term=1)
        assert EVALUATION == first.id.lane
        assert first.id == (await peer.hear(TurnDone)).record.id
        await peer.send_turn(first)
        assert "duplicate" == (await peer.hear(TurnRefused)).reason

    with_site(tmp_path, talk)
