"""What a trainer prints becomes the lines that a terminal would show."""

from __future__ import annotations

import pytest

from tasuki_site.trainer.screen import MOST, Screen


def shown(*pieces: bytes) -> list[str]:
    screen = Screen()
    lines = [line for piece in pieces for line in screen.feed(piece)]
    return [*lines, *screen.finish()]


@pytest.mark.parametrize(
    ("printed", "lines"),
    [
        (b"one\ntwo", ["one", "two"]),
        (b"a bar 10%\ra bar 20%\n", ["a bar 20%"]),
        (b"long text\rshort\n", ["shorttext"[:5] + "text"]),
        (b"windows\r\n", ["windows"]),
        (b"1/9\b\b\b2/9\n", ["2/9"]),
        (b"\x1b[32mgreen\x1b[0m\x1b[K\n", ["green"]),
        (b"\x1b]0;title\x07text\n", ["text"]),
        (b"\xff\xfe broken\n", ["\ufffd\ufffd broken"]),
        (
            b"a bell\x07, \x0eanother set\x0f, \x0ba\x00\x7f tab\tstays\n",
            ["a bell, another set, a tab\tstays"],
        ),
        ("eight bits: \x9b2J\n".encode(), ["eight bits: 2J"]),
        (b"\n\n", ["", ""]),
        (b"a\0b\x07\xc2\x9b31m\x7f\tc\n", ["ab31m\tc"]),
    ],
)
def test_lines_are_those_of_a_terminal(printed: bytes, lines: list[str]) -> None:
    assert lines == shown(printed)


def test_pieces_may_end_anywhere() -> None:
    printed = "\x1b[1m█ 50%\x1b[0m\rdone ä\n".encode()
    assert shown(printed) == shown(*(printed[at : at + 1] for at in range(len(printed))))


def test_a_line_of_any_length_is_shown_whole_in_pieces() -> None:
    pieces = shown(b"x" * 3 * MOST, b"y\n")
    assert ["x" * MOST] * 3 + ["y"] == pieces


def test_the_line_that_is_being_drawn_is_known_before_it_ends() -> None:
    screen = Screen()
    assert [] == list(screen.feed(b"epoch 0: 10%\repoch 0: 20%"))
    assert "epoch 0: 20%" == screen.line
