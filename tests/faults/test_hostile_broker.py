"""The broker's administrator as the enemy: he reads nothing, and changes nothing unseen.

Every federation here insists on signatures and seals. Its services are the real ones, in this
process; the broker is a real one, and all that is published on it passes through his hands.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.altering import HEADER_BYTES, Altering, Imposter
from support.attacker import Attacker, Letter, Tampering, as_it_is
from support.besieged import ALL, Besieged, besieged
from support.broker import Broker
from support.hostile import seed
from support.plain import digest_of, load_trainer, plain_loop, seed_of
from support.relay import relay
from support.waiting import until
from tasuki.core.control import RosterIssued
from tasuki.core.model import CONTROLLER
from tasuki.core.run import RunState, Status
from tasuki.weights.chunks import decode_chunk
from tasuki.wire.messages import encode

ORDER = '["site-2", "site-1", "site-3"]'
ROUND = ["site-2", "site-1", "site-3"]
WAIT = 'lease_s = 0.5\non_silent = "wait"'
MANY = {"turns": 300, "reports": 60, "control": 200, "weights": 200}
"""Altered messages for each real one; few of a run's messages are control."""

MOST = 4500
"""Of each kind: sites beat, so that a slow machine would see no end of reports."""

LATE = frozenset(
    {"duplicate", "stale_term", "stale_position", "not_awaited", "run_over", "replayed"}
)
"""What is said twice as a matter of course is refused for these; no weights are sent twice."""

UNSAFE = frozenset({"not_signed", "not_sealed", "bad_seal"})

pytestmark = pytest.mark.timeout(300)

Deed = Callable[[Besieged, Attacker], Awaitable[None]]


class Stage:
    """Where it happens: a broker, a vhost, a folder."""

    def __init__(self, folder: Path, broker: Broker, vhost: str) -> None:
        self.folder, self.broker, self.vhost = folder, broker, vhost

    def play(
        self,
        deed: Deed,
        *,
        trainer: str = "walk:train",
        without_keys: Collection[str] = (),
        **changes: object,
    ) -> None:
        async def run() -> None:
            wanted = {"order": ORDER, "rounds": 2, **changes}
            async with besieged(
                self.folder,
                self.broker,
                self.vhost,
                wanted,
                trainer=trainer,
                without_keys=without_keys,
            ) as (it, he):
                await deed(it, he)

        asyncio.run(run())


@pytest.fixture
def stage(tmp_path: Path, broker: Broker, vhost: str) -> Stage:
    return Stage(tmp_path, broker, vhost)


def by_reader(altering: Altering) -> Counter[tuple[str, str]]:
    """How many altered messages went to whom, so far: the last of a run are altered as it ends."""
    return Counter((letter.reader, letter.kind) for letter in list(altering.sent))


async def ends_well(it: Besieged, *, rounds: int = 2, make: str = "make") -> RunState:
    """With the bits that it would have had if nobody had done anything."""
    state = await it.until_over()
    assert (Status.FINISHED, "every round is done") == (state.status, state.reason)
    assert plain_loop([ROUND] * rounds, make=make) == state.weights.digest
    return state


def test_ten_thousand_altered_messages_are_refused_and_counted_and_change_nothing(
    stage: Stage,
) -> None:
    async def deed(it: Besieged, he: Attacker) -> None:
        rng, imposter = random.Random(seed()), Imposter(it.signatory, it.roster)
        altering = Altering(rng, many=MANY, most=MOST, imposter=imposter, run=it.run)
        he.tampering = altering
        it.submit()
        state = await ends_well(it, rounds=3)
        assert state.lanes[0].relay.term == 3  # one for each round: no turn was given out again
        assert state.evaluations == 3
        he.tampering = as_it_is
        real = [letter for letter in he.taken if MANY[letter.kind]]
        he.put(*(altering.altered(rng.choice(real)) for _ in range(10_000 - len(altering.sent))))
        assert len(altering.sent) >= 10_000
        await it.until_each_refused(lambda: by_reader(altering), but=LATE)

    stage.play(deed, rounds=3, bottom="[evaluate]\nevery_n_rounds = 1")


def test_lanes_that_become_one_are_no_way_in(stage: Stage) -> None:
    lanes = "[lanes]\ncount = 2\n[evaluate]\nevery_n_rounds = 1"

    async def undisturbed() -> str:
        folder = stage.folder / "undisturbed"
        folder.mkdir()
        async with relay(folder, {"rounds": 2, "order": '"fixed"', "bottom": lanes}) as it:
            it.submit()
            return (await it.until_over()).weights.digest

    expected = asyncio.run(undisturbed())

    async def deed(it: Besieged, he: Attacker) -> None:
        many = dict.fromkeys(MANY, 20)
        imposter = Imposter(it.signatory, it.roster)
        altering = Altering(
            random.Random(seed()), many=many, most=300, imposter=imposter, run=it.run
        )
        he.tampering = altering
        it.submit()
        state = await it.until_over()
        assert (Status.FINISHED, expected) == (state.status, state.weights.digest)
        await it.until_each_refused(lambda: by_reader(altering), but=LATE)

    stage.play(deed, order='"fixed"', bottom=lanes)


def test_nothing_that_lies_on_the_broker_can_be_read_by_who_has_no_key(stage: Stage) -> None:
    walk = load_trainer("walk")
    marks = [mark.encode() for mark in (*walk.MARKS, "mark-of-params")]

    def spoil_some(letter: Letter) -> Iterator[Letter]:
        """So that some lie among the dead letters."""
        yield Letter(queue=letter.queue, sender=letter.sender, body=letter.body[:-1] + b"?")
        yield letter

    async def deed(it: Besieged, he: Attacker) -> None:
        he.tampering = spoil_some
        it.submit()
        state = await it.until_over()
        assert (Status.FINISHED, "every round is done") == (state.status, state.reason)
        marked = walk.make_marked()
        plain = walk.make()
        for round in range(2):
            for hop, site in enumerate(ROUND):
                plain = walk.walk(plain, seed_of(round, hop, site))
        assert digest_of({**marked, **plain}) == state.weights.digest
        told = b"".join(row.event for row in it.ledger.rows(it.run))
        for known in (walk.IN_METRICS, walk.IN_ERRORS, "mark-of-params"):
            assert known.encode() in told
        dead = he.dead_letters()
        assert dead
        for body in (*(letter.body for letter in he.taken), *dead):
            assert not [mark for mark in marks if mark in body]
        on_disk = [path for path in stage.broker.folder.rglob("*") if path.is_file()]
        assert not [(p, m) for p in on_disk for m in marks if m in p.read_bytes()]

    stage.play(
        deed,
        trainer="walk:train_marked",
        initial="walk:make_marked",
        params='secret = "mark-of-params"',
        attempts=3,
    )


def test_what_comes_twice_and_out_of_order_changes_nothing(stage: Stage) -> None:
    rng = random.Random(seed())
    held: list[Letter] = []

    def shuffle(letter: Letter) -> Iterator[Letter]:
        """Each once to three times, some later than those that came after them."""
        held.extend([letter] * rng.randint(1, 3))
        rng.shuffle(held)
        while held and rng.random() < 0.8:
            yield held.pop()

    async def deed(it: Besieged, he: Attacker) -> None:
        he.tampering = shuffle
        it.submit()
        await ends_well(it, rounds=3)

    stage.play(deed, rounds=3)


def taken_away(kind: str, site: str) -> Tampering:
    """Nothing of this kind gets to this site, or comes from it."""

    def take_away(letter: Letter) -> Iterable[Letter]:
        is_his = letter.kind == kind and site in {letter.reader, letter.sender}
        return () if is_his else (letter,)

    return take_away


@pytest.mark.parametrize(("kind", "site"), [("turns", "site-1"), ("reports", "site-3")])
def test_a_run_stands_while_he_takes_messages_away_and_goes_on_when_he_stops(
    stage: Stage, kind: str, site: str
) -> None:
    """What the last site of a round says comes with no other's turn."""

    async def deed(it: Besieged, he: Attacker) -> None:
        he.tampering = taken_away(kind, site)
        it.submit()
        state = await it.until(lambda state: bool(state.reason))
        assert site in state.reason
        assert state.status is Status.RELAYING
        he.stand_aside()
        await ends_well(it)

    stage.play(deed, failure=WAIT)


def test_weights_that_he_takes_away_are_sent_again(stage: Stage) -> None:
    async def deed(it: Besieged, he: Attacker) -> None:
        he.tampering = taken_away("weights", "site-1")
        it.submit()
        await it.until(lambda state: state.lanes[0].relay.term > 2)
        he.tampering = as_it_is
        await ends_well(it)

    stage.play(deed, failure="lease_s = 0.5", attempts=50)


def test_messages_that_he_alters_are_sent_again_until_he_stops(stage: Stage) -> None:
    async def deed(it: Besieged, he: Attacker) -> None:
        rng, imposter = random.Random(seed()), Imposter(it.signatory, it.roster)
        altering = Altering(rng, many={}, most=0, imposter=imposter, run=it.run)

        def alter_some(letter: Letter) -> Iterable[Letter]:
            return (altering.altered(letter) if rng.random() < 0.3 else letter,)

        he.tampering = alter_some
        it.submit()
        await it.until(lambda state: state.lanes[0].relay.term > 3)
        he.tampering = as_it_is
        await ends_well(it, rounds=3)
        await it.until_refused(by_reader(altering).total(), but=LATE)

    stage.play(deed, rounds=3, failure="lease_s = 0.5", attempts=50)


@pytest.mark.parametrize("way", ["swapped", "cut short"])
def test_transfers_whose_pieces_he_swaps_or_keeps_are_sent_again(stage: Stage, way: str) -> None:
    """Of several pieces each: one is that of the transfer before to the same reader, or is gone."""
    earlier: dict[tuple[str, int], bytes] = {}
    spoiled: list[Letter] = []

    def spoil(letter: Letter) -> Iterable[Letter]:
        if letter.kind != "weights" or len(spoiled) == 3:
            return (letter,)
        at = decode_chunk(letter.body).at
        before = earlier.get((letter.queue, at))
        earlier[letter.queue, at] = letter.body
        if before is None or at != 2**20:
            return (letter,)
        spoiled.append(letter)
        if way == "cut short":
            return ()
        head, piece = letter.body[:HEADER_BYTES], before[HEADER_BYTES:]
        return (replace(letter, body=head + piece),)

    async def deed(it: Besieged, he: Attacker) -> None:
        he.tampering = spoil
        it.submit()
        await ends_well(it, make="make_large")
        assert len(spoiled) == 3
        counted = it.refused()
        bad = sum(count for (*_, reason), count in counted.items() if reason == "bad_seal")
        assert bad == (3 if way == "swapped" else 0)

    stage.play(deed, initial="walk:make_large", failure="lease_s = 1", attempts=20)


def test_what_he_kept_of_an_earlier_run_of_the_same_name_changes_nothing(stage: Stage) -> None:
    rng = random.Random(seed())

    async def deed(it: Besieged, he: Attacker) -> None:
        it.submit()
        await ends_well(it)
        old = list(he.taken)

        def mix_in(letter: Letter) -> Iterator[Letter]:
            if len(he.taken) < len(old) + 200:  # what it is answered with comes by him as well
                yield from rng.choices(old, k=3)
            yield letter

        await it.stop(CONTROLLER)
        it.ledger.close()
        (it.folder / "ledger.sqlite").unlink()
        shutil.rmtree(it.folder / "runs")
        it.stall_s = 0.5  # the first weights are those of the run before: they are looked for anew
        it.run_file = it.run_file.model_copy(update={"seed": 8})
        await it.start_controller()
        he.tampering = mix_in
        it.submit()
        state = await it.until_over()
        assert (Status.FINISHED, walked(8)) == (state.status, state.weights.digest)
        of_old = {"older_run", "other_run"}
        assert of_old <= {reason for _, _, reason in it.refused()}

    stage.play(deed)


def walked(seed: int) -> str:
    """The digest after two rounds from another seed."""
    walk = load_trainer("walk")
    state = walk.make()
    for round in range(2):
        for hop, site in enumerate(ROUND):
            state = walk.walk(state, seed_of(round, hop, site, seed=seed))
    return digest_of(state)


def test_a_roster_that_he_keeps_holds_up_a_turn_and_no_older_one_is_taken(stage: Stage) -> None:
    def keep_rosters(letter: Letter) -> Iterable[Letter]:
        return () if letter.kind == "control" else (letter,)

    async def deed(it: Besieged, he: Attacker) -> None:
        he.tampering = keep_rosters
        newer = it.signatory.roster(ALL, number=2)
        rosters = it.rosters
        rosters.take(newer)
        it.controller.tell_roster()
        it.submit()
        # The site asks for it, in vain.
        await until(lambda: len(he.taken) > 20, what="they have talked")
        assert it.state.turns == 0
        he.tampering = as_it_is
        it.controller.tell_roster()
        await ends_well(it)
        old = encode(RosterIssued(roster=it.roster))
        count = it.counted()["site-1", "control"]
        he.put(Letter(queue="tasuki.control.site-1", sender=CONTROLLER, body=old))
        await until(lambda: it.counted()["site-1", "control"] > count, what="it is refused")
        assert it.refused()["site-1", "control", "old_roster"] == 1

    stage.play(deed)


@pytest.mark.parametrize("older", [CONTROLLER, "site-1"])
def test_who_insists_takes_nothing_of_somebody_who_has_no_keys(stage: Stage, older: str) -> None:
    """As everybody spoke before there were signatures and seals."""

    async def deed(it: Besieged, he: Attacker) -> None:
        it.submit()
        state = await it.until_over()
        assert state.status is Status.FAILED
        assert state.reason
        assert it.refused()
        assert {reason for _, _, reason in it.refused()} <= UNSAFE
        accepted = [r for lane in state.lanes for r in lane.relay.records if r.site == older]
        assert accepted == []

    stage.play(deed, without_keys=(older,), failure='lease_s = 0.5\non_silent = "fail"')


def test_a_run_that_may_not_wait_fails_and_says_why(stage: Stage) -> None:
    async def deed(it: Besieged, he: Attacker) -> None:
        he.tampering = lambda letter: () if letter.reader == "site-1" else (letter,)
        it.submit()
        state = await it.until_over()
        assert state.status is Status.FAILED
        assert "site-1" in state.reason

    stage.play(deed, failure='lease_s = 0.5\non_silent = "fail"')
