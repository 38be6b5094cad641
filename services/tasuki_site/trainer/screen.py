r"""What a trainer prints, as the lines that a terminal would show.

A bar that draws itself anew with `\r` or `\b` is one line in its newest state, not a thousand
pieces of a long one. What would steer a terminal is left out.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

MOST = 4000
"""Characters of a line; a longer one is shown in pieces, so that none fills the memory."""

_STEPS = re.compile(r"[\r\b\n]|[^\r\b\n]+")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_STEERING = re.compile(r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,200})?\Z")


class Screen:
    """One line of a terminal: bytes in, finished lines out; `line` is the one being drawn."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""  # the beginning of an escape sequence
        self._line = ""
        self._at = 0

    @property
    def line(self) -> str:
        return self._line.rstrip()

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that this finishes."""
        text = self._rest + self._decoder.decode(data)
        begun = _UNFINISHED.search(text)
        self._rest = begun.group() if begun else ""
        text = _STEERING.sub("", _ESCAPE.sub("", text[: len(text) - len(self._rest)]))
        for step in _STEPS.finditer(text):
            yield from self._take(step.group())

    def finish(self) -> Iterator[str]:
        """The last line, if it never ended."""
        yield from self.feed(b"")
        if self.line:
            yield self._new_line()

    def _take(self, step: str) -> Iterator[str]:
        if step == "\n":
            yield self._new_line()
        elif step == "\r":
            self._at = 0
        elif step == "\b":
            self._at = max(0, self._at - 1)
        else:
            self._line = self._line[: self._at] + step + self._line[self._at + len(step) :]
            self._at += len(step)
            while len(self._line) > MOST:
                yield self._line[:MOST]
                self._line, self._at = self._line[MOST:], max(0, self._at - MOST)

    def _new_line(self) -> str:
        line, self._line, self._at = self.line, "", 0
        return line
