"""Where weights lie while they travel: one file per transfer, complete or not there.

A file is called `<digest>-<transfer>.safetensors`. It gets that name only when every byte of it
has passed through the digest and the digest is the one that was promised. Until a turn claims it,
a transfer counts against what its sender may have lying here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import blake3

from tasuki.core.model import WeightsRef
from tasuki.disk.errors import disk_errors
from tasuki.errors import DigestMismatch, DiskFull, StorageError
from tasuki.weights.chunks import Chunk
from tasuki.weights.digest import ALGORITHM, Hasher
from tasuki.weights.unclaimed import Limits, Name, Unclaimed

SUFFIX = ".safetensors"
CLAIMS = 1024
"""Transfers that turns asked for and that are remembered as such."""

Refused = Callable[[str, int], None]
"""Told why, and of how many chunks, whenever some are passed over or dropped."""


@dataclass(slots=True)
class _Growing:
    weights: WeightsRef
    part: Path
    file: BinaryIO
    hasher: Hasher
    size: int = 0
    chunks: int = 0


class Spool:
    """A folder of transfers. Used by one thread; costs a file handle per unfinished transfer.

    Args:
        free: how many bytes the disk has left: what promises more is not begun. Without it a
            transfer is written for as long as the disk takes it.
        is_shared: others find weights here too, and one of them removes what is complete.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limits: Limits | None = None,
        refused: Refused = lambda _reason, _count: None,
        free: Callable[[], int] | None = None,
        is_shared: bool = False,
    ) -> None:
        self.folder = folder
        self._is_shared = is_shared
        self.refused = refused
        self._free = free
        self._growing: dict[Name, _Growing] = {}
        self._unclaimed = Unclaimed(limits or Limits())
        self._complete_unclaimed: dict[bytes, tuple[WeightsRef, int]] = {}
        self._claimed: dict[bytes, WeightsRef] = {}
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
        """Any complete file with this content, whatever it was sent for; it is claimed by that."""
        pattern = f"{weights.digest.partition(':')[2]}-*{SUFFIX}"
        found = next(iter(self.folder.glob(pattern)), None)
        if found is not None:
            self._let_stay(bytes.fromhex(found.stem.rpartition("-")[2]))
        return found

    def claim(self, transfer: bytes, weights: WeightsRef) -> None:
        """A turn needs these weights: here or still to come, they stay until `discard`."""
        self._claimed[transfer] = weights
        while len(self._claimed) > CLAIMS:
            del self._claimed[next(iter(self._claimed))]
        self._let_stay(transfer)

    def is_open(self, transfer: bytes, *, sender: str) -> bool:
        """Whether some of this transfer has come and more is to come."""
        return (sender, transfer) in self._growing

    def add(self, chunk: Chunk, *, sender: str = "") -> bool:
        """Take in a chunk; True when it completed its transfer.

        Chunks come in order, some twice, perhaps cut at other places by a sender that started anew.
        One that does not continue what is here is passed over: the sender will start again.

        Raises:
            DigestMismatch: all bytes are here and they are not those promised; they are removed.
            DiskFull: it promises more than the disk has left, so that it is not begun.
            StorageError: the disk; what came so far is removed.
        """
        if self.has(chunk.transfer, chunk.weights):
            return self._pass_over("duplicate")
        name = (sender, chunk.transfer)
        growing = self._growing.get(name)
        if growing is None or growing.weights != chunk.weights:
            if chunk.at:
                return self._pass_over("out_of_order")
            growing = self._begin(name, chunk)
            if growing is None:
                return self._pass_over("unclaimed")
        if not chunk.at <= growing.size < chunk.at + len(chunk.data):
            return self._pass_over("duplicate" if chunk.at < growing.size else "out_of_order")
        self._append(name, chunk, growing)
        if growing.size < growing.weights.size:
            return False
        self._complete(name, growing)
        return True

    def adopt(self, written: Path, transfer: bytes, weights: WeightsRef) -> Path:
        """Give a finished file, digested while it was written, its name."""
        path = self.path(transfer, weights)
        with disk_errors(path):
            written.replace(path)
        return path

    def discard(self, transfer: bytes, weights: WeightsRef) -> None:
        """These weights are not needed any more; if others look for them here, all of them stay."""
        self._claimed.pop(transfer, None)
        for name in [name for name in self._growing if name[1] == transfer]:
            self._abandon(name, "unwanted")
        self._let_stay(transfer)
        if not self._is_shared:
            self.path(transfer, weights).unlink(missing_ok=True)

    def drop(self, weights: WeightsRef) -> None:
        """Nobody needs these weights here, whatever they were sent for.

        Raises:
            StorageError: they are still here.
        """
        while (path := self.find(weights)) is not None:
            with disk_errors(path):
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Nothing here is needed any more."""
        for name in list(self._growing):
            self._abandon(name, "unwanted")
        for transfer, (_, count) in list(self._complete_unclaimed.items()):
            self.refused("unwanted", count)
            self._let_stay(transfer)
        with disk_errors(self.folder):
            for path in self.folder.iterdir():
                if path.suffix in {SUFFIX, ".part"}:
                    path.unlink(missing_ok=True)

    def sweep(self, is_needed: Callable[[WeightsRef], bool] = lambda _: False) -> None:
        """Remove what an earlier process had not finished: all of that is sent or made again.

        What it had finished counts as unclaimed, all of one sender, until a turn claims it.

        Args:
            is_needed: whether weights stay that nobody may claim again, since they have arrived.
        """
        for path in self.folder.glob("*.part"):
            path.unlink(missing_ok=True)
        complete = [(path, path.stat()) for path in self.folder.glob(f"*{SUFFIX}")]
        for path, found in sorted(complete, key=lambda each: each[1].st_mtime):
            with suppress(ValueError):  # a file that is none of ours
                self._find_unclaimed(path, found.st_size, is_needed)

    def _find_unclaimed(
        self, path: Path, size: int, is_needed: Callable[[WeightsRef], bool]
    ) -> None:
        digest, _, transfer = path.stem.rpartition("-")
        weights = WeightsRef(digest=f"{ALGORITHM}:{digest}", size=size)
        name = ("", bytes.fromhex(transfer))
        if is_needed(weights):
            return
        self._complete_unclaimed[name[1]] = (weights, 0)
        for gone in self._unclaimed.add(name, size):
            self._drop_unclaimed(gone)
        self._unclaimed.complete(name)

    def _pass_over(self, reason: str) -> Literal[False]:
        self.refused(reason, 1)
        return False

    def _begin(self, name: Name, chunk: Chunk) -> _Growing | None:
        """Open a file for a transfer; None if it promises more than its sender may have here."""
        self._abandon(name, "unclaimed")
        self._check_room(chunk.weights)
        if self._claimed.get(chunk.transfer) != chunk.weights:
            gone = self._unclaimed.add(name, chunk.weights.size)
            for each in gone:
                self._drop_unclaimed(each)
            if name in gone:
                return None
        part = self.part(_part_name(name))
        with disk_errors(part):
            file = part.open("wb", buffering=0)
        growing = _Growing(weights=chunk.weights, part=part, file=file, hasher=Hasher())
        self._growing[name] = growing
        return growing

    def _check_room(self, weights: WeightsRef) -> None:
        """Before a byte of it is written: a disk that it fills is full for everything else too."""
        free = weights.size if self._free is None else self._free()
        if weights.size > free:
            self.refused("too_large", 1)
            raise DiskFull(
                f"weights of {weights.size} bytes do not fit on the disk of {self.folder}, which "
                f"has {free} left; make room, the run tries again"
            )

    def _append(self, name: Name, chunk: Chunk, growing: _Growing) -> None:
        data = memoryview(chunk.data)[growing.size - chunk.at :]
        growing.chunks += 1
        try:
            with disk_errors(self.folder):
                _write_all(growing.file, data)
        except StorageError:
            self._abandon(name, "disk")
            raise
        growing.hasher.update(data)
        growing.size += len(data)

    def _complete(self, name: Name, growing: _Growing) -> None:
        transfer, weights = name[1], growing.weights
        if growing.hasher.digest() != weights.digest:
            self._abandon(name, "bad_digest")
            raise DigestMismatch(f"the weights that arrived are not {weights.digest}")
        growing.file.close()
        path = self.path(transfer, weights)
        try:
            with disk_errors(path):
                growing.part.replace(path)
        except StorageError:
            self._abandon(name, "disk")
            raise
        del self._growing[name]
        self._unclaimed.complete(name)
        if self._claimed.get(transfer) != weights:
            self._complete_unclaimed[transfer] = (weights, growing.chunks)

    def _abandon(self, name: Name, reason: str) -> None:
        growing = self._growing.pop(name, None)
        if growing is not None:
            growing.file.close()
            growing.part.unlink(missing_ok=True)
            self.refused(reason, growing.chunks)

    def _drop_unclaimed(self, name: Name) -> None:
        self._abandon(name, "unclaimed")
        complete = self._complete_unclaimed.pop(name[1], None)
        if complete is not None:
            weights, count = complete
            self.path(name[1], weights).unlink(missing_ok=True)
            self.refused("unclaimed", count)

    def _let_stay(self, transfer: bytes) -> None:
        self._complete_unclaimed.pop(transfer, None)
        self._unclaimed.remove(transfer)


def _part_name(name: Name) -> str:
    """Senders are named by the broker's operator, perhaps as no file can be."""
    sender, transfer = name
    return transfer.hex() + (
        f"-from-{blake3.blake3(sender.encode()).hexdigest(length=8)}" if sender else ""
    )


def _write_all(file: BinaryIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]
