"""Parts of a container's tensors, read when they are asked for.

Read and not mapped: mapped pages would count as this process's memory, as long as it looks at them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from tasuki.errors import BadWeights
from tasuki.weights.container.manifest import Manifest
from tasuki.weights.container.reader import read_header
from tasuki.weights.container.writer import BLOCK_BYTES, Look
from tasuki.weights.digest import opened


class Excerpts:
    """An open container."""

    def __init__(self, file: FileIO, manifest: Manifest, data_at: int) -> None:
        self.manifest = manifest
        self._file = file
        self._begins: dict[str, int] = {}
        for spec in manifest.tensors:
            self._begins[spec.name] = data_at
            data_at += spec.size
        self._buffer = bytearray(BLOCK_BYTES)

    def read(self, name: str, at: int, size: int) -> memoryview:
        """So many bytes of a tensor, from `at` on: at most a block. Good until the next are read.

        Raises:
            BadWeights: the file became shorter while it was read.
        """
        view = memoryview(self._buffer)[:size]
        self._file.seek(self._begins[name] + at)
        # A read of a regular file is short only at its end, or after two gigabytes.
        if self._file.readinto(view) != size:
            raise BadWeights(f"{self._file.name!s} became shorter while it was read")
        return view


@contextmanager
def open_excerpts(path: Path) -> Iterator[Excerpts]:
    """The container at `path`, for parts of it to be read.

    Raises:
        BadWeights: it is no well-formed container; the message says why.
        OSError: it cannot be opened.
    """
    with opened(path) as file:
        yield Excerpts(file, *read_header(file, path))


def look_through(path: Path, look: Callable[[Manifest], Look]) -> None:
    """Show every block of a container to the look that is made for its manifest.

    Raises:
        BadWeights, OSError: as `open_excerpts`; and whatever the look raises.
    """
    with open_excerpts(path) as file:
        see = look(file.manifest)
        for spec in file.manifest.tensors:
            for at in range(0, spec.size, BLOCK_BYTES):
                size = min(BLOCK_BYTES, spec.size - at)
                see(spec, at, file.read(spec.name, at, size))
