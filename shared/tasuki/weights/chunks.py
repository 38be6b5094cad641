"""Weights on the way: a file cut into chunks, and chunks put together in a spool file.

A chunk is a fixed header and raw bytes, or sealed ones; the first of a sealed transfer brings what
unseals them. Its transfer's name is a function of the turn and of the
weights, so a transfer that is sent again after a crash continues the one before.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, overload

import blake3

from tasuki.core.model import TurnId, WeightsRef
from tasuki.errors import MessageError
from tasuki.ports import Buffer, Delivery, Frames
from tasuki.trust.sealing import TAG_BYTES, Cipher

CHUNK_BYTES = 1 * 2**20
MAX_CHUNK_BYTES = 4 * 2**20
MAX_WEIGHTS_BYTES = 2**40
MAX_SEAL_BYTES = 16 * 2**10
KEEP_MAPPED_BYTES = 8 * 2**20

_PLAIN, _SEALED = b"TSK1", b"TSK2"
_HEADER = struct.Struct(">4s16sQQI8s32s")
_LENGTH = struct.Struct(">I")
HEADER_BYTES = _HEADER.size
_ALGORITHMS = {b"blake3\0\0": "blake3"}
_CODES = {name: code for code, name in _ALGORITHMS.items()}


def transfer_id(id: TurnId, weights: WeightsRef) -> bytes:
    """16 bytes that name the sending of these weights for this turn."""
    label = f"{id.run}\0{id.lane}\0{id.term}\0{id.round}\0{id.hop}\0{weights.digest}"
    return blake3.blake3(label.encode()).digest(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A part of a transfer: `data` belongs at byte `at` of the whole."""

    transfer: bytes
    weights: WeightsRef
    at: int
    data: Buffer

    @property
    def is_last(self) -> bool:
        return self.at + len(self.data) == self.weights.size


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedChunk:
    """A part of a transfer that still has to be unsealed.

    Attributes:
        data: its bytes, sealed, with their tag behind them.
        seal: what unseals all of its transfer; only the first piece has it.
    """

    transfer: bytes
    weights: WeightsRef
    at: int
    data: Buffer
    seal: Buffer = b""

    @property
    def length(self) -> int:
        """How many bytes of weights are in it."""
        return len(self.data) - TAG_BYTES

    @property
    def is_last(self) -> bool:
        return self.at + self.length == self.weights.size

    def with_data(self, data: Buffer) -> Chunk:
        """What it is, unsealed."""
        return Chunk(transfer=self.transfer, weights=self.weights, at=self.at, data=data)


def decode_chunk(body: Buffer) -> Chunk | SealedChunk:
    """The chunk in these bytes; `data` is a view of them.

    Raises:
        MessageError: whatever is wrong with it.
    """
    view = memoryview(body)
    if len(view) < _HEADER.size:
        raise MessageError("a chunk shorter than its header", reason="bad_chunk")
    magic, transfer, size, at, length, code, digest = _HEADER.unpack_from(view)
    data = view[_HEADER.size :]
    if magic not in {_PLAIN, _SEALED} or code not in _ALGORITHMS:
        raise MessageError("not a chunk of a version or digest known here", reason="bad_chunk")
    if not 0 < size <= MAX_WEIGHTS_BYTES or not 0 < length <= MAX_CHUNK_BYTES:
        raise MessageError("a chunk of impossible size", reason="bad_chunk")
    weights = WeightsRef(digest=f"{_ALGORITHMS[code]}:{digest.hex()}", size=size)
    seal, tag_bytes = memoryview(b""), 0
    if magic == _SEALED:
        seal, data = _without_seal(data) if at == 0 else (seal, data)
        tag_bytes = TAG_BYTES
    if length + tag_bytes != len(data) or at + length > size:
        raise MessageError("a chunk that does not fit into its transfer", reason="bad_chunk")
    if magic == _SEALED:
        return SealedChunk(transfer=transfer, weights=weights, at=at, data=data, seal=seal)
    return Chunk(transfer=transfer, weights=weights, at=at, data=data)


def _without_seal(data: memoryview) -> tuple[memoryview, memoryview]:
    """The seal that the first piece of a transfer begins with, and the rest."""
    length = _LENGTH.unpack_from(data)[0] if len(data) >= _LENGTH.size else 0
    end = _LENGTH.size + length
    if not 0 < length <= MAX_SEAL_BYTES or end > len(data):
        raise MessageError("a sealed transfer that begins without its seal", reason="bad_chunk")
    return data[_LENGTH.size : end], data[end:]


def check_known(delivery: Delivery) -> None:
    """Nobody takes in weights from somebody whom the broker does not vouch for.

    Raises:
        MessageError: they are without a sender.
    """
    if not delivery.sender:
        raise MessageError("a chunk from nobody", reason="wrong_sender")


class ChunkedFile(Sequence[Frames]):
    """A weights file as the message bodies of its transfer, each made when asked for.

    The file is mapped, so that neither its size nor a second sending costs memory. A chunk that is
    asked for again is the same bytes, sealed or not.

    Args:
        sealed: the seal that the first chunk brings, and what seals them all; None: they are not.
        halfway: called when a chunk in the middle is asked for, by whoever asks.
    """

    def __init__(
        self,
        path: Path,
        *,
        transfer: bytes,
        weights: WeightsRef,
        chunk_bytes: int = CHUNK_BYTES,
        sealed: tuple[bytes, Cipher] | None = None,
        halfway: Callable[[], None] = lambda: None,
    ) -> None:
        self._transfer, self._weights, self._step = transfer, weights, chunk_bytes
        self._halfway, self._sealed = halfway, sealed
        algorithm, _, digest = weights.digest.partition(":")
        self._code, self._digest = _CODES[algorithm], bytes.fromhex(digest)
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._map)
        self._let_go = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._view.release()
        try:
            self._map.close()
        except BufferError:
            # A transport that was interrupted may still hold a view; the map goes with it.
            return

    def __len__(self) -> int:
        return -(-len(self._map) // self._step)

    @overload
    def __getitem__(self, index: int) -> Frames: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Frames]: ...
    def __getitem__(self, index: int | slice) -> Frames | Sequence[Frames]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index and index == len(self) // 2:
            self._halfway()
        at = index * self._step
        self._let_go_before(at - KEEP_MAPPED_BYTES)
        data = self._view[at : at + self._step]
        if self._sealed is None:
            return self._header(_PLAIN, at, data), data
        seal, cipher = self._sealed
        piece = cipher.seal(data, at=at, is_last=at + len(data) == self._weights.size)
        before = b"" if at else _LENGTH.pack(len(seal)) + seal
        return self._header(_SEALED, at, data) + before, piece

    def _header(self, magic: bytes, at: int, data: memoryview) -> bytes:
        return _HEADER.pack(
            magic, self._transfer, self._weights.size, at, len(data), self._code, self._digest
        )

    def _let_go_before(self, at: int) -> None:
        """Pages that were sent count as this process's memory until they are given back.

        They stay in the system's cache: asking for one again, after a reconnect, reads it anew.
        """
        if at - self._let_go > KEEP_MAPPED_BYTES:
            end = at - at % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, self._let_go, end - self._let_go)
            self._let_go = end
        elif at < self._let_go:
            self._let_go = max(0, at - at % mmap.PAGESIZE)
