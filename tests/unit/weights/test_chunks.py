"""A file cut into chunks is the same file again; what is no chunk is refused."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.runs import moved
from support.transfers import IDENTITY, chunks, digested, temporary_spool
from tasuki.core.model import TurnId
from tasuki.errors import MessageError
from tasuki.weights.chunks import (
    CHUNK_BYTES,
    MAX_CHUNK_BYTES,
    MAX_WEIGHTS_BYTES,
    ChunkedFile,
    decode_chunk,
    transfer_id,
)

HEADER = struct.Struct(">4s16sQQI8s32s")
GOOD = (b"TSK1", bytes(16), 100, 10, 5, b"blake3\0\0", bytes(32))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "weights"
    path.write_bytes(data)
    return path


def bodies(path: Path, data: bytes, step: int) -> list[bytes]:
    weights = digested(data)
    transfer = transfer_id(IDENTITY, weights)
    with ChunkedFile(path, transfer=transfer, weights=weights, chunk_bytes=step) as file:
        return [b"".join(frames) for frames in file]


@given(data=st.binary(min_size=1, max_size=300), step=st.integers(1, 400))
def test_a_file_cut_into_chunks_is_the_same_file_again(
    folder: Path, data: bytes, step: int
) -> None:
    found = [decode_chunk(body) for body in bodies(written(folder, data), data, step)]

    assert data == b"".join(bytes(chunk.data) for chunk in found)
    assert [chunk.is_last for chunk in found] == [False] * (len(found) - 1) + [True]
    assert {(transfer_id(IDENTITY, digested(data)), digested(data))} == {
        (chunk.transfer, chunk.weights) for chunk in found
    }
    assert list(range(0, len(data), step)) == [chunk.at for chunk in found]


def test_a_chunk_can_be_asked_for_again_and_by_slice(tmp_path: Path) -> None:
    data = os.urandom(100)
    weights = digested(data)
    with ChunkedFile(
        written(tmp_path, data), transfer=bytes(16), weights=weights, chunk_bytes=30
    ) as file:
        assert 4 == len(file)
        assert b"".join(file[3]) == b"".join(file[3])
        assert [b"".join(frames) for frames in file[1:3]] == [b"".join(file[at]) for at in (1, 2)]
        for outside in (4, -1):
            with pytest.raises(IndexError):
                file[outside]


@pytest.mark.parametrize(("count", "expected"), [(1, []), (2, [1]), (3, [1]), (5, [2])])
def test_who_asks_for_a_chunk_in_the_middle_passes_half_of_it(
    tmp_path: Path, count: int, expected: list[int]
) -> None:
    data, passed, made = bytes(10 * count), [], 0
    with ChunkedFile(
        written(tmp_path, data),
        transfer=bytes(16),
        weights=digested(data),
        chunk_bytes=10,
        halfway=lambda: passed.append(made),
    ) as file:
        for made in range(len(file)):
            file[made]
    assert expected == passed


def test_closing_a_file_whose_chunk_is_still_in_use_is_harmless(tmp_path: Path) -> None:
    data = os.urandom(100)
    with ChunkedFile(written(tmp_path, data), transfer=bytes(16), weights=digested(data)) as file:
        _, view = file[0]
    assert data == bytes(view)


def test_a_chunk_is_well_below_what_a_broker_takes() -> None:
    assert CHUNK_BYTES <= MAX_CHUNK_BYTES <= 4 * 2**20


def packed(**parts: object) -> bytes:
    names = ("magic", "transfer", "size", "at", "length", "code", "digest")
    data = parts.pop("data", b"12345")
    assert isinstance(data, bytes)
    return HEADER.pack(*(parts.get(name, GOOD[at]) for at, name in enumerate(names))) + data


def test_the_form_of_a_chunk_never_changes_between_releases() -> None:
    chunk = decode_chunk(packed())
    assert (100, 10, b"12345") == (chunk.weights.size, chunk.at, bytes(chunk.data))
    assert "blake3:" + "00" * 32 == chunk.weights.digest


@pytest.mark.parametrize(
    "body",
    [
        b"",
        packed()[: HEADER.size - 1],
        packed(data=b""),
        packed(length=0, data=b""),
        packed(data=b"123456"),
        packed(data=b"1234"),
        packed(magic=b"TSK2"),
        packed(code=b"md5\0\0\0\0\0"),
        packed(size=0),
        packed(size=14),
        packed(size=MAX_WEIGHTS_BYTES + 1),
        packed(at=96),
        packed(at=2**64 - 1),
        packed(length=MAX_CHUNK_BYTES + 1, size=2**30, data=bytes(MAX_CHUNK_BYTES + 1)),
    ],
)
def test_what_does_not_fit_into_a_transfer_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError):
        decode_chunk(body)


@given(st.binary(max_size=200) | st.binary(max_size=100).map(b"TSK1".__add__))
def test_arbitrary_bytes_are_refused(body: bytes) -> None:
    try:
        chunk = decode_chunk(memoryview(body))
    except MessageError:
        return
    assert 0 < chunk.at + len(chunk.data) <= chunk.weights.size


@pytest.mark.parametrize("part", ["run", "lane", "term", "round", "hop", "weights"])
def test_a_transfer_is_named_by_all_of_its_turn_and_its_weights(part: str) -> None:
    weights = digested(b"x")
    changes = {"run": "other", "lane": 9, "term": 9, "round": 9, "hop": 9}
    id = IDENTITY if part == "weights" else moved(IDENTITY, **{part: changes[part]})
    other = digested(b"y") if part == "weights" else weights
    assert transfer_id(IDENTITY, weights) == transfer_id(replace(IDENTITY), weights)
    assert transfer_id(IDENTITY, weights) != transfer_id(id, other)


def test_the_names_of_transfers_never_change_between_releases() -> None:
    """A transfer that was begun before an upgrade is continued after it."""
    id = TurnId(run="r", lane=0, term=1, round=2, hop=3)
    assert NAME == transfer_id(id, digested(b"weights")).hex()


NAME = "07441c4cde3d3e0318a33db9326e3723"

# Reassembly.

DATA = bytes(range(256))


@given(data=st.data())
def test_any_delivery_that_ends_with_a_whole_transfer_gives_the_file(data: st.DataObject) -> None:
    """Duplicates, gaps, restarts with other cuts and other transfers in between change nothing."""
    steps = st.integers(20, 300)
    mine, other = DATA, DATA[::-1]
    noise = data.draw(st.lists(st.tuples(st.booleans(), steps, st.integers(0, 12)), max_size=12))
    with temporary_spool() as spool:
        completed = 0
        for is_mine, step, at in noise:
            cut = chunks(mine if is_mine else other, step)
            completed += spool.add(cut[at % len(cut)]) and is_mine
        for chunk in chunks(mine, data.draw(steps)):
            completed += spool.add(chunk)
        assert 1 == completed
        found = spool.find(digested(mine))
        assert found is not None
        assert mine == found.read_bytes()


@given(order=st.lists(st.integers(0, 3), max_size=30), step=st.integers(20, 100))
def test_interleaved_transfers_do_not_mix(order: list[int], step: int) -> None:
    whole = {at: bytes([at]) * 200 + DATA for at in range(4)}
    with temporary_spool() as spool:
        rest = {at: iter(chunks(data, step)) for at, data in whole.items()}
        for at in [*order, *(at for at in range(4) for _ in range(30))]:
            if (chunk := next(rest[at], None)) is not None:
                spool.add(chunk)
        for data in whole.values():
            found = spool.find(digested(data))
            assert found is not None
            assert data == found.read_bytes()
