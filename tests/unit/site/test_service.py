"""The site's service on queues in memory: what its process has to live through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import msgpack
import numpy as np
import pytest

from support.deaf import deaf_to
from support.members import Signatory
from support.one_site import DEADLINE_S, TASK, Peer, with_site
from support.simulation import TRAINERS
from support.stuck import Stuck
from support.waiting import until
from tasuki.core.model import CONTROLLER, Task, Turn, TurnId, WeightsRef
from tasuki.core.report import (
    RoundDone,
    SiteStarted,
    TurnAbandoned,
    TurnDone,
    TurnProgressed,
    TurnRefused,
    TurnTaken,
)
from tasuki.core.trust import Must
from tasuki.errors import StorageError
from tasuki.ledger import migrations
from tasuki.ports import Route, Transport
from tasuki.trainer import Result
from tasuki.wire import names
from tasuki_site.facts import (
    DeadLettered,
    Fact,
    GateClosed,
    HandedOver,
    Trained,
    TurnDropped,
)
from tasuki_site.journal import Journal
from tasuki_site.model_files.initial import write_initial
from tasuki_site.tensors import load_state
from tasuki_site.trainer.pool import Trainer
from tasuki_site.trainer.request import Began, Log, TurnRequest, unnoticed
from tasuki_site.trainer.result import Outcome, write_result


class Ended(Exception):
    """A site is ended where it stands."""


def stuck_at(route: Route, found: list[Stuck]) -> Callable[[Transport], Transport]:
    """A transport whose broker confirms nothing there; `found` gets what frees it."""

    def through(transport: Transport) -> Transport:
        found.append(Stuck({route}))
        return found[-1].through(transport)

    return through


def refusal(report: TurnRefused) -> tuple[str, TurnId]:
    return report.reason, report.id


def test_a_successor_without_a_queue_fails_the_turn_and_not_the_site(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        turn = await peer.send("a", "b")
        abandoned = await peer.hear(TurnAbandoned)
        assert abandoned.id == turn.id
        assert abandoned.error == "Unroutable"
        assert "b" in abandoned.detail
        await peer.send("a", term=2)  # and on it goes

    assert list(with_site(tmp_path, talk).folder.iterdir()) == []


def test_weights_that_have_to_be_sealed_and_are_not_fail_their_turn_with_words(
    tmp_path: Path,
) -> None:
    async def talk(peer: Peer) -> None:
        turn = await peer.send("a")
        abandoned = await peer.hear(TurnAbandoned)
        assert abandoned.id == turn.id
        assert abandoned.error == "MessageError"
        assert "not sealed" in abandoned.detail

    lab = Signatory()
    roster, require = lab.roster([CONTROLLER, "a"]), [Must.SEALED]
    member, controller = (lab.member(name, roster, require=require) for name in ("a", CONTROLLER))
    spool = with_site(tmp_path, talk, member=member, controller=controller)
    assert list(spool.folder.iterdir()) == []


def test_a_site_that_follows_itself_trains_on_what_it_sent(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        await peer.send("a", "a", "b")
        first = await peer.hear(TurnDone)
        abandoned = await peer.hear(TurnAbandoned)
        assert first.record.id.hop == 0
        assert (abandoned.id.hop, abandoned.error) == (1, "Unroutable")

    with_site(tmp_path, talk)


def test_the_weights_of_a_turn_that_is_dropped_do_not_stay(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        await peer.send("a", term=2)
        await peer.send("a", term=1)
        assert (await peer.hear(TurnRefused)).reason == "stale_position"

    assert list(with_site(tmp_path, talk).folder.iterdir()) == []


def test_weights_that_come_after_their_turn_was_dropped_do_not_stay(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        newest = await peer.send("a", term=2)
        stale = replace(newest, id=replace(newest.id, term=1))
        await peer.send_turn(stale)
        assert (await peer.hear(TurnRefused)).id == stale.id
        await peer.send_weights(stale)
        await peer.send_weights(newest)
        await peer.send("a", term=3)
        while (await peer.hear(RoundDone)).id.term < 3:
            pass

    assert list(with_site(tmp_path, talk).folder.iterdir()) == []


def test_a_turn_from_someone_else_does_not_touch_the_weights_of_the_real_one(
    tmp_path: Path,
) -> None:
    async def talk(peer: Peer) -> None:
        turn = await peer.send("a")
        done = await peer.hear(RoundDone)
        assert done.id == turn.id
        coming = replace(turn, id=replace(turn.id, term=2))
        await peer.send_weights(coming)
        await peer.forge(coming)
        assert (await peer.hear(TurnRefused)).reason == "wrong_sender"
        await peer.send_turn(coming)
        assert (await peer.hear(RoundDone)).id == coming.id

    with_site(tmp_path, talk)


def test_whoever_watches_is_told_what_happened_to_each_turn_and_message(tmp_path: Path) -> None:
    facts: list[Fact] = []

    async def talk(peer: Peer) -> None:
        await peer.send_rubbish()
        await peer.send("a", term=2)
        await peer.hear(RoundDone)
        await peer.send("a", term=1)
        await peer.hear(TurnRefused)

    with_site(tmp_path, talk, watcher=facts.append)
    refused, trained, handed_over, dropped = facts
    assert isinstance(refused, DeadLettered)
    assert refused.queue == names.turns_queue("a")
    assert isinstance(trained, Trained)
    assert isinstance(handed_over, HandedOver)
    assert trained.id == handed_over.id
    assert handed_over.size > 0
    assert min(trained.seconds, handed_over.seconds) >= 0
    assert isinstance(dropped, TurnDropped)
    assert dropped.reason == "stale_position"


def test_whoever_watches_is_told_of_a_result_that_the_gate_stopped(tmp_path: Path) -> None:
    facts: list[Fact] = []

    async def talk(peer: Peer) -> None:
        await peer.send("a")
        await peer.hear(TurnAbandoned)

    with_site(tmp_path, talk, trainer="nan", watcher=facts.append)
    (closed,) = facts
    assert isinstance(closed, GateClosed)
    assert type(closed.error).__name__ == "NonFiniteWeights"


def test_a_new_journal_is_not_new_any_more_once_the_broker_has_its_report(tmp_path: Path) -> None:
    heard: list[bool] = []

    async def talk(peer: Peer) -> None:
        heard.append((await peer.hear(SiteStarted)).fresh)

    path = tmp_path / "journal.sqlite"
    for _ in range(2):
        with closing(migrations.connect(path, migrations.JOURNAL)) as database:
            with_site(tmp_path, talk, journal=Journal(database, "a"))
    assert heard == [True, False]


def until_released(folder: Path) -> Task:
    """A turn that trains until there is the file `go`, and beats often."""
    params = {"flag": str(folder), "hold": {"a": "go"}}
    return Task(trainer="walk", params=params, beat_s=0.02)


def test_a_turn_that_waits_for_another_run_is_not_silent(tmp_path: Path) -> None:
    """Or its lease would run out for no fault of its site's."""

    async def talk(peer: Peer) -> None:
        await peer.send("a", run="first", task=until_released(tmp_path))
        second = await peer.send("a", run="second", task=until_released(tmp_path))
        for _ in range(3):
            while (beat := await peer.hear(TurnProgressed)).id != second.id:
                pass
            assert ("waiting", 0) == (beat.phase, beat.still_s)
        (tmp_path / "go").touch()
        while (await peer.hear(RoundDone)).id != second.id:
            pass

    with_site(tmp_path, talk)


OFTEN = replace(TASK, beat_s=0.02)


async def stands_still(peer: Peer, turn: Turn, phase: str, *, for_s: float = 0.1) -> None:
    """Wait until a site says so of a turn."""
    while True:
        beat = await peer.hear(TurnProgressed)
        if (beat.id, beat.phase) == (turn.id, phase) and beat.still_s >= for_s:
            return


def test_a_turn_without_weights_says_for_how_long_it_has_had_none(tmp_path: Path) -> None:
    """Also if it waits behind one of them: there it gets nowhere by waiting."""

    async def talk(peer: Peer) -> None:
        first = Turn(
            id=TurnId(run="first", term=1, round=0, hop=0),
            itinerary=("a",),
            weights=WeightsRef(digest="blake3:" + "0" * 64, size=1),
            task=OFTEN,
        )
        await peer.send_turn(first)
        second = await peer.send("a", run="second", task=OFTEN)
        await stands_still(peer, first, "taken")
        await stands_still(peer, second, "waiting")
        await peer.fence(first)
        while (await peer.hear(RoundDone)).id != second.id:
            pass

    with_site(tmp_path, talk)


def test_a_hand_over_that_stands_still_says_so_until_it_comes_on(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        stuck = stuck_here.pop()
        turn = await peer.send("a", task=OFTEN)
        await stands_still(peer, turn, "trained")
        second = await peer.send("a", run="second", task=OFTEN)
        await stands_still(peer, second, "waiting")
        stuck.free()
        assert (await peer.hear(RoundDone)).id == turn.id
        assert (await peer.hear(RoundDone)).id == second.id

    stuck_here: list[Stuck] = []
    with_site(tmp_path, talk, through=stuck_at(names.to_weights(CONTROLLER), stuck_here))


def test_a_broker_that_takes_nothing_is_no_fault_of_a_hand_over(tmp_path: Path) -> None:
    """It stands still, and the clock by which that is said stands with it."""
    began: list[float] = []

    def blocked_s() -> float:
        return asyncio.get_running_loop().time() - began[0] if began else 0.0

    async def talk(peer: Peer) -> None:
        stuck = stuck_here.pop()
        turn = await peer.send("a", task=OFTEN)
        await until(lambda: stuck.waiting, what="handing over")
        began.append(asyncio.get_running_loop().time())
        await until(lambda: blocked_s() > 0.3, what="it takes nothing for a while")
        peer.heard()
        for _ in range(3):
            assert (await peer.hear(TurnProgressed)).still_s < 0.2
        stuck.free()
        assert (await peer.hear(RoundDone)).id == turn.id

    stuck_here: list[Stuck] = []
    at = stuck_at(names.to_weights(CONTROLLER), stuck_here)
    with_site(tmp_path, talk, through=at, blocked_s=blocked_s)


@pytest.mark.parametrize("how", ["a fence", "a newer turn", "the end of its run"])
def test_a_hand_over_that_is_void_is_let_go_of(tmp_path: Path, how: str) -> None:
    """Bug: it waited for its confirmation for ever, and kept the result and its room with it."""

    async def talk(peer: Peer) -> None:
        stuck = stuck_here.pop()
        turn = await peer.send("a", task=OFTEN)
        await until(lambda: stuck.waiting, what="handing over")
        if how == "a fence":
            await peer.fence(turn)
        elif how == "the end of its run":
            await peer.end_run(turn)
        else:
            await peer.send("a", term=2)
        assert ("fenced", turn.id) == refusal(await peer.hear(TurnRefused))
        await until(lambda: stuck.withdrawn, what="let go of")
        stuck.free()
        newest = await peer.send("a", term=3)
        while (await peer.hear(RoundDone)).id != newest.id:
            pass

    stuck_here: list[Stuck] = []
    at = stuck_at(names.to_weights(CONTROLLER), stuck_here)
    assert list(with_site(tmp_path, talk, through=at).folder.iterdir()) == []


def test_a_site_that_ends_in_the_middle_of_a_hand_over_keeps_its_result(tmp_path: Path) -> None:
    """Nobody has it but this site: it is handed over after the next start."""

    async def be_ended(peer: Peer) -> None:
        stuck = stuck_here.pop()
        await peer.send("a")
        await until(lambda: stuck.waiting, what="handing over")
        raise Ended

    async def go_on(peer: Peer) -> None:
        assert (await peer.hear(RoundDone)).id.term == 1

    stuck_here: list[Stuck] = []
    at = stuck_at(names.to_weights(CONTROLLER), stuck_here)
    path = tmp_path / "journal.sqlite"
    with closing(migrations.connect(path, migrations.JOURNAL)) as database:
        with pytest.raises(ExceptionGroup):
            with_site(tmp_path, be_ended, journal=Journal(database, "a"), through=at)
        with_site(tmp_path, go_on, journal=Journal(database, "a"))


def test_a_site_that_ends_leaves_a_hand_over_that_stands_still_to_its_next_start(
    tmp_path: Path,
) -> None:
    """Bug: it did not end, for as long as the next queue confirmed nothing."""

    async def be_drained(peer: Peer) -> None:
        await peer.send("a")
        await until(lambda: stuck_here[0].waiting, what="handing over")

    async def go_on(peer: Peer) -> None:
        assert (await peer.hear(RoundDone)).id.term == 1

    stuck_here: list[Stuck] = []
    at = stuck_at(names.to_weights(CONTROLLER), stuck_here)
    path = tmp_path / "journal.sqlite"
    with closing(migrations.connect(path, migrations.JOURNAL)) as database:
        journal = Journal(database, "a")
        with_site(tmp_path, be_drained, journal=journal, through=at, farewell_s=0.1)
        with_site(tmp_path, go_on, journal=journal)


def test_a_site_that_ends_waits_for_its_trainer_however_long_that_takes(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        await peer.send("a", task=replace(TASK, params={"pause_s": 0.5}))
        await peer.hear(TurnProgressed)

    facts: list[Fact] = []
    with_site(tmp_path, talk, farewell_s=0.1, watcher=facts.append)
    assert [Trained, HandedOver] == [type(fact) for fact in facts]


def test_a_site_that_ends_does_not_wait_for_ever_for_its_last_words_to_be_confirmed(
    tmp_path: Path,
) -> None:
    async def talk(peer: Peer) -> None:
        await until(lambda: stuck_here[0].waiting, what="it has something to say")

    stuck_here: list[Stuck] = []
    at = stuck_at(names.to_controller(), stuck_here)
    with_site(tmp_path, talk, through=at, farewell_s=0.1)


def test_the_weights_of_a_waiting_turn_that_is_fenced_do_not_stay(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        await peer.send("a", run="first", task=until_released(tmp_path))
        second = await peer.send("a", run="second")
        while (await peer.hear(TurnTaken)).id != second.id:
            pass
        await peer.fence(second)
        assert (await peer.hear(TurnRefused)).reason == "fenced"
        (tmp_path / "go").touch()
        await peer.hear(RoundDone)

    assert list(with_site(tmp_path, talk).folder.iterdir()) == []


def test_a_stream_that_gives_nothing_is_read_anew(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        turn = await peer.send("a", "b")
        abandoned = await peer.hear(TurnAbandoned)
        assert (turn.id, "Unroutable") == (abandoned.id, abandoned.error)  # it was trained

    with_site(tmp_path, talk, through=deaf_to(names.weights_stream("a")))


def test_a_site_that_ends_gives_back_a_turn_that_has_no_weights(tmp_path: Path) -> None:
    """It does not wait first until their stream would be read anew."""

    async def talk(peer: Peer) -> None:
        turn = Turn(
            id=TurnId(run="r", term=1, round=0, hop=0),
            itinerary=("a",),
            weights=WeightsRef(digest="blake3:" + "0" * 64, size=1),
            task=TASK,
        )
        await peer.send_turn(turn)
        await peer.hear(TurnTaken)

    with_site(tmp_path, talk, stall_s=10 * DEADLINE_S)


def crafted(**changes: object) -> bytes:
    """A turn that a member made up, with itself before `a`, as no sender of ours would write it."""
    id = {"run": "crafted", "lane": 0, "term": 1, "round": 0, "hop": 1}
    turn = {
        "v": 1,
        "type": "turn",
        "id": {**id, **{name: changes.pop(name) for name in id if name in changes}},
        "itinerary": ["c", "a"],
        "weights": {"digest": "blake3:" + "0" * 64, "size": 1},
        "task": {"trainer": "walk"},
        **changes,
    }
    return bytes(msgpack.packb(turn))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"lane": 2**63}, id="a lane that no database can hold"),
        pytest.param({"term": "9" * 40}, id="a number that no message can hold"),
        pytest.param({"weights": {"digest": "blake3:" + "0" * 64, "size": "9" * 40}}, id="a size"),
        pytest.param({"task": {"trainer": "walk", "seed": "9" * 40}}, id="a seed"),
        pytest.param({"itinerary": ["c", "a", "x" * 300]}, id="a name that no broker can route"),
    ],
)
def test_a_turn_with_values_that_nothing_can_hold_is_refused_and_the_site_goes_on(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    facts: list[Fact] = []

    async def talk(peer: Peer) -> None:
        await peer.send_from_c(crafted(**changes))
        await peer.send("a")
        await peer.hear(RoundDone)

    with_site(tmp_path, talk, watcher=facts.append)
    assert isinstance(facts[0], DeadLettered)


def test_no_turn_makes_its_site_do_nothing_but_beat(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        task = replace(until_released(tmp_path), beat_s=0.0)
        turn = await peer.send("a", task=task)
        for _ in range(3):
            await peer.hear(TurnProgressed)
        began = asyncio.get_running_loop().time()
        for _ in range(10):
            await peer.hear(TurnProgressed)
        assert asyncio.get_running_loop().time() - began > 0.05
        (tmp_path / "go").touch()
        assert (await peer.hear(RoundDone)).id == turn.id

    with_site(tmp_path, talk)


def test_a_trainer_that_logs_new_names_for_ever_does_not_end_its_site(tmp_path: Path) -> None:
    async def talk(peer: Peer) -> None:
        turn = await peer.send("a", task=replace(TASK, beat_s=0.05))
        while len((beat := await peer.hear(TurnProgressed)).values) < 256:
            pass
        assert len(beat.values) == 256
        assert (await peer.hear(RoundDone)).id == turn.id

    with_site(tmp_path, talk, trainer="talk_for_ever")


@pytest.mark.parametrize(
    ("trainer", "error"), [("many_metrics", "TurnTooLarge"), ("half_a_sample", "TrainerError")]
)
def test_a_result_that_nobody_could_read_fails_its_turn_and_not_the_site(
    tmp_path: Path, trainer: str, error: str
) -> None:
    async def talk(peer: Peer) -> None:
        turn = await peer.send("a")
        abandoned = await peer.hear(TurnAbandoned)
        assert (turn.id, error) == (abandoned.id, abandoned.error)
        await peer.send("a", term=2)
        await peer.hear(TurnAbandoned)

    assert list(with_site(tmp_path, talk, trainer=trainer).folder.glob("*.safetensors")) == []


def test_a_turn_that_could_not_be_sent_on_is_not_trained(tmp_path: Path) -> None:
    """Bug: it was trained, three times, and then there was no message that could take it on."""
    trained: list[Fact] = []

    async def talk(peer: Peer) -> None:
        full = replace(await peer.send("a", run="first"), history=(bytes(3 * 2**20),))
        await peer.hear(RoundDone)
        trained.clear()
        full = replace(full, id=replace(full.id, run="second"))
        await peer.send_weights(full)
        await peer.send_turn(full)
        abandoned = await peer.hear(TurnAbandoned)
        assert (full.id, "TurnTooLarge") == (abandoned.id, abandoned.error)
        assert "Report fewer metrics" in abandoned.detail

    with_site(tmp_path, talk, watcher=trained.append)
    assert [] == [fact for fact in trained if isinstance(fact, Trained)]


@dataclass
class Thief:
    """A trainer that leaves something behind, which removes what was trained."""

    trainer: Trainer

    async def train(self, request: TurnRequest, log: Log, *, began: Began = unnoticed) -> Outcome:
        outcome = await self.trainer.train(request, log, began=began)
        Path(request.result).unlink()
        return outcome

    async def farewell(self) -> None:
        await self.trainer.farewell()

    async def close(self) -> None:
        await self.trainer.close()


def test_a_result_that_is_gone_fails_its_turn_and_not_the_site(tmp_path: Path) -> None:
    """Bug: a FileNotFoundError, which ended the service."""

    async def talk(peer: Peer) -> None:
        for term in (1, 2):
            turn = await peer.send("a", term=term)
            abandoned = await peer.hear(TurnAbandoned)
            assert (turn.id, StorageError.__name__) == (abandoned.id, abandoned.error)

    with_site(tmp_path, talk, as_trainer=Thief)


@pytest.mark.parametrize("number", [np.int64(8), np.float32(8.0)])
def test_samples_of_any_scalar_type_are_a_number(tmp_path: Path, number: object) -> None:
    weights = write_initial("walk:make", tmp_path / "in", folder=TRAINERS, seed=0)
    request = TurnRequest.of(
        Turn(
            id=TurnId(run="r", term=1, round=0, hop=0), itinerary=("a",), weights=weights, task=TASK
        ),
        received=tmp_path / "in",
        result=tmp_path / "out",
        data=None,
        device=None,
    )
    state = load_state(tmp_path / "in", framework="numpy")
    outcome = write_result(request, Result(state=state, samples=cast("int", number)))
    assert 8 == outcome.samples
    assert type(outcome.samples) is int
