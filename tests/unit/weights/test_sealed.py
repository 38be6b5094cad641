"""What was sealed reaches the spool as it was, or not at all; what was altered is counted."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.sealed import ID, STEP, Lab, run
from support.transfers import digested
from tasuki.core.model import CONTROLLER
from tasuki.core.trust import Must
from tasuki.errors import CannotSeal, DigestMismatch, MessageError
from tasuki.trust.member import Member
from tasuki.weights.chunks import HEADER_BYTES, SealedChunk, decode_chunk, transfer_id
from tasuki.weights.seals import MOST

CONTENT = bytes(range(256)) + b"weights" * 12
OTHER = CONTENT[::-1]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with closing(Lab(tmp_path)) as found:
        yield found


def flipped(piece: bytes, bit: int) -> bytes:
    at = bit // 8
    return piece[:at] + bytes([piece[at] ^ (1 << bit % 8)]) + piece[at + 1 :]


def test_a_sealed_transfer_arrives_as_it_was(lab: Lab) -> None:
    async def work() -> None:
        await lab.receiver().open()
        await lab.send(lab.pieces(CONTENT))
        assert CONTENT == lab.arrived(CONTENT)
        assert {} == lab.refused | lab.passed_over

    run(work())


def test_nothing_of_it_can_be_read_on_its_way(lab: Lab) -> None:
    content = b"a secret of the patients" * 40
    assert not any(b"secret" in piece for piece in lab.pieces(content))


def test_the_controller_reads_what_is_stuck_at_a_dead_site(lab: Lab) -> None:
    async def work() -> None:
        await lab.receiver(CONTROLLER).open()
        await lab.send(lab.pieces(CONTENT))
        assert CONTENT == lab.arrived(CONTENT)

    run(work())


def test_nobody_else_reads_it(lab: Lab) -> None:
    async def work() -> None:
        await lab.receiver(member=lab.member("c")).open()
        pieces = lab.pieces(CONTENT)
        await lab.send(pieces)
        assert {"bad_seal": 1} == lab.refused
        assert {"no_seal": len(pieces) - 1} == lab.passed_over
        assert lab.arrived(CONTENT) is None

    run(work())


def test_a_transfer_that_was_cut_off_goes_on_with_the_same_bytes(lab: Lab) -> None:
    """After a reconnect: from the first piece that was not confirmed."""

    async def work() -> None:
        await lab.receiver().open()
        pieces = lab.pieces(CONTENT)
        await lab.send([*pieces[:3], *pieces[2:]])
        assert CONTENT == lab.arrived(CONTENT)

    run(work())


@pytest.mark.parametrize("step", [STEP, 50])
def test_a_sender_that_starts_anew_goes_on_with_what_had_come(lab: Lab, step: int) -> None:
    """It seals the transfer anew; a newer version may also cut it at other places."""

    async def work() -> None:
        await lab.receiver().open()
        before, after = lab.pieces(CONTENT), lab.pieces(CONTENT, step=step)
        assert before[0] != after[0]
        assert (before[1:] == after[1:]) == (step == STEP)
        await lab.send([*before[:3], *after])
        assert CONTENT == lab.arrived(CONTENT)
        assert {} == lab.refused

    run(work())


def test_a_receiver_that_starts_anew_reads_from_the_seal_on(lab: Lab) -> None:
    async def work() -> None:
        first = lab.receiver()
        await first.open()
        await lab.send(lab.pieces(OTHER))
        pieces = lab.pieces(CONTENT)
        await lab.send(pieces[:2])
        await lab.send(lab.pieces(CONTENT[1:]))
        await first.close()
        lab.seen = 0
        await lab.receiver().open()
        await lab.send(pieces[2:])
        assert CONTENT == lab.arrived(CONTENT)
        assert {} == lab.refused

    run(work())


def test_weights_that_are_not_sealed_are_taken_by_who_does_not_insist(lab: Lab) -> None:
    async def work() -> None:
        await lab.receiver(member=lab.member("b", require=())).open()
        await lab.send(lab.pieces(CONTENT, is_sealed=False))
        assert CONTENT == lab.arrived(CONTENT)

    run(work())


def test_weights_that_are_not_sealed_are_refused_by_who_insists(lab: Lab) -> None:
    async def work() -> None:
        receiver = lab.receiver()
        await receiver.open()
        pieces = lab.pieces(CONTENT, is_sealed=False)
        await lab.send(pieces)
        assert {"not_sealed": len(pieces)} == lab.refused
        assert lab.arrived(CONTENT) is None
        transfer = transfer_id(ID, digested(CONTENT))
        receiver.check(transfer, senders=["a"])  # a bad piece alone breaks nothing
        with pytest.raises(MessageError, match="not sealed"):
            receiver.check_refused(transfer, senders=["a"])
        receiver.check_refused(transfer, senders=["a"])

    run(work())


def test_who_has_no_keys_says_what_is_missing(lab: Lab) -> None:
    async def work() -> None:
        receiver = lab.receiver(member=Member("b"))
        await receiver.open()
        await lab.send(lab.pieces(CONTENT))
        with pytest.raises(MessageError, match="seal_key"):
            receiver.check_refused(transfer_id(ID, digested(CONTENT)), senders=["a"])

    run(work())


def test_a_bad_piece_among_good_ones_is_forgotten_once_the_transfer_is_complete(lab: Lab) -> None:
    async def work() -> None:
        receiver = lab.receiver()
        await receiver.open()
        pieces = lab.pieces(CONTENT)
        await lab.send([pieces[0], flipped(pieces[1], 8 * HEADER_BYTES), *pieces[1:]])
        assert CONTENT == lab.arrived(CONTENT)
        assert {"bad_seal": 1} == lab.refused
        receiver.check_refused(transfer_id(ID, digested(CONTENT)), senders=["a"])

    run(work())


def test_a_sender_that_seals_other_weights_than_it_promises_breaks_its_transfer(lab: Lab) -> None:
    async def work() -> None:
        receiver = lab.receiver()
        await receiver.open()
        await lab.send(lab.pieces(OTHER, promised=CONTENT))
        assert lab.arrived(CONTENT) is None
        with pytest.raises(DigestMismatch):
            receiver.check(transfer_id(ID, digested(CONTENT)), senders=["a"])

    run(work())


def test_a_sender_has_so_many_seals_known_and_pushes_out_no_other_ones(lab: Lab) -> None:
    async def work() -> None:
        await lab.receiver().open()
        of_c = lab.pieces(OTHER, sender="c")
        await lab.send(of_c[:1], sender="c")
        transfers = [lab.pieces(CONTENT[at:]) for at in range(MOST + 1)]
        await lab.send(pieces[0] for pieces in transfers)
        await lab.send(transfers[0][1:2])
        assert 1 == lab.passed_over["no_seal"]
        await lab.send(transfers[-1][1:])
        await lab.send(of_c[1:], sender="c")
        assert {CONTENT[MOST:], OTHER} == lab.spooled()

    run(work())


def test_a_transfer_to_who_has_no_card_is_refused_in_words(lab: Lab) -> None:
    lab.roster = lab.signatory.roster((CONTROLLER, "a"))
    with pytest.raises(CannotSeal, match="no good card of b"):
        lab.pieces(CONTENT)
    lax = lab.member("a", require=())
    assert lax.seal(bytes(16), digested(CONTENT), to="b", step=STEP) is None


def test_a_transfer_to_who_was_revoked_is_refused(lab: Lab) -> None:
    signatory = lab.signatory
    cards = [signatory.card(CONTROLLER), signatory.card("a")]
    revoked = signatory.card("b", revoked=int(signatory.now) - 1)
    lab.roster = signatory.roster_of([*cards, revoked])
    with pytest.raises(CannotSeal, match="of b"):
        lab.pieces(CONTENT)


def test_a_roster_that_has_ended_seals_nothing(lab: Lab) -> None:
    member = lab.member("a", require=[Must.SEALED])
    lab.signatory.now += 366 * 86400
    with pytest.raises(CannotSeal, match="has ended"):
        member.seal(bytes(16), digested(CONTENT), to="b", step=STEP)


# --- what an attacker does to pieces


@pytest.mark.timeout(300)
def test_no_bit_of_any_piece_can_be_changed(lab: Lab) -> None:
    """Before each piece all that it could be with one bit changed: more than 10,000 pieces."""

    altered = 0

    async def work() -> None:
        nonlocal altered
        await lab.receiver().open()
        for piece in lab.pieces(CONTENT):
            bits = 8 * len(piece)
            await lab.send(flipped(piece, bit) for bit in range(bits))
            altered += bits
            assert set() == lab.spooled()
            await lab.send([piece])
        assert CONTENT == lab.arrived(CONTENT)

    run(work())
    assert altered == sum((lab.refused + lab.passed_over).values())
    assert altered > 10_000
    assert set(lab.refused) <= REASONS
    assert set(lab.passed_over) <= {"no_seal"}


REASONS = {"bad_chunk", "bad_seal", "bad_signature", "wrong_sender"} | {
    "undecodable", "unknown_version", "unknown_type", "invalid"
}  # fmt: skip
"""Of those a seal that is damaged as a message."""


def foreign(lab: Lab) -> list[bytes]:
    """Pieces of all that is not this transfer: others of the same sender, and others' of this."""
    found = [
        *lab.pieces(OTHER),
        *lab.pieces(CONTENT, id=replace(ID, run="another")),
        *lab.pieces(CONTENT, id=replace(ID, term=2)),
        *lab.pieces(CONTENT, to="c"),
        *lab.pieces(CONTENT, sender="c"),
        *lab.pieces(CONTENT, is_sealed=False),
        *lab.pieces(OTHER, promised=CONTENT, is_sealed=False),
    ]
    stranger = Lab(lab.folder)
    return [*found, *stranger.pieces(CONTENT)]


def disguised(piece: bytes, real: bytes) -> bytes:
    """With the header of a real piece, as far as its length allows."""
    return real[:HEADER_BYTES] + piece[HEADER_BYTES:]


def test_pieces_of_anything_else_never_get_into_a_transfer(lab: Lab) -> None:
    """As they are, under the header of each of its pieces, and with its transfer's name alone."""
    strange = foreign(lab)

    async def work() -> None:
        receiver = lab.receiver()
        await receiver.open()
        pieces = lab.pieces(CONTENT)
        for at, real in enumerate(pieces):
            others = [piece for piece in pieces if piece is not real]
            altered = [disguised(piece, real) for piece in (*strange, *others)]
            altered += [real[:20] + piece[20:] for piece in strange]
            before = sum((lab.refused + lab.passed_over).values())
            await lab.send(altered)
            assert len(altered) == sum((lab.refused + lab.passed_over).values()) - before, at
            await lab.send([real])
        assert CONTENT == lab.arrived(CONTENT)
        assert {CONTENT} == lab.spooled()

    run(work())


def test_pieces_that_were_cut_short_or_run_on_are_refused(lab: Lab) -> None:
    async def work() -> None:
        await lab.receiver().open()
        pieces = lab.pieces(CONTENT)
        for real in pieces:
            cut = [real[:end] for end in range(len(real))]
            await lab.send([*cut, real + b"\0", real + real])
            assert set() == lab.spooled()
            await lab.send([real])
        assert CONTENT == lab.arrived(CONTENT)
        assert sum(map(len, pieces)) + 2 * len(pieces) == sum(lab.refused.values())

    run(work())


def relabelled(piece: bytes, *, at: int, size: int) -> bytes:
    return piece[:20] + struct.pack(">QQ", size, at) + piece[36:]


def test_a_piece_belongs_at_one_place_of_one_whole(lab: Lab) -> None:
    """Also not a middle piece as the last one, which would cut the transfer short."""

    async def work() -> None:
        await lab.receiver().open()
        first, *rest = lab.pieces(CONTENT)
        await lab.send([first])
        altered = [
            relabelled(piece, at=at, size=size)
            for piece in rest
            for at in range(1, len(CONTENT))
            for size in (len(CONTENT), at + STEP)
            if (at, size) != (decode_chunk(piece).at, len(CONTENT))
        ]
        await lab.send(altered)
        assert len(altered) == sum(lab.refused.values())
        await lab.send(rest)
        assert CONTENT == lab.arrived(CONTENT)

    run(work())


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, list[bytes]]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    return lab, [*lab.pieces(CONTENT), *lab.pieces(CONTENT), *foreign(lab)]


@given(data=st.data())
def test_pieces_in_any_order_are_the_right_file_or_none(
    everything: tuple[Lab, list[bytes]],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    """Dropped, repeated, swapped, one bit of some changed, and whatever else the sender sent."""
    sender, pieces = everything
    lab = Lab(tmp_path_factory.mktemp("reader"), signatory=sender.signatory)
    chosen = data.draw(st.lists(st.sampled_from(range(len(pieces))), min_size=1, max_size=60))
    bits = data.draw(st.sets(st.integers(0, len(chosen) - 1), max_size=5))
    sent = [
        flipped(pieces[index], data.draw(st.integers(0, 8 * len(pieces[index]) - 1)))
        if place in bits
        else pieces[index]
        for place, index in enumerate(chosen)
    ]

    async def work() -> None:
        await lab.receiver().open()
        await lab.send(sent)
        assert lab.spooled() <= {CONTENT, OTHER}
        assert lab.arrived(CONTENT) in {None, CONTENT}

    with closing(lab):
        run(work())


# --- the form of a piece


def test_only_the_first_piece_has_the_seal(lab: Lab) -> None:
    first, *rest = map(decode_chunk, lab.pieces(CONTENT))
    assert isinstance(first, SealedChunk)
    assert first.seal
    assert not any(isinstance(piece, SealedChunk) and piece.seal for piece in rest)
    assert Counter({False: len(rest), True: 1}) == Counter(
        piece.is_last for piece in (first, *rest)
    )
