"""Where weights lie while they travel: one file per transfer, complete or not there.

A file is called `<digest>-<transfer>.safetensors`. It gets that name only when every byte of it
has passed through the digest and the digest is the one that was promised.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tasuki.core.model import WeightsRef
from tasuki.errors import DigestMismatch, DiskFull, StorageError
from tasuki.wire.chunks import Chunk
from tasuki.wire.digest import Hasher

SUFFIX = ".safetensors"


@contextmanager
def disk_errors(what: Path) -> Iterator[None]:
    """Translate what the operating system says about files into our own errors.

    Raises:
        DiskFull: no space, or no quota, left.
        StorageError: anything else.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise DiskFull(f"the disk is full at {what}; free space and start again") from exc
        raise StorageError(f"{what}: {exc.strerror or exc}") from exc


@dataclass(slots=True)
class _Growing:
    weights: WeightsRef
    file: BinaryIO
    hasher: Hasher
    size: int = 0


class Spool:
    """A folder of transfers. Used by one thread; costs a file handle per unfinished transfer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._growing: dict[bytes, _Growing] = {}
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, transfer: bytes, weights: WeightsRef) -> Path:
        """Where these weights lie once they are complete."""
        return self.folder / f"{weights.digest.partition(':')[2]}-{transfer.hex()}{SUFFIX}"

    def part(self, name: str) -> Path:
        """A place for a file that is still being written."""
        return self.folder / f"{name}.part"

    def has(self, transfer: bytes, weights: WeightsRef) -> bool:
        return self.path(transfer, weights).exists()

    def find(self, weights: WeightsRef) -> Path | None:
        """Any complete file with this content, whatever it was sent for."""
        pattern = f"{weights.digest.partition(':')[2]}-*{SUFFIX}"
        return next(iter(self.folder.glob(pattern)), None)

    def add(self, chunk: Chunk) -> bool:
        """Take in a chunk; True when it completed its transfer.

        Chunks come in order, some twice, perhaps cut at other places by a sender that started anew.
        One that does not continue what is here is passed over: the sender will start again.

        Raises:
            DigestMismatch: all bytes are here and they are not those promised; they are removed.
            StorageError: the disk; what came so far is removed.
        """
        if self.has(chunk.transfer, chunk.weights):
            return False
        growing = self._growing.get(chunk.transfer)
        if growing is None or growing.weights != chunk.weights:
            if chunk.at:
                return False
            growing = self._begin(chunk)
        if not chunk.at <= growing.size < chunk.at + len(chunk.data):
            return False
        self._append(chunk, growing)
        if growing.size < growing.weights.size:
            return False
        self._complete(chunk.transfer, growing)
        return True

    def adopt(self, written: Path, transfer: bytes, weights: WeightsRef) -> Path:
        """Give a finished file, digested while it was written, its name."""
        path = self.path(transfer, weights)
        with disk_errors(path):
            written.replace(path)
        return path

    def discard(self, transfer: bytes, weights: WeightsRef) -> None:
        """These weights are not needed any more, complete or not."""
        self._abandon(transfer)
        self.path(transfer, weights).unlink(missing_ok=True)

    def clear(self) -> None:
        """Nothing here is needed any more."""
        for transfer in list(self._growing):
            self._abandon(transfer)
        for path in self.folder.iterdir():
            if path.suffix in {SUFFIX, ".part"}:
                path.unlink(missing_ok=True)

    def _begin(self, chunk: Chunk) -> _Growing:
        self._abandon(chunk.transfer)
        part = self.part(chunk.transfer.hex())
        with disk_errors(part):
            file = part.open("wb", buffering=0)
        growing = _Growing(weights=chunk.weights, file=file, hasher=Hasher())
        self._growing[chunk.transfer] = growing
        return growing

    def _append(self, chunk: Chunk, growing: _Growing) -> None:
        data = memoryview(chunk.data)[growing.size - chunk.at :]
        try:
            with disk_errors(self.folder):
                _write_all(growing.file, data)
        except StorageError:
            self._abandon(chunk.transfer)
            raise
        growing.hasher.update(data)
        growing.size += len(data)

    def _complete(self, transfer: bytes, growing: _Growing) -> None:
        if growing.hasher.digest() != growing.weights.digest:
            self._abandon(transfer)
            raise DigestMismatch(f"the weights that arrived are not {growing.weights.digest}")
        growing.file.close()
        path = self.path(transfer, growing.weights)
        try:
            with disk_errors(path):
                self.part(transfer.hex()).replace(path)
        finally:
            self._abandon(transfer)

    def _abandon(self, transfer: bytes) -> None:
        growing = self._growing.pop(transfer, None)
        if growing is not None:
            growing.file.close()
            self.part(transfer.hex()).unlink(missing_ok=True)


def _write_all(file: BinaryIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]
