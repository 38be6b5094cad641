"""Digests of weights. The algorithm's name is part of the text, so that it can change."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from tasuki.errors import BadWeights, WeightsError

if TYPE_CHECKING:
    from typing_extensions import Buffer

ALGORITHM = "blake3"
_BLOCK_BYTES = 2**20
"""Of a file that is read."""

_FORM = re.compile(ALGORITHM + ":[0-9a-f]{64}")


class Hasher:
    """Computes the digest of bytes as they pass.

    One thread: the other cores belong to the trainer, and it is faster than any disk.
    """

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = blake3(max_threads=1)

    def update(self, data: Buffer) -> None:
        """Add these bytes; any contiguous buffer will do and none is copied."""
        self._state.update(data)

    def digest(self) -> str:
        """Text form of what passed so far: `blake3:` and 64 lowercase hex digits."""
        return f"{ALGORITHM}:{self._state.hexdigest()}"


def parse_digest(text: str) -> str:
    """The digest itself, once it is known to be one that this version can check.

    Raises:
        WeightsError: it has another form or names another algorithm.
    """
    if not _FORM.fullmatch(text):
        raise WeightsError(
            f"{text[:80]!r} is no digest: it must read {ALGORITHM}: and 64 lowercase hex digits"
        )
    return text


def verify_digest(path: Path) -> str:
    """The digest of the file at `path`, read in blocks; `b3sum` computes the same.

    Raises:
        BadWeights: it is no regular file.
        OSError: it cannot be read.
    """
    with opened(path) as file:
        return digest_of(file)


@contextmanager
def opened(path: Path) -> Iterator[FileIO]:
    """A regular file, to read from.

    Raises:
        BadWeights: it is something else.
        OSError: it cannot be opened.
    """
    # Asked first, because opening a pipe would wait for somebody to write into it.
    if not stat.S_ISREG(path.stat().st_mode):
        raise BadWeights(f"{path} is not a regular file")
    with FileIO(path) as file:
        yield file


def digest_of(file: FileIO) -> str:
    """Of all that is in a file."""
    # Read, not mapped: mapped pages would count as this process's memory.
    hasher, block = Hasher(), bytearray(_BLOCK_BYTES)
    view = memoryview(block)
    file.seek(0)
    while size := file.readinto(block):
        hasher.update(view[:size])
    return hasher.digest()
