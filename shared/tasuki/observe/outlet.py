"""Where a service's log and a simulation's display go, whatever becomes of who reads them.

A full disk below a log file, a closed pipe, a terminal that knows only ASCII: none of it is worth a
turn. What cannot be written is counted.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import IO, Any


class Outlet:
    """A text stream that never fails; everything else about it is that of the stream behind it.

    Attributes:
        lost: lines that could not be written.
        told: of these, those of which a line that was written has told.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._unsure = 0  # lines that may still be on their way
        self.lost = 0
        self.told = 0

    def write(self, text: str) -> int:
        self._unsure += text.count("\n")
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            self._write_plainly(text)
        except (OSError, ValueError):  # ValueError: it is closed
            self._lose()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._lose()
        else:
            self._unsure, self.told = 0, self.lost

    def _write_plainly(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", "ascii")
        try:
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError):
            self._lose()

    def _lose(self) -> None:
        self.lost, self._unsure = self.lost + self._unsure, 0

    def __getattr__(self, name: str) -> Any:  # Any: whatever the stream has
        return getattr(self._stream, name)


def let_go(stream: IO[str]) -> None:
    """At a process's end: what cannot be written now never will be, and must not be its exit code.

    Python flushes its streams once more, and ends with 120 if that fails.
    """
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)
