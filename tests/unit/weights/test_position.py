"""Where to go on in a stream after a restart."""

from __future__ import annotations

from tasuki.weights.position import FORGOTTEN, Reading


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
