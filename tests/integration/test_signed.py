"""Members that sign: what is forged, altered or replayed is refused, and the bits are the same."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pytest

from support.members import Signatory
from support.relay import Relay, relay
from support.waiting import until
from tasuki.core.control import Control, FenceRaised, RosterIssued, RunEnded
from tasuki.core.model import CONTROLLER, Turn, TurnRecord
from tasuki.core.report import (
    RosterWanted,
    RoundDone,
    TurnAbandoned,
    TurnDone,
    TurnProgressed,
    TurnTaken,
)
from tasuki.core.run import RunState, Status, TurnFailed, TurnFinished
from tasuki.core.trust import Must, Roster, Warrant
from tasuki.errors import MessageError
from tasuki.ports import Route
from tasuki.trust.member import Member
from tasuki.trust.rosters import Rosters, verified
from tasuki.trust.rows import is_row_signed
from tasuki.trust.signing import public_key
from tasuki.wire import names
from tasuki.wire.messages import decode, encode, sealed_in, signed_in
from tasuki_controller.news import MessageDiscarded
from tasuki_site.facts import DeadLettered

ORDER = '["site-2", "site-1", "site-3"]'
EVIL = "site-9"
"""A member that takes part in no run."""

NAMES = (CONTROLLER, "site-1", "site-2", "site-3", EVIL)
BUT_THE_FIRST = ("site-1", "site-3")

T = TypeVar("T")


@dataclass
class Lab:
    """Members with keys, and a tap on what they say to each other."""

    signatory: Signatory = field(default_factory=lambda: Signatory(now=time.time()))
    caught: list[tuple[Route, bytes]] = field(default_factory=list)
    rosters: dict[str, bytes] = field(default_factory=dict)
    require: Sequence[Must] = (Must.SIGNED,)

    def __post_init__(self) -> None:
        self.rosters = dict.fromkeys(NAMES, self.signatory.roster(NAMES))

    def member(self, name: str) -> Member:
        roster = self.rosters[name]
        return self.signatory.member(name, roster, require=self.require, now=time.time)

    def listen(self, route: Route, body: bytes) -> list[bytes]:
        self.caught.append((route, body))
        return [body]

    def of(self, kind: type[T]) -> list[tuple[Route, bytes, T]]:
        """What travelled of a kind so far, opened as who it was for would."""
        found = []
        for route, closed in self.caught:
            try:
                body = self.opened(closed)
                found.append((route, body, decode(body, kind)))
            except MessageError:
                continue
        return found

    def opened(self, body: bytes) -> bytes:
        sealed = sealed_in(body)
        if sealed is None:
            return body
        return bytes(self.member(sealed.to).open(body, sender=sealed.by))

    @property
    def roster(self) -> Roster:
        return verified(self.rosters[CONTROLLER], public_key(self.signatory.authority.public))


@pytest.fixture
def lab() -> Lab:
    return Lab()


Test = Callable[[Relay], Awaitable[object]]


def signed(
    folder: Path, lab: Lab, test: Test, *, running: Sequence[str] | None = None, **changes: object
) -> None:
    """A run whose members sign, with something done to it."""

    async def run() -> None:
        wanted = {"order": ORDER, "rounds": 2, **changes}
        async with relay(folder, wanted, members=lab.member, running=running) as it:
            it.queues.fault = lab.listen
            it.submit()
            await test(it)

    folder.mkdir(exist_ok=True)
    asyncio.run(run())


@pytest.fixture
def expected(tmp_path: Path) -> str:
    """The digest that the run has when nobody signs and nothing goes wrong."""

    async def run() -> str:
        async with relay(tmp_path / "plain", {"order": ORDER, "rounds": 2}) as it:
            it.submit()
            return (await it.until_over()).weights.digest

    (tmp_path / "plain").mkdir()
    return asyncio.run(run())


async def ends_well(it: Relay, expected: str) -> RunState:
    """With the same bits, and without a turn more than it takes."""
    state = await it.until_over()
    assert (Status.FINISHED, expected) == (state.status, state.weights.digest)
    assert (6, 2) == (state.turns, state.lanes[0].relay.term)  # a term for each round
    return state


def refused_by_sites(it: Relay) -> list[str]:
    return [fact.error.reason for fact in it.facts if isinstance(fact, DeadLettered)]


def refused_by_controller(it: Relay) -> list[str]:
    return [u.what.reason for u in it.updates if isinstance(u.what, MessageDiscarded)]


def asked(it: Relay) -> int:
    """How often the controller was asked for its roster."""
    return sum(isinstance(update.what, RosterWanted) for update in it.updates)


def rosters_of(it: Relay) -> Rosters:
    """The controller's."""
    assert it.member.keys is not None
    return it.member.keys.rosters


async def refused(it: Relay, route: Route, body: bytes, *, sender: str) -> str:
    """Why a message is refused of which the broker says that this is its sender."""
    is_report = route.exchange == names.REPORTS
    reasons = refused_by_controller if is_report else refused_by_sites
    before = len(reasons(it))
    await it.queues.put(route, body, sender)
    await until(lambda: len(reasons(it)) > before, what="it is refused")
    return reasons(it)[before]


def test_a_signed_run_ends_with_the_bits_of_one_that_nobody_signed(
    tmp_path: Path, lab: Lab, expected: str
) -> None:
    async def test(it: Relay) -> None:
        await ends_well(it, expected)
        rows = it.ledger.verify(it.run)
        assert all(is_row_signed(row.hash, row.signature, lab.roster, row.at) for row in rows)
        assert not is_row_signed(rows[0].hash, rows[1].signature, lab.roster, rows[0].at)
        assert [] == refused_by_sites(it) == refused_by_controller(it)

    signed(tmp_path / "signed", lab, test)


def test_services_that_die_in_a_signed_run_go_on_from_where_they_were(
    tmp_path: Path, lab: Lab, expected: str
) -> None:
    async def test(it: Relay) -> None:
        await it.until(lambda state: state.turns == 1)
        await it.stop("site-1")
        await it.stop(CONTROLLER)
        await it.start_controller()
        it.start_site("site-1")
        await ends_well(it, expected)

    signed(tmp_path / "signed", lab, test, pause_s=0.05, failure="lease_s = 20")


# What comes by control.


def test_a_fence_that_the_controller_did_not_sign_is_refused(
    tmp_path: Path, lab: Lab, expected: str
) -> None:
    evil, stranger = lab.member(EVIL), Lab().member(CONTROLLER)

    async def test(it: Relay) -> None:
        to = names.to_control("site-1")
        about = it.ledger.row(it.run, 1).hash
        forged: list[Control] = [FenceRaised(run=it.run, lane=0, term=99), RunEnded(run=it.run)]
        for message in forged:
            for body, reason in (
                (encode(message), "not_signed"),
                (evil.sign(message, about=about), "wrong_sender"),
                (stranger.sign(message, about=about), "bad_signature"),
            ):
                assert reason == await refused(it, to, body, sender=CONTROLLER)
        it.start_site("site-2")
        await ends_well(it, expected)

    signed(tmp_path / "signed", lab, test, running=BUT_THE_FIRST)


@pytest.mark.parametrize("earlier", [False, True], ids=["", "after one of an earlier run"])
def test_a_fence_that_comes_before_the_first_turn_of_its_run_outlives_that(
    tmp_path: Path, lab: Lab, expected: str, earlier: bool
) -> None:
    """Bug: it was forgotten with the first turn, so that one of an older term could be taken."""

    async def test(it: Relay) -> None:
        to, about = names.to_control("site-3"), it.ledger.row(it.run, 1).hash
        fences = [("an earlier run", 99)] * earlier + [(about, 1)]
        for of, term in fences:
            fence = FenceRaised(run=it.run, lane=0, term=term)
            body = lab.member(CONTROLLER).sign(fence, about=of)
            await it.queues.put(to, body, CONTROLLER)
        await until(lambda: fenced(it, "site-3") == 1, what="it knows of it")
        it.start_site("site-2")
        await it.until(lambda state: state.turns == 3)
        assert 1 == fenced(it, "site-3")
        await ends_well(it, expected)
        assert [] == refused_by_sites(it)

    signed(tmp_path / "signed", lab, test, running=BUT_THE_FIRST)


def fenced(it: Relay, site: str) -> int:
    """Which term of the run's one lane counts at the least, as a site has it in its journal."""
    with closing(sqlite3.connect(it.folder / f"{site}.sqlite")) as journal:
        found = journal.execute("SELECT term FROM fences WHERE run = ?", (it.run,)).fetchone()
    return 0 if found is None else int(found[0])


def test_a_roster_that_another_authority_signed_or_that_is_old_is_refused(
    tmp_path: Path, lab: Lab, expected: str
) -> None:
    old = lab.rosters["site-1"]
    lab.rosters = dict.fromkeys(NAMES, lab.signatory.roster(NAMES, number=2))

    async def test(it: Relay) -> None:
        to = names.to_control()
        foreign = Lab().signatory.roster(NAMES, number=9)
        for roster, reason in ((foreign, "foreign_roster"), (old, "old_roster")):
            body = encode(RosterIssued(roster=roster))
            assert reason == await refused(it, to, body, sender=CONTROLLER)
        it.start_site("site-2")
        await ends_well(it, expected)

    signed(tmp_path / "signed", lab, test, running=BUT_THE_FIRST)


# Turns.


def test_a_turn_that_the_controller_did_not_give_out_is_refused(
    tmp_path: Path, lab: Lab, expected: str
) -> None:
    evil, stranger = lab.member(EVIL), Lab().member(CONTROLLER)

    async def test(it: Relay) -> None:
        await until(lambda: lab.of(Turn), what="the first turn is given out")
        _, _, real = lab.of(Turn)[0]
        about = it.ledger.row(it.run, 1).hash
        warrant = decode(real.warrant, Warrant)
        own = replace(warrant, itinerary=("site-1", EVIL), id=replace(real.id, term=50))
        made_up = replace(real, id=own.id, itinerary=own.itinerary)
        for turn, sender, reason in (
            (replace(made_up, warrant=b""), CONTROLLER, "not_signed"),
            (replace(made_up, warrant=evil.sign(own, about=about)), CONTROLLER, "wrong_sender"),
            (
                replace(made_up, warrant=stranger.sign(own, about=about)),
                CONTROLLER,
                "bad_signature",
            ),
            (replace(made_up, warrant=real.warrant), CONTROLLER, "unproved"),
            (replace(real, id=replace(real.id, hop=1)), CONTROLLER, "unproved"),
        ):
            body = encode(turn)
            assert reason == await refused(it, names.to_turns("site-1"), body, sender=sender)
        it.start_site("site-2")
        await ends_well(it, expected)

    signed(tmp_path / "signed", lab, test, running=BUT_THE_FIRST)


def test_a_site_that_insists_on_nothing_is_not_talked_down_within_a_run_that_is_signed(
    tmp_path: Path, lab: Lab, expected: str
) -> None:
    async def test(it: Relay) -> None:
        await until(lambda: lab.of(TurnTaken), what="site-2 has its first turn")
        _, _, real = lab.of(Turn)[0]
        id = replace(real.id, term=50)
        for route, message in (
            (names.to_turns("site-2"), replace(real, id=id, warrant=b"")),
            (names.to_control("site-2"), FenceRaised(run=it.run, lane=0, term=99)),
        ):
            assert "other_run" == await refused(it, route, encode(message), sender=CONTROLLER)
        await ends_well(it, expected)

    lab.require = ()
    signed(tmp_path / "signed", lab, test, pause_s=0.1)


def test_what_was_said_in_an_earlier_run_of_the_same_name_is_refused(
    tmp_path: Path, lab: Lab, expected: str
) -> None:
    earlier: list[tuple[Route, bytes]] = []

    async def first(it: Relay) -> None:
        await it.until_over()
        fence = FenceRaised(run=it.run, lane=0, term=99)
        about = it.ledger.row(it.run, 1).hash
        body = lab.member(CONTROLLER).sign(fence, about=about)
        earlier.append((names.to_control("site-2"), body))
        earlier.extend((route, body) for route, body, _ in lab.of(Turn) if route.key == "site-2")
        for kind in (TurnTaken, TurnProgressed, TurnDone, RoundDone):
            earlier.extend((route, body) for route, body, _ in lab.of(kind))

    async def again(it: Relay) -> None:
        await it.until(lambda state: state.turns == 1)
        await it.stop("site-1")
        for route, body in earlier:
            inside = signed_in(body)
            sender = inside.by if inside is not None else CONTROLLER
            reason = await refused(it, route, body, sender=sender)
            assert reason == ("older_run" if route.exchange == names.TURNS else "other_run")
        it.start_site("site-1")
        await ends_well(it, expected)

    signed(tmp_path / "first", lab, first)
    assert len(earlier) > 10
    signed(tmp_path / "again", lab, again, failure="lease_s = 20")


def test_a_later_run_of_the_same_name_begins_anew_at_sites_that_knew_the_one_before(
    tmp_path: Path, lab: Lab, expected: str
) -> None:
    """Without signatures its name would have to be another: nobody could tell which is later."""

    async def test(it: Relay) -> None:
        it.stall_s = 0.1  # weights that came before their turn are taken for those of the first
        for name in ("site-1", "site-2", "site-3"):
            it.start_site(name)
        await ends_well(it, expected)
        await it.stop(CONTROLLER)
        it.ledger.close()
        (it.folder / "ledger.sqlite").unlink()
        shutil.rmtree(it.folder / "runs")
        await it.start_controller()
        it.submit()
        await ends_well(it, expected)

    signed(tmp_path / "signed", lab, test, running=())


# Reports.


def test_a_result_that_its_own_site_did_not_sign_is_refused(
    tmp_path: Path, lab: Lab, expected: str
) -> None:
    """Also one that a later site of the round makes up for the sites before it."""
    evil, last = lab.member(EVIL), lab.member("site-3")

    async def test(it: Relay) -> None:
        to = names.to_controller()
        about = it.ledger.row(it.run, 1).hash
        id, weights = it.state.lanes[0].relay.expected, it.state.weights
        sent = replace(weights, digest="blake3:" + "0" * 64)
        record = TurnRecord(id=id, site="site-2", received=weights.digest, sent=sent)
        done = TurnDone(record=record, site="site-2")
        for body, sender, reason in (
            (encode(done), "site-2", "not_signed"),
            (evil.sign(done, about=about), "site-2", "wrong_sender"),
            (Lab().member("site-2").sign(done, about=about), "site-2", "bad_signature"),
        ):
            assert reason == await refused(it, to, body, sender=sender)
        last_id = replace(id, hop=2)
        for made_up, reason in (
            (encode(record), "not_signed"),
            (last.write(record, about=about).written, "wrong_sender"),
        ):
            taken = TurnTaken(id=last_id, site="site-3", history=(made_up,))
            over = RoundDone(id=last_id, site="site-3", weights=sent, history=(made_up,))
            for report in (taken, over):
                body = last.sign(report, about=about)
                assert reason == await refused(it, to, body, sender="site-3")
        assert 0 == it.state.turns
        it.start_site("site-2")
        await ends_well(it, expected)

    signed(tmp_path / "signed", lab, test, running=BUT_THE_FIRST)


def test_a_sign_of_life_that_is_heard_again_keeps_no_lease_alive(tmp_path: Path, lab: Lab) -> None:
    async def test(it: Relay) -> None:
        await until(lambda: lab.of(TurnProgressed), what="site-2 says how it goes")
        await it.stop("site-2")
        route, body, _ = lab.of(TurnProgressed)[0]
        before = it.controller.lease_left_s(it.run)
        assert before is not None
        reason = await refused(it, route, body, sender="site-2")
        left = it.controller.lease_left_s(it.run)
        assert left is not None
        assert (reason, True) == ("replayed", left < before)
        it.start_site("site-2")
        await it.until_over()

    signed(tmp_path / "signed", lab, test, pause_s=0.1, failure="lease_s = 20")


def test_what_a_site_gives_up_stays_on_record_as_it_has_signed_it(tmp_path: Path, lab: Lab) -> None:
    async def test(it: Relay) -> None:
        site, id = lab.member("site-2"), it.state.lanes[0].relay.expected
        about = it.ledger.row(it.run, 1).hash
        gave_up = TurnAbandoned(id=id, site="site-2", error="TrainerRaised", detail="oh")
        body = site.sign(gave_up, about=about)
        await it.queues.put(names.to_controller(), body, "site-2")
        await it.until_over()
        failed = [row.event for row in it.ledger.rows(it.run) if b"TurnFailed" in row.event]
        assert [body] == [decode(event, TurnFailed).said for event in failed]

    signed(tmp_path / "signed", lab, test, running=(), attempts=1, failure='on_silent = "fail"')


# Rosters.


def test_a_turn_by_a_newer_roster_waits_at_its_site_until_that_has_come(
    tmp_path: Path, lab: Lab, expected: str
) -> None:
    newer, is_held = lab.signatory.roster(NAMES, number=2), True

    def hold_rosters(route: Route, body: bytes) -> list[bytes]:
        lab.listen(route, body)
        return [] if is_held and b"RosterIssued" in body else [body]

    async def test(it: Relay) -> None:
        nonlocal is_held
        it.queues.fault = hold_rosters
        rosters_of(it).take(newer)
        for name in ("site-1", "site-2", "site-3"):
            it.start_site(name)
        await until(lambda: lab.of(RosterWanted), what="a site has asked")
        is_held = False
        await it.queues.put(names.to_control(), encode(RosterIssued(roster=newer)), CONTROLLER)
        await ends_well(it, expected)
        assert [] == refused_by_sites(it)

    signed(tmp_path / "signed", lab, test, running=())


def test_a_member_that_asks_for_rosters_without_end_is_sent_one_at_a_time(
    tmp_path: Path, lab: Lab
) -> None:
    """Bug: a few bytes had a whole roster sent, as many at once as were asked for."""
    site = lab.member(EVIL)

    async def test(it: Relay) -> None:
        rosters_of(it).take(lab.signatory.roster(NAMES, number=2))
        it.stuck.routes.add(names.to_control(EVIL))
        for _ in range(20):
            body = site.close(site.sign(RosterWanted(site=EVIL, roster=1)), to=CONTROLLER)
            await it.queues.put(names.to_controller(), body, EVIL)
        await until(lambda: asked(it) == 20, what="all were heard")
        assert 1 == it.stuck.waiting
        it.stuck.free()

    signed(tmp_path / "signed", lab, test, running=())


def test_a_turn_by_a_roster_that_never_comes_is_refused_in_the_end(
    tmp_path: Path, lab: Lab
) -> None:
    newer = lab.signatory.roster(NAMES, number=2)

    async def test(it: Relay) -> None:
        it.queues.fault = lambda route, body: [] if b"RosterIssued" in body else [body]
        rosters_of(it).take(newer)
        it.stall_s = 0.2
        it.start_site("site-2")
        await until(lambda: refused_by_sites(it), what="it is refused")
        assert ["newer_roster"] == refused_by_sites(it)

    signed(tmp_path / "signed", lab, test, running=())


@pytest.mark.parametrize("turns", [1, 2])
def test_what_a_revoked_site_says_is_refused_and_its_run_goes_on_without_it(
    tmp_path: Path, lab: Lab, turns: int
) -> None:
    """What was accepted of it before stays."""
    cards = [lab.signatory.card(name) for name in NAMES if name != "site-1"]
    revoked = lab.signatory.card("site-1", revoked=int(time.time()) - 1)
    roster = lab.signatory.roster_of([*cards, revoked], number=2)

    async def test(it: Relay) -> None:
        await it.until(lambda state: state.turns == turns)
        await it.queues.put(names.to_control(), encode(RosterIssued(roster=roster)), CONTROLLER)
        rosters_of(it).take(roster)
        state = await it.until_over()
        assert Status.FINISHED is state.status
        assert "site-1" in {skip.site for skip in state.skipped}
        assert "bad_signature" in refused_by_controller(it)
        finished = [row.event for row in it.ledger.rows(it.run) if b"TurnFinished" in row.event]
        of = [decode(event, TurnFinished).record.site for event in finished]
        assert turns - 1 == of.count("site-1")

    failure = 'lease_s = 0.4\non_silent = "skip"'
    signed(tmp_path / "signed", lab, test, failure=failure, pause_s=0.1)
