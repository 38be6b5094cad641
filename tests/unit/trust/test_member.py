"""What a member says, its fellows believe; what was altered, nobody does."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import msgpack
import pytest

from support.members import Signatory
from support.sites import turn
from tasuki.core.control import FenceRaised
from tasuki.core.model import CONTROLLER, Kind, Turn, TurnRecord, WeightsRef
from tasuki.core.report import SiteBeat
from tasuki.core.trust import MOST_KEYS, Must, Sealed, Warrant
from tasuki.core.turn.handing_on import onward
from tasuki.errors import MessageError
from tasuki.trust.member import Member
from tasuki.trust.sealing import Sessions, message_context
from tasuki.weights.chunks import transfer_id
from tasuki.wire.messages import close, decode, encode, sealed_in

PLAN = "blake3:" + "7" * 64
SITES = ("a", "b", "c")


@pytest.fixture
def lab() -> Signatory:
    return Signatory()


@pytest.fixture
def members(lab: Signatory) -> dict[str, Member]:
    names = (CONTROLLER, *SITES)
    roster = lab.roster(names)
    return {name: lab.member(name, roster) for name in names}


def refused(member: Member, body: bytes, kind: type, *, sender: str) -> str:
    with pytest.raises(MessageError) as caught:
        member.read(body, kind, sender=sender)
    return caught.value.reason


def given_out(members: dict[str, Member], *, hop: int = 0, began: float = 1.0) -> Turn:
    """A turn as the controller gives it out."""
    plain = turn()
    id = replace(plain.id, hop=hop)
    warrant = Warrant(
        id=id,
        itinerary=SITES,
        weights=plain.weights,
        task=plain.task,
        began=began,
        roster=1,
    )
    signed = members[CONTROLLER].sign(warrant, about=PLAN)
    return replace(plain, id=id, itinerary=SITES, warrant=signed, history=())


def handed_on(members: dict[str, Member], turn: Turn, *, by: str | None = None) -> Turn:
    site = turn.site if by is None else by
    record = TurnRecord(
        id=turn.id,
        site=site,
        received=turn.weights.digest,
        sent=WeightsRef(digest="blake3:" + f"{turn.id.hop + 1}" * 64, size=7),
    )
    record = members[site].write(record, about=PLAN)
    return onward(turn, record, written=record.written)


def test_what_a_member_signed_its_fellows_read(members: dict[str, Member]) -> None:
    body = members["a"].sign(SiteBeat(site="a"))
    said = members[CONTROLLER].read(body, SiteBeat, sender="a")
    assert (SiteBeat(site="a"), "a", body) == (said.message, said.by, said.proof)


def test_every_byte_of_a_signed_message_counts(members: dict[str, Member]) -> None:
    body = members["a"].sign(SiteBeat(site="a"), about=PLAN)
    for at in range(len(body)):
        for flipped in (body[at] ^ 1, body[at] ^ 0x80):
            altered = body[:at] + bytes([flipped]) + body[at + 1 :]
            assert refused(members[CONTROLLER], altered, SiteBeat, sender="a")


def test_a_message_that_nobody_signed_is_refused_by_who_insists(
    members: dict[str, Member],
) -> None:
    body = encode(SiteBeat(site="a"))
    assert "not_signed" == refused(members[CONTROLLER], body, SiteBeat, sender="a")


def test_who_does_not_insist_takes_it(lab: Signatory) -> None:
    member = lab.member(CONTROLLER, lab.roster([CONTROLLER, "a"]), require=())
    assert "" == member.read(encode(SiteBeat(site="a")), SiteBeat, sender="a").by


def test_nobody_signs_for_another(members: dict[str, Member]) -> None:
    body = members["b"].sign(SiteBeat(site="a"))
    assert "wrong_sender" == refused(members[CONTROLLER], body, SiteBeat, sender="a")


def test_times_of_one_member_only_grow(members: dict[str, Member]) -> None:
    bodies = [members["a"].sign(SiteBeat(site="a")) for _ in range(5)]
    times = [members["b"].read(body, SiteBeat, sender="a").at for body in bodies]
    assert all(first < second for first, second in pairwise(times))


def test_a_turn_is_whole_from_the_controller_to_each_site(members: dict[str, Member]) -> None:
    turn = given_out(members)
    for name in SITES[:-1]:
        assert PLAN == members[name].check_turn(decode(encode(turn), Turn))
        turn = handed_on(members, turn)
    assert PLAN == members["c"].check_turn(decode(encode(turn), Turn))


def unproved(member: Member, turn: Turn) -> str:
    with pytest.raises(MessageError) as caught:
        member.check_turn(turn)
    return caught.value.reason


def test_a_turn_that_a_member_made_up_is_not_whole(members: dict[str, Member]) -> None:
    """With a warrant of its own, or one of the controller's and another itinerary or history."""
    real = handed_on(members, given_out(members))
    record = decode(real.history[0], TurnRecord)
    warrant = decode(real.warrant, Warrant)
    own = members["a"].sign(replace(warrant, itinerary=("a", "b")), about=PLAN)
    other = members["a"].write(replace(record, samples=9), about="another")
    by_b = members["b"].write(record, about=PLAN)
    for made_up in (
        replace(real, warrant=own),
        replace(real, warrant=b""),
        replace(real, itinerary=("b", "b", "c")),
        replace(real, id=replace(real.id, term=9)),
        replace(real, kind=Kind.EVALUATE),
        replace(real, merged=True),
        replace(real, history=()),
        replace(real, history=real.history * 2),
        replace(real, history=(other.written,)),
        replace(real, history=(by_b.written,)),
        replace(real, history=(encode(replace(record, written=b"")),)),
        replace(real, weights=given_out(members).weights),
    ):
        assert unproved(members["b"], made_up)


def test_a_turn_by_a_roster_that_has_yet_to_come_says_so(
    lab: Signatory, members: dict[str, Member]
) -> None:
    members[CONTROLLER].keys.rosters.take(lab.roster((CONTROLLER, *SITES), number=2))  # type: ignore[union-attr]
    warrant = replace(decode(given_out(members).warrant, Warrant), roster=2)
    newer = replace(given_out(members), warrant=members[CONTROLLER].sign(warrant, about=PLAN))
    assert "newer_roster" == unproved(members["a"], newer)


def test_weights_are_sealed_for_the_next_site_and_the_controller(
    members: dict[str, Member],
) -> None:
    weights = WeightsRef(digest="blake3:" + "1" * 64, size=10)
    transfer = transfer_id(turn().id, weights)
    sealed = members["a"].seal(transfer, weights, to="b", step=4)
    assert sealed is not None
    seal, cipher = sealed
    piece = cipher.seal(b"data", at=0, is_last=False)
    for name in ("b", CONTROLLER):
        opened = members[name].unseal(seal, transfer, weights, sender="a")
        assert b"data" == opened.unseal(piece, at=0, is_last=False)
        for at, is_last in ((4, False), (0, True)):
            with pytest.raises(MessageError):
                opened.unseal(piece, at=at, is_last=is_last)
    for name, sender in (("c", "a"), ("b", "c")):
        with pytest.raises(MessageError):
            members[name].unseal(seal, transfer, weights, sender=sender)


def test_what_is_sealed_again_is_the_same_bytes(members: dict[str, Member]) -> None:
    weights = WeightsRef(digest="blake3:" + "1" * 64, size=10)
    transfer = transfer_id(turn().id, weights)
    pieces = set()
    for step in (4, 4, 8):
        sealed = members["a"].seal(transfer, weights, to="b", step=step)
        assert sealed is not None
        pieces.add(sealed[1].seal(b"data", at=0, is_last=False))
    assert 2 == len(pieces)  # cut otherwise, it has another key


def test_one_member_alone_reads_what_is_closed_for_it(members: dict[str, Member]) -> None:
    signed = members["a"].sign(SiteBeat(site="secret-words"))
    body = members["a"].close(signed, to=CONTROLLER)
    assert b"secret-words" not in body
    assert signed == members[CONTROLLER].open(body, sender="a")
    for member, sender in ((members["b"], "a"), (members[CONTROLLER], "b")):
        with pytest.raises(MessageError):
            member.open(body, sender=sender)


def test_every_byte_of_a_closed_message_counts(members: dict[str, Member]) -> None:
    body = members["a"].close(members["a"].sign(SiteBeat(site="a")), to=CONTROLLER)
    for at in range(len(body)):
        altered = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        with pytest.raises(MessageError):
            members[CONTROLLER].open(altered, sender="a")


@pytest.mark.parametrize("key", [b"", b"too short", bytes(16), bytes(33)])
def test_what_somebody_wrapped_for_us_and_is_no_key_opens_nothing(
    members: dict[str, Member], key: bytes
) -> None:
    """Bug: one message of anybody who may write to a queue ended the service that reads it."""
    keys = members[CONTROLLER].keys
    assert keys is not None
    context = message_context(federation="lab", by="a", to=CONTROLLER, kind="signed")
    wrapped = tuple(
        each for _, each in Sessions().wrap(key, context, keys.rosters.newest.cards_of(CONTROLLER))
    )
    sealed = Sealed(kind="signed", by="a", to=CONTROLLER, keys=wrapped, data=bytes(80))
    with pytest.raises(MessageError, match="altered"):
        members[CONTROLLER].open(close(sealed), sender="a")


def test_no_key_can_be_added_to_a_closed_message(members: dict[str, Member]) -> None:
    body = members["a"].close(members["a"].sign(SiteBeat(site="a")), to=CONTROLLER)
    sealed = sealed_in(body)
    assert sealed is not None
    for keys in ((*sealed.keys, b"more"), sealed.keys * 2):
        with pytest.raises(MessageError):
            members[CONTROLLER].open(close(replace(sealed, keys=keys)), sender="a")


def test_a_closed_message_has_no_more_keys_than_a_reader_can_try(
    members: dict[str, Member],
) -> None:
    """Bug: a message of 4 MiB of keys kept its reader at work for seconds."""
    body = members["a"].close(members["a"].sign(SiteBeat(site="a")), to=CONTROLLER)
    content = msgpack.unpackb(body)
    content["keys"] *= MOST_KEYS + 1
    with pytest.raises(MessageError, match="8 cards"):
        members[CONTROLLER].open(msgpack.packb(content), sender="a")


def test_who_insists_opens_nothing_that_everybody_can_read(members: dict[str, Member]) -> None:
    with pytest.raises(MessageError, match="not sealed"):
        members[CONTROLLER].open(encode(SiteBeat(site="a")), sender="a")


def test_a_member_without_keys_signs_nothing() -> None:
    member = Member("a")
    fence = FenceRaised(run="r", lane=0, term=1)
    assert encode(fence) == member.sign(fence)
    assert member.seal(b"", turn().weights, to="b", step=1) is None
    with pytest.raises(ValueError, match="keys"):
        Member("a", require=[Must.SIGNED])
