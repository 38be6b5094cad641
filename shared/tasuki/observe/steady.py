"""A stream for what people read, which ends nobody's work: a closed pipe, a full disk, plain ASCII.

What cannot be written is counted, and told as soon as something can be written again.
"""

from __future__ import annotations

import atexit
import io
import os
from contextlib import suppress
from typing import TextIO, cast


def steady(stream: TextIO) -> TextIO:
    """The stream, as one that never raises."""
    return cast(TextIO, SteadyStream(stream))  # all of it that a logger or a console uses


class SteadyStream(io.TextIOBase):
    """Writes to another stream as well as that is possible."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = 0
        atexit.register(self._let_go)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # io declares it as what can be assigned
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        with suppress(ValueError):
            return self._stream.isatty()
        return False

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        told = f"tasuki: {self.lost} pieces could not be written here\n" if self.lost else ""
        shown = (told + text).encode(self.encoding, "backslashreplace").decode(self.encoding)
        if self._attempt(shown):
            self.lost = 0
        return len(text)

    def flush(self) -> None:
        self._attempt("")

    def _attempt(self, text: str) -> bool:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            self._let_go()  # nobody will ever read this
        except (OSError, ValueError):  # the disk; ValueError: the stream is closed
            pass
        else:
            return True
        self.lost += bool(text)
        return False

    def _let_go(self) -> None:
        """Else the interpreter would end with an error of its own when it flushes at its end."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
