"""JSON from strangers, of the one form that a weights header has, read value by value.

`json` alone would let a header of a few megabytes grow to hundreds in memory, or recurse, before
any of it could be checked. In this grammar nothing nests beyond what a header needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NoReturn

from tasuki.errors import BadWeights
from tasuki.weights.container.names import quoted

# Possessive (`*+`) throughout: a match costs time in proportion to its length, and no stack.
_SPACE = rb"[ \t\n\r]*+"
_STRING = re.compile(rb'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+"')
_OPEN = re.compile(rb"\{" + _SPACE + rb"(\}?)")
_COLON = re.compile(_SPACE + rb":" + _SPACE)
_NEXT = re.compile(_SPACE + rb"([,}])" + _SPACE)
# A flat object with flat lists in it; one that describes a tensor takes some hundred bytes.
_FLAT = re.compile(rb"\{[^{}\[\]]{0,500}+(?:\[[^{}\[\]]{0,1500}+\][^{}\[\]]{0,500}+){0,4}+\}")


class Scanner:
    """Reads one JSON object. Every method raises BadWeights where the text is no such object."""

    __slots__ = ("_at", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0

    def keys(self) -> Iterator[str]:
        """The keys of the object that begins here. Take a key's value before asking for another."""
        opened = _OPEN.match(self._text, self._at)
        if opened is None:
            self.refuse("an object should begin")
        self._at = opened.end()
        more = not opened[1]
        while more:
            key = self.string()
            self._skip(_COLON, "a colon should follow the key")
            yield key
            more = self._skip(_NEXT, "a comma or the end of the object should follow") == b","

    def string(self) -> str:
        """The string that begins here."""
        raw = self._take(_STRING)
        if raw is None:
            self.refuse("a string should begin")
        try:
            return str(json.loads(raw.decode()))
        except ValueError as exc:
            raise BadWeights(f"the header holds a string that is not valid: {exc}") from exc

    def strings(self, *, limit: int) -> dict[str, str]:
        """The object of strings that begins here, of at most so many."""
        found: dict[str, str] = {}
        for key in self.keys():
            if key in found:
                raise BadWeights(f"the header holds {quoted(key)} twice in one object")
            if len(found) == limit:
                raise BadWeights(f"the header holds an object of more than {limit} strings")
            found[key] = self.string()
        return found

    def flat_object(self) -> list[tuple[str, object]]:
        """Keys and values of the small object that begins here: strings, numbers, lists of them."""
        raw = self._take(_FLAT)
        if raw is None:
            self.refuse("a small flat object should begin")
        try:
            pairs: list[tuple[str, object]] = json.loads(raw.decode(), object_pairs_hook=list)
        except ValueError as exc:
            raise BadWeights(f"the header is not valid JSON in {raw[:200]!r}: {exc}") from exc
        return pairs

    def end(self) -> None:
        """Nothing may follow but spaces, which pad a header."""
        if self._text[self._at :].strip(b" \t\n\r"):
            self.refuse("the header should end")

    def refuse(self, expected: str) -> NoReturn:
        """Say what is wrong at this place."""
        raise BadWeights(f"the header is not valid JSON of a header: {expected} at byte {self._at}")

    def _take(self, pattern: re.Pattern[bytes]) -> bytes | None:
        found = pattern.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]

    def _skip(self, pattern: re.Pattern[bytes], expected: str) -> bytes:
        raw = self._take(pattern)
        if raw is None:
            self.refuse(expected)
        return raw.strip()
