"""What a member or the broker's administrator can make up, with signatures and without.

Each is tried on a federation without keys first, where it succeeds: so that it is an attack, and
not a message that is refused for some other reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from support.members import Signatory
from support.plain import plain_loop
from support.relay import Relay, relay
from support.waiting import until
from tasuki.core.control import FenceRaised
from tasuki.core.model import CONTROLLER, Task, Turn, TurnId, TurnRecord
from tasuki.core.report import RoundDone, SiteStarted, TurnAbandoned, TurnTaken
from tasuki.core.run import Status
from tasuki.core.trust import Warrant
from tasuki.ports import Route
from tasuki.trust.member import NOBODY, Member
from tasuki.wire import names
from tasuki.wire.messages import encode
from tasuki_controller.news import MessageDiscarded
from tasuki_site.facts import DeadLettered

ORDER = '["site-2", "site-1", "site-3"]'
ROUND = ["site-2", "site-1", "site-3"]
ALL = (CONTROLLER, *ROUND)
HIGH = 2**40


@dataclass
class Lab:
    """A federation with keys, or one without."""

    has_keys: bool
    signatory: Signatory = field(default_factory=lambda: Signatory(now=time.time()))

    def __post_init__(self) -> None:
        self.roster = self.signatory.roster(ALL)

    def member(self, name: str) -> Member:
        if not self.has_keys:
            return NOBODY
        return self.signatory.member(name, self.roster, now=time.time)

    def stranger(self, name: str) -> Member:
        """Whoever knows the roster and says that this is its name, without its key."""
        if not self.has_keys:
            return NOBODY
        real, other = self.member(name), Signatory(now=time.time())
        other.card(name)
        assert real.keys is not None
        signing, sealing = other.keys[name]
        keys = replace(real.keys, signing=signing, sealing=sealing)
        return Member(name, keys=keys, now=time.time)


@pytest.fixture(params=[False, True], ids=["without keys", "with keys"])
def lab(request: pytest.FixtureRequest) -> Lab:
    return Lab(has_keys=request.param)


Deed = Callable[[Relay], Awaitable[None]]


def play(folder: Path, lab: Lab, deed: Deed, *, absent: str = "site-2", **changes: object) -> None:
    """A run whose first site is not there yet."""
    running = [name for name in ROUND if name != absent]

    async def run() -> None:
        wanted = {"order": ORDER, "rounds": 2, "attempts": 1, **changes}
        async with relay(folder, wanted, members=lab.member, running=running) as it:
            it.submit()
            await until(lambda: it.updates, what="it has begun")
            await deed(it)

    asyncio.run(run())


def sealed_by(member: Member, body: bytes, *, to: str) -> bytes:
    return body if member.keys is None else member.close(body, to=to)


async def told(it: Relay, who: Member, report: object, *, as_site: str) -> None:
    """A report as the broker vouches for it, until it had its effect or was refused."""
    about = it.ledger.row(it.run, 1).hash
    body = sealed_by(who, who.sign(report, about=about), to=CONTROLLER)
    await heard(it, names.to_controller(), body, sender=as_site)


async def heard(it: Relay, route: Route, body: bytes, *, sender: str) -> None:
    """Returns once a service has taken or refused it: its queue is empty."""
    reader = names.REPORTS if route.exchange == names.REPORTS else f"{route.exchange}."
    reader += "" if reader == names.REPORTS else route.key.removeprefix("site.")
    queue = it.queues.queue(reader)
    await it.queues.put(route, body, sender)
    await until(
        lambda: not queue.messages and not any(r.unsettled for r in queue.readers),
        what="it was heard",
    )


def refused(it: Relay) -> set[str]:
    said = {u.what.reason for u in it.updates if isinstance(u.what, MessageDiscarded)}
    return said | {f.error.reason for f in it.facts if isinstance(f, DeadLettered)}


async def ends_well(it: Relay) -> None:
    it.start_site("site-2")
    state = await it.until_over()
    assert (Status.FINISHED, plain_loop([ROUND] * 2)) == (state.status, state.weights.digest)
    assert state.lanes[0].relay.term == 2


def test_a_member_makes_up_what_others_did_in_its_round(tmp_path: Path, lab: Lab) -> None:
    async def deed(it: Relay) -> None:
        evil, about = lab.member("site-3"), it.ledger.row(it.run, 1).hash
        id, first = it.state.lanes[0].relay.expected, it.state.weights
        weights = replace(first, digest="blake3:" + "0" * 64)
        one = TurnRecord(id=id, site="site-2", received=first.digest, sent=weights)
        two = TurnRecord(
            id=replace(id, hop=1), site="site-1", received=weights.digest, sent=weights
        )
        made_up = tuple(evil.write(record, about=about).written for record in (one, two))
        last = replace(id, hop=2)
        for report in (
            TurnTaken(id=last, site="site-3", history=made_up),
            RoundDone(id=last, site="site-3", weights=weights, history=made_up),
        ):
            await told(it, evil, report, as_site="site-3")
        if lab.has_keys:
            assert (0, {"wrong_sender"}) == (it.state.turns, refused(it))
            await ends_well(it)
        else:
            await it.until(lambda state: state.turns == 2)

    play(tmp_path, lab, deed)


def test_a_member_takes_a_site_out_of_a_run_with_an_itinerary_and_a_term_of_its_own(
    tmp_path: Path, lab: Lab
) -> None:
    async def deed(it: Relay) -> None:
        evil, about = lab.member("site-3"), it.ledger.row(it.run, 1).hash
        id = TurnId(run=it.run, term=HIGH, round=0, hop=0)
        weights, task = it.state.weights, Task(trainer="walk")
        record = TurnRecord(id=id, site="site-3", received=weights.digest, sent=weights)
        warrant = Warrant(
            id=id, itinerary=("site-3", "site-1"), weights=weights, task=task, began=time.time()
        )
        turn = Turn(
            id=replace(id, hop=1),
            itinerary=warrant.itinerary,
            weights=weights,
            task=task,
            history=(evil.write(record, about=about).written,),
            warrant=evil.sign(warrant, about=about) if lab.has_keys else b"",
        )
        body = sealed_by(evil, encode(turn), to="site-1")
        await heard(it, names.to_turns("site-1"), body, sender="site-3")
        if lab.has_keys:
            assert refused(it) == {"wrong_sender"}
            await ends_well(it)
        else:
            it.start_site("site-2")
            state = await it.until_over()
            assert state.status is Status.FAILED  # site-1 takes no turn of its controller any more

    play(tmp_path, lab, deed)


def test_the_administrator_raises_a_term_in_the_controllers_name(tmp_path: Path, lab: Lab) -> None:
    async def deed(it: Relay) -> None:
        evil, about = lab.stranger(CONTROLLER), it.ledger.row(it.run, 1).hash
        fence = FenceRaised(run=it.run, lane=0, term=HIGH)
        body = evil.sign(fence, about=about)
        await heard(it, names.to_control("site-1"), body, sender=CONTROLLER)
        if lab.has_keys:
            assert refused(it) == {"bad_signature"}
            await ends_well(it)
        else:
            it.start_site("site-2")
            assert (await it.until_over()).status is Status.FAILED

    play(tmp_path, lab, deed)


def test_the_administrator_gives_up_a_turn_in_its_sites_name(tmp_path: Path, lab: Lab) -> None:
    async def deed(it: Relay) -> None:
        id = it.state.lanes[0].relay.expected
        report = TurnAbandoned(id=id, site="site-2", error="TrainerRaised", detail="made up")
        await told(it, lab.stranger("site-2"), report, as_site="site-2")
        if lab.has_keys:
            assert refused(it) == {"bad_signature"}
            await ends_well(it)
        else:
            state = await it.until_over()
            assert (Status.FAILED, True) == (state.status, "made up" in state.reason)

    play(tmp_path, lab, deed, failure='on_silent = "fail"')


def test_the_administrator_says_that_a_site_has_forgotten_its_turn(
    tmp_path: Path, lab: Lab
) -> None:
    async def deed(it: Relay) -> None:
        report = SiteStarted(site="site-2", fresh=True, version="1")
        await told(it, lab.stranger("site-2"), report, as_site="site-2")
        if lab.has_keys:
            assert refused(it) == {"bad_signature"}
            await ends_well(it)
        else:
            await it.until(lambda state: state.lanes[0].relay.term > 1 or bool(state.reason))

    play(tmp_path, lab, deed, attempts=3)


@pytest.mark.parametrize("lab", [True], indirect=True)
def test_what_a_site_said_when_it_came_up_is_not_believed_once_more(
    tmp_path: Path, lab: Lab
) -> None:
    """Bug: a site's true word that it has no turn, heard again, took its next turn back."""

    async def deed(it: Relay) -> None:
        site = lab.member("site-2")
        report = SiteStarted(site="site-2", fresh=True, version="1")
        body = site.close(site.sign(report), to=CONTROLLER)
        before = it.state.lanes[0].relay.term
        await heard(it, names.to_controller(), body, sender="site-2")
        term = it.state.lanes[0].relay.term
        assert term == before + 1
        await heard(it, names.to_controller(), body, sender="site-2")
        assert (term, {"replayed"}) == (it.state.lanes[0].relay.term, refused(it))

    play(tmp_path, lab, deed, attempts=3)
