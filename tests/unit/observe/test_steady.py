"""What people read may get lost; the work goes on."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasuki.observe.steady import SteadyStream


def test_a_terminal_that_knows_ascii_alone_is_shown_the_rest_in_words() -> None:
    shown = io.BytesIO()
    stream = SteadyStream(io.TextIOWrapper(shown, encoding="ascii"))
    stream.write("50% \u2588 done\n")
    assert b"50% \\u2588 done\n" == shown.getvalue()


def test_a_closed_pipe_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        stream = SteadyStream(pipe)
        stream.write("to nobody\n")
        assert 1 == stream.lost
        stream.write("on it goes\n")
    stream.write("not even open\n")
    assert 1 == stream.lost


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_counted_and_told_when_there_is_room() -> None:
    kept = io.StringIO()
    with Path("/dev/full").open("w") as full:
        stream = SteadyStream(full)
        stream.write("one\n")
        stream.write("two\n")
        assert 2 == stream.lost
        stream._stream = kept  # noqa: SLF001 - as if somebody had made room
        stream.write("three\n")
        stream._let_go()  # noqa: SLF001
        SteadyStream(full)._let_go()  # noqa: SLF001 - or closing it would fail
    assert "tasuki: 2 pieces could not be written here\nthree\n" == kept.getvalue()


def test_a_process_whose_reader_has_gone_ends_as_it_would_have() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = (
        "import sys; from tasuki.observe.steady import SteadyStream\n"
        "s = SteadyStream(sys.stdout); s.write('x' * 100000); s.write('y'); sys.exit(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, timeout=60, check=False)
    os.close(writing)
    assert 3 == done.returncode
