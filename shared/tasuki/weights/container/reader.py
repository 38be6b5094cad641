"""Reads weights containers that anybody may have written.

Everything is checked before anything is used. Whatever is wrong with a file is BadWeights.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Self

from tasuki.errors import BadWeights, DigestMismatch
from tasuki.weights.container.header import PREFIX_BYTES, decode_header
from tasuki.weights.container.manifest import MAX_HEADER_BYTES, Manifest, TensorSpec
from tasuki.weights.digest import digest_of, opened, parse_digest

# A zip, or a pickle of the protocols 2 to 5.
_PYTORCH = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def read_manifest(path: Path) -> Manifest:
    """What the container at `path` holds, once its header and its size are known to agree.

    Raises:
        BadWeights: it is no well-formed container; the message says why.
        OSError: it cannot be opened.
    """
    with opened(path) as file:
        return read_header(file, path)[0]


def open_weights(path: Path, *, expect: str | None = None, private: bool = False) -> WeightsFile:
    """Map the container at `path`, to use its tensors without copying them.

    Args:
        expect: the digest that its bytes must have; None if it was checked when they arrived.
        private: let the tensors be written to. What is written stays in this process's memory,
            page by page; the file keeps its bytes.

    Raises:
        DigestMismatch: they have another.
        BadWeights: it is no well-formed container; the message says why.
        WeightsError: `expect` is no digest.
        OSError: it cannot be opened.
    """
    wanted = None if expect is None else parse_digest(expect)
    access = mmap.ACCESS_COPY if private else mmap.ACCESS_READ
    with opened(path) as file:
        if wanted is not None and digest_of(file) != wanted:
            raise DigestMismatch(f"{path} does not have the digest {wanted}; nothing was used")
        manifest, data_at = read_header(file, path)
        mapped = mmap.mmap(file.fileno(), data_at + manifest.size, access=access)
    return WeightsFile(manifest=manifest, mapped=mapped, data_at=data_at)


class WeightsFile:
    """An open container. Views of its tensors stay good after it is closed, or its file removed."""

    __slots__ = ("_data_at", "_mapped", "manifest")

    def __init__(self, *, manifest: Manifest, mapped: mmap.mmap, data_at: int) -> None:
        self.manifest = manifest
        self._mapped = mapped
        self._data_at = data_at

    def tensors(self) -> Iterator[tuple[TensorSpec, memoryview]]:
        """Every tensor with its bytes where they lie in the file; then the aliases likewise.

        An alias comes with the spec of its target, under its own name.
        """
        views = dict(self._views())
        yield from views.values()
        for alias, target in self.manifest.tied.items():
            spec, view = views[target]
            yield replace(spec, name=alias), view

    def _views(self) -> Iterator[tuple[str, tuple[TensorSpec, memoryview]]]:
        at = self._data_at
        whole = memoryview(self._mapped)
        for spec in self.manifest.tensors:
            end = at + spec.size
            yield spec.name, (spec, whole[at:end])
            at = end

    def close(self) -> None:
        """Let go of the file. The map goes when the last view of it does."""
        with suppress(BufferError):
            self._mapped.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_header(file: FileIO, path: Path) -> tuple[Manifest, int]:
    """The manifest, and where the bytes of the tensors begin."""
    size = os.fstat(file.fileno()).st_size
    try:
        text = _header_text(file, size)
        data_at = PREFIX_BYTES + len(text)
        return decode_header(text, data_bytes=size - data_at), data_at
    except BadWeights as exc:
        raise BadWeights(f"{path}: {_foreign_format(file) or exc}") from exc


def _header_text(file: FileIO, size: int) -> bytes:
    prefix = _read_at(file, 0, PREFIX_BYTES)
    if len(prefix) < PREFIX_BYTES:
        raise BadWeights(f"the file is cut off: it has only {len(prefix)} bytes")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        raise BadWeights(
            f"the header claims {length} bytes, more than the {MAX_HEADER_BYTES} allowed:"
            " this is no safetensors file, or a damaged one"
        )
    if length > size - PREFIX_BYTES:
        raise BadWeights(f"the file is cut off within its header of {length} bytes")
    text = _read_at(file, PREFIX_BYTES, length)
    if len(text) < length:
        raise BadWeights("the file became shorter while it was read")
    return text


def _read_at(file: FileIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)


def _foreign_format(file: FileIO) -> str | None:
    """What to do about a file that never was a safetensors file; None if nothing is known."""
    start = _read_at(file, 0, PREFIX_BYTES + 1)
    if start.endswith(b"{") or not start.startswith(_PYTORCH):
        return None
    return (
        "this looks like a PyTorch checkpoint (zip or pickle), which could run code when it is"
        " loaded; convert it where you trust it: safetensors.torch.save_file(torch.load(FILE,"
        ' weights_only=True), "model.safetensors")'
    )
