"""A peer's word is worth what the broker vouches for, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest
from structlog.testing import capture_logs

from support.relay import relay
from support.simulation import TRAINERS
from support.waiting import until
from tasuki.core.model import Turn, TurnId, TurnRecord
from tasuki.core.report import SiteMeasured, TurnAbandoned, TurnRefused, TurnTaken
from tasuki.core.run import Status
from tasuki.weights.chunks import ChunkedFile, transfer_id
from tasuki.wire import names
from tasuki.wire.messages import encode
from tasuki_controller.news import MessageDiscarded, Update
from tasuki_site.model_files.initial import write_initial

ORDER = '["site-2", "site-1", "site-3"]'


def test_forged_weights_for_the_very_turn_do_not_fail_it(tmp_path: Path) -> None:
    """Bug: whoever sent wrong bytes under a transfer's name failed the turn that waited for it."""
    forged = tmp_path / "forged"

    async def run() -> None:
        async with relay(tmp_path, {"order": ORDER, "attempts": 1, "rounds": 1}) as it:
            first = write_initial("walk:make", forged, folder=TRAINERS, seed=7)
            forged.write_bytes(bytes(first.size))
            transfer = transfer_id(TurnId(run=it.run, term=1, round=0, hop=0), first)
            evil = it.queues.connect("site-3")
            with ChunkedFile(forged, transfer=transfer, weights=first) as chunks:
                await evil.publish(names.to_weights("site-2"), chunks)
            it.submit()
            assert it.state.weights == first
            state = await it.until_over()
            assert state.status is Status.FINISHED
            assert state.lanes[0].relay.term == 1

    asyncio.run(run())


def test_a_site_that_only_counts_does_not_keep_its_turn_alive(tmp_path: Path) -> None:
    """Its series come all the time; its turn waits for weights that were lost."""

    async def run() -> None:
        failure = 'lease_s = 0.4\non_silent = "fail"'
        async with relay(tmp_path, {"order": ORDER, "failure": failure}) as it:
            it.queues.fault = lambda route, body: [] if route.exchange == names.WEIGHTS else [body]
            await until(lambda: counted(it.updates) >= 3, what="every site has counted")
            it.submit()
            state = await it.until_over()
            assert state.status is Status.FAILED
            assert "site-2 has received no weights for 0.4 s" == state.reason

    asyncio.run(run())


def counted(updates: Sequence[Update]) -> int:
    """How many sites have sent their series."""
    return len({u.what.site for u in updates if isinstance(u.what, SiteMeasured)})


def test_what_a_site_says_of_an_error_is_kept_within_bounds(tmp_path: Path) -> None:
    """A report may have 4 MiB, and every state of its run would hold the words that ended it."""
    order = '["site-3", "site-1", "site-2"]'
    long = "\N{PILE OF POO}" * 10**5

    async def run() -> None:
        changes = {"order": order, "attempts": 1, "failure": 'on_silent = "fail"'}
        async with relay(tmp_path, changes, running=()) as it:
            evil = it.queues.connect("site-3")
            it.submit()
            id = it.state.lanes[0].relay.expected
            refused = TurnRefused(id=id, site="site-3", reason=long)
            gave_up = TurnAbandoned(id=id, site="site-3", error=long, detail=long)
            for report in (refused, gave_up):
                await evil.publish(names.to_controller(), [(encode(report),)])
            state = await it.until_over()
            assert state.status is Status.FAILED
            assert len(state.reason) < 4000
            assert max(len(row.event) for row in it.ledger.rows(it.run)) < 4 * 4000

    asyncio.run(run())


NEST = b"\x91" * 900 + b"\xc0"
WITHOUT_END = [
    msgpack.packb({"v": 1, "type": "TurnDone", "site": "site-3", "record": None})[:-1] + NEST,
    msgpack.packb({"v": 1, "type": "TurnDone", "site": "site-3", "record": NEST}),
]


@pytest.mark.parametrize("report", WITHOUT_END)
def test_a_report_without_end_does_not_end_the_controller(tmp_path: Path, report: bytes) -> None:
    """Bug: it was not settled either, so that it came again after each restart."""

    async def run() -> None:
        async with relay(tmp_path, {"rounds": 1}) as it:
            await it.queues.connect("site-3").publish(names.to_controller(), [(report,)])
            dead = it.queues.queue(names.DEAD)
            await until(lambda: dead.messages, what="it was refused")
            it.submit()
            assert (await it.until_over()).status is Status.FINISHED

    asyncio.run(run())


@pytest.mark.parametrize("size", [2**63, 10**30])
def test_a_result_of_a_size_that_nothing_can_hold_is_refused(tmp_path: Path, size: int) -> None:
    """Bug: it was accepted, and what followed from it could not be recorded."""

    async def run() -> None:
        async with relay(tmp_path, {"order": '["site-3"]', "rounds": 1}, running=()) as it:
            it.submit()
            record = TurnRecord(
                id=it.state.lanes[0].relay.expected,
                site="site-3",
                received=it.state.weights.digest,
                sent=it.state.weights,
            )
            said = msgpack.unpackb(encode(record))
            said["sent"]["size"] = str(size)
            done = {"v": 1, "type": "TurnDone", "site": "site-3", "record": msgpack.packb(said)}
            evil = it.queues.connect("site-3")
            await evil.publish(names.to_controller(), [(msgpack.packb(done),)])
            await until(lambda: it.queues.queue(names.DEAD).messages, what="it was refused")
            assert 0 == it.state.turns

    asyncio.run(run())


def test_a_later_site_can_make_up_what_came_before_and_the_others_logs_disprove_it(
    tmp_path: Path,
) -> None:
    """A limit that docs/security.md tells of: a turn carries the results of those before it."""

    async def run() -> None:
        async with relay(tmp_path, {"order": ORDER, "rounds": 1}, running=()) as it:
            evil = it.queues.connect("site-3")
            it.submit()
            id, first = it.state.lanes[0].relay.expected, it.state.weights
            forged = replace(first, digest="blake3:" + "0" * 64)
            made_up = TurnRecord(id=id, site="site-2", received=first.digest, sent=forged)
            taken = TurnTaken(id=replace(id, hop=2), site="site-3", history=(encode(made_up),))
            await evil.publish(names.to_controller(), [(encode(taken),)])
            state = await it.until(lambda state: state.turns == 1)
            assert state.weights == forged
            with capture_logs() as said:
                it.start_site("site-2")
                await until(lambda: "handed over" in events(said), what="site-2 has trained")
            own = said[events(said).index("handed over")]
            assert (own["turn"], own["digest"] == forged.digest) == (str(id), False)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("site", "by", "of"),
    [
        ("site-3", TurnId(run="walk", term=99, round=0, hop=2), "site-2"),
        ("site-3", TurnId(run="walk", term=1, round=9, hop=2), "site-2"),
        ("site-9", TurnId(run="walk", term=99, round=0, hop=2), "site-2"),
        ("site-2", TurnId(run="walk", term=1, round=0, hop=0), "site-1"),
    ],
)
def test_nobody_tells_of_turns_that_do_not_come_before_its_own(
    tmp_path: Path, site: str, by: TurnId, of: str
) -> None:
    """Bug: a turn that the teller made up was enough, even for a site that takes no part."""

    async def run() -> None:
        changes = {"order": ORDER, "sites": '["site-1", "site-2", "site-3", "site-9"]'}
        async with relay(tmp_path, changes, running=()) as it:
            evil = it.queues.connect(site)
            it.submit()
            id, first = it.state.lanes[0].relay.expected, it.state.weights
            hop = it.state.lanes[0].relay.itinerary.index(of)
            forged = replace(first, digest="blake3:" + "0" * 64)
            made_up = TurnRecord(
                id=replace(id, hop=hop), site=of, received=first.digest, sent=forged
            )
            taken = TurnTaken(id=by, site=site, history=(encode(made_up),))
            await evil.publish(names.to_controller(), [(encode(taken),)])
            await until(lambda: bool(refused(it.updates)), what="it is refused")
            assert ["wrong_site"] == refused(it.updates)
            assert (it.state.turns, it.state.lanes[0].relay.early) == (0, ())

    asyncio.run(run())


@pytest.mark.parametrize(
    ("itinerary", "told"),
    [
        (("site-9", "site-1", "site-3"), ("site-2",)),  # the site sees it
        (("site-2", "site-9", "site-3"), ("site-2", "site-9")),  # only the controller can
    ],
)
def test_nobody_gets_weights_in_through_a_site_that_trains_them_in_good_faith(
    tmp_path: Path, itinerary: tuple[str, ...], told: tuple[str, ...]
) -> None:
    """Bug: a made-up turn, and the victim's own report of it, put another's result on record."""
    victim = itinerary[len(told)]

    async def run() -> None:
        changes = {"order": ORDER, "sites": '["site-1", "site-2", "site-3", "site-9"]'}
        async with relay(tmp_path, changes, running=[victim]) as it:
            evil = it.queues.connect("site-9")
            plan = it.submit()
            id, received = it.state.lanes[0].relay.expected, it.state.weights
            history = []
            for hop, site in enumerate(told):
                sent = replace(received, digest=f"blake3:{hop:064x}")
                record = TurnRecord(
                    id=replace(id, hop=hop), site=site, received=received.digest, sent=sent
                )
                history.append(encode(record))
                received = sent
            turn = Turn(
                id=replace(id, hop=len(told)),
                itinerary=itinerary,
                weights=received,
                task=plan.task,
                history=tuple(history),
            )
            with capture_logs() as said:
                await evil.publish(names.to_turns(victim), [(encode(turn),)])
                await until(
                    lambda: "message refused" in events(said) or refused(it.updates),
                    what="it is refused",
                )
            assert (it.state.turns, it.state.lanes[0].relay.early) == (0, ())

    asyncio.run(run())


def refused(updates: Sequence[Update]) -> list[str]:
    return [u.what.reason for u in updates if isinstance(u.what, MessageDiscarded)]


def events(said: Sequence[MutableMapping[str, object]]) -> list[object]:
    return [line["event"] for line in said]
