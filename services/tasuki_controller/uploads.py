"""First weights on their way in: streamed to a file, never held in memory."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

from tasuki.core.model import WeightsRef
from tasuki.disk.errors import disk_errors
from tasuki.disk.writing import copy_whole
from tasuki.errors import BadWeights, LedgerBroken, StorageError, UnknownRun, WeightsError
from tasuki.weights.chunks import MAX_WEIGHTS_BYTES
from tasuki.weights.container import FirstWeights, exempting, look_through, read_manifest
from tasuki.weights.digest import Hasher, verify_digest
from tasuki.weights.spool import SUFFIX
from tasuki_controller.checkpoints import Kept


class Uploads:
    """A folder of uploads that no run has taken yet; those of an earlier process are dropped.

    Runs that are submitted together may start from the same weights: such a file stays until each
    upload of it was taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: Counter[WeightsRef] = Counter()
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                path.unlink()

    async def receive(self, pieces: AsyncIterator[bytes]) -> WeightsRef:
        """Keep what arrives if it is a well-formed container.

        Raises:
            BadWeights: it is not, and is removed.
            DiskFull, StorageError: it cannot be kept.
        """
        part = self._folder / f"{secrets.token_hex(8)}.part"
        try:
            weights = await _write(pieces, part)
            read_manifest(part)
            with disk_errors(part):
                part.replace(self._path(weights))
            self._waiting[weights] += 1
        finally:
            part.unlink(missing_ok=True)
        return weights

    async def borrow(self, kept: Kept, *, non_finite: Sequence[str] = ()) -> WeightsRef:
        """Keep the weights of a checkpoint, as if they had been uploaded, whatever is pruned.

        Args:
            non_finite: names, or patterns, of tensors that may hold NaN in the run to come.

        Raises:
            UnknownRun: they were pruned meanwhile.
            LedgerBroken: they have other bytes than they should.
            NonFiniteWeights: they hold NaN.
            DiskFull, StorageError: they cannot be kept.
        """
        own = self._folder / f"{secrets.token_hex(8)}.borrowed"
        try:
            weights = await asyncio.to_thread(_copied, kept, own, non_finite)
            with disk_errors(own):
                own.replace(self._path(weights))
            self._waiting[weights] += 1
        finally:
            own.unlink(missing_ok=True)
        return weights

    def find(self, weights: WeightsRef) -> Path:
        """Raises WeightsError: they were not uploaded, or another run has taken them."""
        path = self._path(weights)
        if not path.exists() or path.stat().st_size != weights.size:
            raise WeightsError(f"weights {weights.digest} are not here: upload them first")
        return path

    def taken(self, weights: WeightsRef) -> None:
        """A run has its own copy of one upload."""
        self._waiting[weights] -= 1
        if self._waiting[weights] <= 0:
            del self._waiting[weights]
            self._path(weights).unlink(missing_ok=True)

    def _path(self, weights: WeightsRef) -> Path:
        return self._folder / f"{weights.digest.partition(':')[2]}{SUFFIX}"


def _copied(kept: Kept, own: Path, non_finite: Sequence[str]) -> WeightsRef:
    try:
        copy_whole(kept.path, own)
    except StorageError:
        if kept.path.exists():
            raise
        raise UnknownRun(f"{kept.path.name} was pruned just now: name a newer round") from None
    if verify_digest(own) != kept.digest:
        raise LedgerBroken(f"{kept.path} has other bytes than the ledger says")
    look_through(own, partial(exempting, FirstWeights().look, patterns=non_finite))
    return WeightsRef(digest=kept.digest, size=own.stat().st_size)


async def _write(pieces: AsyncIterator[bytes], part: Path) -> WeightsRef:
    hasher, size = Hasher(), 0
    with disk_errors(part):
        file = part.open("wb")
    with file:
        async for piece in pieces:
            size += len(piece)
            if size > MAX_WEIGHTS_BYTES:
                raise BadWeights(f"more than {MAX_WEIGHTS_BYTES} bytes")
            hasher.update(piece)
            with disk_errors(part):
                file.write(piece)
    return WeightsRef(digest=hasher.digest(), size=size)
