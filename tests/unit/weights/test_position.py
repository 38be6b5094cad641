"""Where to go on in a stream after a restart."""

from __future__ import annotations

from pathlib import Path

from support.transfers import chunks
from tasuki.weights.position import FORGOTTEN, PositionFile, Reading
from tasuki.weights.spool import Spool


def test_what_is_complete_is_not_read_again() -> None:
    reading = Reading()
    assert reading.note(b"a", 5, is_open=True) == 5
    assert reading.note(b"a", 6, is_open=True) == 5
    assert reading.note(b"a", 7, is_open=False) == 8


def test_a_transfer_that_is_complete_does_not_hide_one_that_is_not() -> None:
    reading = Reading()
    reading.note(b"a", 1, is_open=True)
    reading.note(b"b", 2, is_open=True)
    assert reading.note(b"b", 3, is_open=False) == 1
    assert reading.note(b"a", 4, is_open=False) == 5


def test_a_transfer_that_was_given_up_is_forgotten() -> None:
    reading = Reading()
    reading.note(b"a", 1, is_open=True)
    assert reading.note(b"b", FORGOTTEN + 1, is_open=False) == 1
    assert reading.note(b"b", FORGOTTEN + 2, is_open=False) == FORGOTTEN + 3


def test_a_position_is_kept_beside_what_was_spooled(tmp_path: Path) -> None:
    assert PositionFile(tmp_path).next_offset() is None
    PositionFile(tmp_path).write_offset(7)
    assert PositionFile(tmp_path).next_offset() == 7
    (tmp_path / "position").write_text("no number")
    assert PositionFile(tmp_path).next_offset() is None


def test_a_position_is_void_once_a_power_cut_damaged_what_was_spooled(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for chunk in chunks(b"weights" * 10, 7):
        spool.add(chunk)
    PositionFile(tmp_path).write_offset(7)
    assert PositionFile(tmp_path).next_offset() == 7
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(b"")
    assert PositionFile(tmp_path).next_offset() is None
    assert not file.exists()
