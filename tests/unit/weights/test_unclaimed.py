"""What nobody asked for cannot fill a receiver's disk, nor push out what somebody did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.transfers import IDENTITY, chunks, digested
from tasuki.core.model import WeightsRef
from tasuki.errors import DigestMismatch
from tasuki.weights.chunks import Chunk, transfer_id
from tasuki.weights.spool import Spool
from tasuki.weights.unclaimed import Limits

DATA = b"0123456789" * 10
LIMITS = Limits(open=3, transfers=5, size=400)


class Counted(Spool):
    """A spool of small limits that counts what it refuses."""

    def __init__(self, folder: Path) -> None:
        self.counts: Counter[str] = Counter()
        super().__init__(folder, limits=LIMITS, refused=self._count)

    def _count(self, reason: str, count: int) -> None:
        self.counts[reason] += count

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Counted]:
    spool = Counted(tmp_path)
    yield spool
    spool.clear()


def junk(number: int, *, size: int = 50) -> Chunk:
    """The first ten bytes of a transfer that never goes on."""
    id, weights = replace(IDENTITY, term=number), WeightsRef(digest=DIGEST, size=size)
    return Chunk(transfer=transfer_id(id, weights), weights=weights, at=0, data=bytes(10))


DIGEST = digested(b"junk").digest


def test_of_too_many_transfers_of_one_sender_the_oldest_go(spool: Counted) -> None:
    for number in range(10):
        assert not spool.add(junk(number), sender="evil")
    assert len(spool.names) == LIMITS.open
    assert spool.is_open(junk(9).transfer, sender="evil")
    assert not spool.is_open(junk(6).transfer, sender="evil")
    assert spool.counts == {"unclaimed": 7}


def test_transfers_that_promise_too_much_give_way_to_the_next(spool: Counted) -> None:
    spool.add(junk(0, size=350), sender="evil")
    spool.add(junk(1, size=100), sender="evil")
    assert not spool.is_open(junk(0, size=350).transfer, sender="evil")
    assert spool.is_open(junk(1, size=100).transfer, sender="evil")


def test_a_transfer_that_alone_promises_too_much_is_not_begun(spool: Counted) -> None:
    assert not spool.add(junk(0, size=401), sender="evil")
    assert spool.names == []
    assert spool.counts == {"unclaimed": 1}


def test_complete_transfers_leave_room_for_open_ones(spool: Counted) -> None:
    for number in range(4):
        spool.add(chunks(DATA[:20], 20, id=replace(IDENTITY, hop=number))[0], sender="a")
    spool.add(junk(0), sender="a")
    assert len(spool.names) == LIMITS.transfers
    assert not spool.counts


def test_one_sender_pushes_out_nothing_of_another(spool: Counted) -> None:
    first, *rest = chunks(DATA, 30)
    spool.add(first, sender="honest")
    for number in range(100):
        spool.add(junk(number), sender="evil")
    assert [False, False, True] == [spool.add(chunk, sender="honest") for chunk in rest]


def test_one_sender_spoils_no_transfer_of_another(spool: Counted) -> None:
    """Bug: chunks of one name were put together whoever had sent them."""
    honest = chunks(DATA, 30)
    forged = chunks(bytes(100), 30, promised=digested(DATA))
    assert honest[0].transfer == forged[0].transfer
    for mine, theirs in zip(honest[:3], forged[:3], strict=True):
        spool.add(theirs, sender="evil")
        spool.add(mine, sender="honest")
    with pytest.raises(DigestMismatch):
        spool.add(forged[3], sender="evil")
    assert spool.add(honest[3], sender="honest")
    assert spool.counts == {"bad_digest": 4}


def test_what_a_turn_asked_for_stays_whatever_else_comes(spool: Counted) -> None:
    """Asked for before it comes, while it comes, and after."""
    before, during, after = (
        chunks(DATA, 50, id=replace(IDENTITY, round=number)) for number in (7, 8, 9)
    )
    spool.claim(before[0].transfer, before[0].weights)
    for first, _ in (before, during, after):
        spool.add(first, sender="a")
    spool.claim(during[0].transfer, during[0].weights)
    assert spool.add(after[1], sender="a")
    spool.claim(after[0].transfer, after[0].weights)
    for number in range(10):
        spool.add(junk(number), sender="a")
    assert spool.has(after[0].transfer, after[0].weights)
    assert [spool.add(before[1], sender="a"), spool.add(during[1], sender="a")] == [True, True]


def test_weights_that_were_found_by_their_content_stay(spool: Counted) -> None:
    sent = chunks(DATA, 100)
    spool.add(sent[0], sender="a")
    assert spool.find(sent[0].weights) is not None
    for number in range(10):
        spool.add(junk(number), sender="a")
    assert spool.has(sent[0].transfer, sent[0].weights)


def test_complete_weights_that_nobody_asked_for_go_like_others(spool: Counted) -> None:
    sent = chunks(DATA, 50)
    assert [False, True] == [spool.add(chunk, sender="a") for chunk in sent]
    for number in range(LIMITS.transfers):
        spool.add(chunks(DATA[:20], 20, id=replace(IDENTITY, hop=number))[0], sender="a")
    assert not spool.has(sent[0].transfer, sent[0].weights)
    assert spool.counts == {"unclaimed": 2}
    assert len(spool.names) == LIMITS.transfers


def test_a_claim_is_to_the_weights_and_not_to_the_name(spool: Counted) -> None:
    wanted = chunks(DATA, 30)[0]
    spool.claim(wanted.transfer, wanted.weights)
    other = WeightsRef(digest=DIGEST, size=10**9)
    forged = Chunk(transfer=wanted.transfer, weights=other, at=0, data=bytes(10))
    assert not spool.add(forged, sender="evil")
    assert spool.names == []


def test_what_does_not_continue_what_is_here_is_counted(spool: Counted) -> None:
    first, second, third, last = chunks(DATA, 30)
    for chunk in (second, first, third, first, second, third, last, last):
        spool.add(chunk, sender="a")
    assert spool.counts == {"out_of_order": 2, "duplicate": 2}


def test_a_sender_may_be_called_what_no_file_can_be(spool: Counted) -> None:
    sender = "../../etc/" + "x" * 500
    assert [False, True] == [spool.add(chunk, sender=sender) for chunk in chunks(DATA, 50)]


def test_what_an_earlier_process_had_not_finished_is_swept_out(spool: Counted) -> None:
    spool.add(junk(0), sender="a")
    whole = chunks(DATA, 100)[0]
    spool.add(whole, sender="a")
    again = Counted(spool.folder)
    again.sweep()
    assert again.names == [again.path(whole.transfer, whole.weights).name]
