"""A spooled file is complete and right, or it is not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.transfers import IDENTITY, chunks, digested
from tasuki.core.model import WeightsRef
from tasuki.errors import DigestMismatch, DiskFull, StorageError
from tasuki.weights.spool import Spool
from tasuki.weights.unclaimed import Limits

DATA = b"0123456789" * 10


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.clear()


def names(spool: Spool) -> list[str]:
    return sorted(path.name for path in spool.folder.iterdir())


def fill(spool: Spool, data: bytes = DATA, *, promised: WeightsRef | None = None) -> list[bool]:
    return [spool.add(chunk) for chunk in chunks(data, 30, promised=promised)]


def test_a_transfer_is_there_once_its_last_chunk_came(spool: Spool) -> None:
    assert [False, False, False, True] == fill(spool)

    first = chunks(DATA, 30)[0]
    assert spool.has(first.transfer, first.weights)
    path = spool.path(first.transfer, first.weights)
    assert (path, DATA) == (spool.find(first.weights), path.read_bytes())
    assert [path.name] == names(spool)


def test_an_unfinished_transfer_is_not_there(spool: Spool) -> None:
    *most, last = chunks(DATA, 30)
    assert [False] * 3 == [spool.add(chunk) for chunk in most]
    assert not spool.has(last.transfer, last.weights)
    assert spool.find(last.weights) is None


def test_a_chunk_that_comes_twice_counts_once(spool: Spool) -> None:
    cut = chunks(DATA, 30)
    assert [False] * 6 + [True, False] == [
        spool.add(each) for chunk in cut for each in (chunk,) * 2
    ]
    assert DATA == spool.path(cut[0].transfer, cut[0].weights).read_bytes()


def test_a_complete_transfer_that_is_sent_again_is_left_alone(spool: Spool) -> None:
    fill(spool)
    assert [False] * 4 == fill(spool)
    assert 1 == len(names(spool))


def test_a_transfer_that_starts_in_the_middle_is_passed_over(spool: Spool) -> None:
    assert not spool.add(chunks(DATA, 30)[1])
    assert [] == names(spool)


def test_a_gap_waits_for_the_sender_to_start_again(spool: Spool) -> None:
    first, second, third, last = chunks(DATA, 30)
    assert [False] * 3 == [spool.add(chunk) for chunk in (first, third, last)]
    assert [False, False, False, True] == [
        spool.add(chunk) for chunk in (first, second, third, last)
    ]
    assert DATA == spool.path(first.transfer, first.weights).read_bytes()


def test_a_transfer_that_is_cut_at_other_places_the_second_time_is_completed(spool: Spool) -> None:
    """Bug: a sender upgraded in mid-transfer to another chunk size was never understood."""
    for chunk in chunks(DATA, 30)[:2]:
        spool.add(chunk)
    assert [False, False, True] == [spool.add(chunk) for chunk in chunks(DATA, 40)]
    found = spool.find(digested(DATA))
    assert found is not None
    assert DATA == found.read_bytes()


def test_the_same_weights_for_two_turns_are_two_transfers(spool: Spool) -> None:
    for id in (IDENTITY, replace(IDENTITY, term=2)):
        for chunk in chunks(DATA, 30, id=id):
            spool.add(chunk)
    assert 2 == len(names(spool))


def test_wrong_bytes_are_refused_and_nothing_of_them_is_left(spool: Spool) -> None:
    promised = digested(DATA)
    with pytest.raises(DigestMismatch, match=promised.digest):
        fill(spool, bytes(len(DATA)), promised=promised)
    assert [] == names(spool)
    assert spool.find(promised) is None


def test_after_wrong_bytes_the_right_ones_are_welcome(spool: Spool) -> None:
    with pytest.raises(DigestMismatch):
        fill(spool, bytes(len(DATA)), promised=digested(DATA))
    assert fill(spool)[-1]


@given(at=st.integers(0, len(DATA) - 1), flip=st.integers(1, 255), step=st.integers(1, 120))
def test_a_single_spoiled_byte_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int, step: int
) -> None:
    spool = Spool(tmp_path_factory.getbasetemp() / "spoiled")
    spoiled = bytearray(DATA)
    spoiled[at] ^= flip
    *most, last = chunks(bytes(spoiled), step, promised=digested(DATA))
    for chunk in most:
        spool.add(chunk)
    with pytest.raises(DigestMismatch):
        spool.add(last)
    assert [] == names(spool)


class FullDisk:
    """A file that takes so many bytes and no more, a few at a time."""

    def __init__(self, file: BinaryIO, room: int, error: int) -> None:
        self._file, self._room, self._error = file, room, error

    def write(self, data: memoryview) -> int:
        part = data[: min(self._room, 7)]
        if not part:
            raise OSError(self._error, os.strerror(self._error))
        self._room -= len(part)
        return self._file.write(part)

    def close(self) -> None:
        self._file.close()


def fill_up(monkeypatch: pytest.MonkeyPatch, *, room: int, error: int) -> None:
    """From here on each new file has so much room."""
    opened = Path.open

    def limited(path: Path, mode: str = "r", buffering: int = -1) -> object:
        if mode != "wb":
            return opened(path, mode, buffering)
        assert 0 == buffering
        return FullDisk(opened(path, "wb", buffering=0), room, error)

    monkeypatch.setattr(Path, "open", limited)


@pytest.mark.parametrize("room", [0, 1, 29, 30, 31, 99])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_on_a_full_disk_nothing_is_left(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, room: int, error: int
) -> None:
    with monkeypatch.context() as patch:
        fill_up(patch, room=room, error=error)
        with pytest.raises(DiskFull, match="make room"):
            fill(spool)
        assert [] == names(spool)
    assert fill(spool)[-1]


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_them_all(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_up(monkeypatch, room=100, error=errno.ENOSPC)
    assert fill(spool)[-1]
    found = spool.find(digested(DATA))
    assert found is not None
    assert DATA == found.read_bytes()


def test_a_disk_that_fails_otherwise_is_not_called_full(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_up(monkeypatch, room=40, error=errno.EIO)
    with pytest.raises(StorageError) as caught:
        fill(spool)
    assert StorageError is type(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert [] == names(spool)


def test_a_file_that_is_somebody_else_s_is_told_with_who_runs_this(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_up(monkeypatch, room=40, error=errno.EACCES)
    with pytest.raises(StorageError, match=rf"Permission denied; let user {os.getuid()}, who"):
        fill(spool)


def test_a_disk_without_room_for_another_file_is_full(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> object:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "open", none)
    with pytest.raises(DiskFull):
        fill(spool)
    assert [] == names(spool)


def test_a_full_disk_at_the_last_step_leaves_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: the part file stayed behind when it could not be given its name."""

    def none(*_: object) -> object:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", none)
    with pytest.raises(DiskFull):
        fill(spool)
    assert [] == names(spool)


def test_a_real_device_that_is_full_is_called_full(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    spool = Spool(tmp_path)
    first, *_ = chunks(DATA, 30)
    spool.part(first.transfer.hex()).symlink_to(full)
    with pytest.raises(DiskFull):
        spool.add(first)
    assert [] == names(spool)


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        Spool(tmp_path / "file" / "spool")


def test_a_discarded_transfer_is_gone_complete_or_not(spool: Spool) -> None:
    first = chunks(DATA, 30)[0]
    spool.add(first)
    spool.discard(first.transfer, first.weights)
    assert [] == names(spool)
    fill(spool)
    spool.discard(first.transfer, first.weights)
    assert [] == names(spool)
    spool.discard(first.transfer, first.weights)


def test_a_restarted_site_reads_the_transfer_again_from_its_start(spool: Spool) -> None:
    """What was half received before a crash is not trusted: its digest died with the process."""
    for chunk in chunks(DATA, 30)[:2]:
        spool.add(chunk)
    again = Spool(spool.folder)
    assert [False, False, False, True] == fill(again)
    assert 1 == len(names(again))


def test_what_an_earlier_process_left_counts_until_a_turn_claims_it(spool: Spool) -> None:
    """Bug: weights whose turn never came stayed for good once the site had been restarted."""
    kinds = [DATA, DATA[::-1], DATA[1:]]
    for age, data in enumerate(kinds):
        fill(spool, data)
        path = spool.find(digested(data))
        assert path is not None
        os.utime(path, (age, age))
    claimed = chunks(DATA[::-1], 30)[0]
    (spool.folder / "notes.safetensors").touch()

    again = Spool(spool.folder, limits=Limits(size=2 * len(DATA)))
    again.sweep()
    again.claim(claimed.transfer, claimed.weights)
    assert 3 == len(names(again))  # the oldest gave way
    assert again.find(digested(DATA)) is None


def test_a_transfer_that_the_disk_has_no_room_for_is_not_begun(tmp_path: Path) -> None:
    counted: list[tuple[str, int]] = []
    free = [len(DATA) - 1]
    spool = Spool(tmp_path, free=lambda: free[0], refused=lambda *told: counted.append(told))
    first, second, *_ = chunks(DATA, 30)

    with pytest.raises(DiskFull, match=r"100 bytes do not fit .* has 99 left; make room"):
        spool.add(first)
    assert not spool.add(second)
    assert ([("too_large", 1), ("out_of_order", 1)], []) == (counted, names(spool))

    free[0] += 1
    assert [False, False, False, True] == fill(spool)


def test_a_turn_asks_in_vain_for_more_than_the_disk_has(tmp_path: Path) -> None:
    spool = Spool(tmp_path, free=lambda: len(DATA) - 1)
    first = chunks(DATA, 30)[0]
    spool.claim(first.transfer, first.weights)
    with pytest.raises(DiskFull):
        spool.add(first)


def test_clearing_a_spool_removes_our_files_and_no_others(spool: Spool) -> None:
    fill(spool)
    spool.add(chunks(DATA[::-1], 30)[0])
    (spool.folder / "notes.txt").touch()
    spool.clear()
    assert ["notes.txt"] == names(spool)


def test_a_result_that_was_written_elsewhere_is_given_its_name(spool: Spool) -> None:
    part = spool.part("result")
    part.write_bytes(DATA)
    first = chunks(DATA, 30)[0]
    adopted = spool.adopt(part, first.transfer, first.weights)
    assert (adopted, [adopted.name]) == (spool.find(first.weights), names(spool))


def test_a_result_that_is_gone_is_a_storage_error(spool: Spool) -> None:
    first = chunks(DATA, 30)[0]
    with pytest.raises(StorageError):
        spool.adopt(spool.part("result"), first.transfer, first.weights)


def test_what_is_complete_in_a_shared_folder_is_for_another_to_remove(tmp_path: Path) -> None:
    shared, owner = Spool(tmp_path, is_shared=True), Spool(tmp_path)
    assert fill(shared)[-1]
    half = chunks(DATA[1:], 30)[0]
    shared.add(half)
    for chunk in (half, chunks(DATA, 30)[0]):
        shared.discard(chunk.transfer, chunk.weights)
    found = owner.find(digested(DATA))
    assert found is not None
    assert [found] == list(tmp_path.iterdir())
    owner.discard(chunk.transfer, chunk.weights)
    assert [] == list(tmp_path.iterdir())
