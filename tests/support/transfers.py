"""Transfers of made-up weights, cut into chunks as a sender would."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasuki.core.model import TurnId, WeightsRef
from tasuki.weights.chunks import Chunk, transfer_id
from tasuki.weights.digest import Hasher
from tasuki.weights.spool import Spool

IDENTITY = TurnId(run="r", lane=0, term=1, round=2, hop=3)


def digested(data: bytes) -> WeightsRef:
    hasher = Hasher()
    hasher.update(data)
    return WeightsRef(digest=hasher.digest(), size=len(data))


def chunks(
    data: bytes, step: int, *, promised: WeightsRef | None = None, id: TurnId = IDENTITY
) -> list[Chunk]:
    """The chunks of `data`, which may be other weights than those `promised`."""
    weights = promised or digested(data)
    transfer = transfer_id(id, weights)
    return [
        Chunk(transfer=transfer, weights=weights, at=at, data=data[at : at + step])
        for at in range(0, len(data), step)
    ]


@contextmanager
def temporary_spool() -> Iterator[Spool]:
    """A spool for one example; its open files are closed whatever becomes of it."""
    with tempfile.TemporaryDirectory() as name:
        spool = Spool(Path(name))
        try:
            yield spool
        finally:
            spool.clear()
