"""While a password is being changed, both are tried, and only those."""

from __future__ import annotations

from pathlib import Path

from tasuki.settings.broker import BrokerTable
from tasuki.transport.amqp.passwords import Passwords


def table(folder: Path, **contents: str) -> BrokerTable:
    for name, content in contents.items():
        (folder / name.replace("_", ".")).write_text(content)
    return BrokerTable(url="amqp://site-1@localhost/x", password_file=folder / "password")


def test_there_is_one_as_long_as_nothing_is_renewed(tmp_path: Path) -> None:
    assert ("now",) == table(tmp_path, password="now\n").passwords()  # noqa: S106 - a test's


def test_those_of_a_renewal_are_tried_after_it(tmp_path: Path) -> None:
    contents = {"password": "now", "password_next": "soon", "password_old": "before"}
    assert ("now", "soon", "before") == table(tmp_path, **contents).passwords()


def test_what_cannot_be_read_and_what_is_there_twice_is_left_out(tmp_path: Path) -> None:
    contents = {"password": "", "password_next": "soon", "password_old": "soon"}
    assert ("soon",) == table(tmp_path, **contents).passwords()


def test_each_is_tried_once_and_then_all_of_them_again() -> None:
    passwords = Passwords(lambda: ("now", "soon"))

    assert "now" == passwords.next()
    assert passwords.has_another
    assert "soon" == passwords.next()
    assert not passwords.has_another
    assert "now" == passwords.next()


def test_the_one_that_was_taken_comes_first_the_next_time() -> None:
    passwords = Passwords(lambda: ("now", "soon"))
    passwords.next()
    passwords.next()
    passwords.was_taken()

    assert ["soon", "now"] == [passwords.next(), passwords.next()]


def test_they_are_read_anew_for_each_connection() -> None:
    there = ["now"]
    passwords = Passwords(lambda: tuple(there))
    passwords.next()
    passwords.was_taken()

    there[:] = ["soon"]

    assert "soon" == passwords.next()
