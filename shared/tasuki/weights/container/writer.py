"""Writes a weights container in one pass: digest and checks see each block as it goes by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, Union

from tasuki.weights.container.dtypes import DTYPES
from tasuki.weights.container.header import encode_header
from tasuki.weights.container.manifest import Manifest, TensorSpec, check_manifest
from tasuki.weights.digest import Hasher

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Measured: from 256 KiB to 4 MiB equally fast; a block that stays in the cache between the three
# who look at it beats one that does not. A multiple of every element size.
BLOCK_BYTES = 2**20

Contents: TypeAlias = Union["Buffer", "Callable[[], Iterable[Buffer]]"]
"""A tensor's bytes, little-endian and in row-major order.

Either its own memory, or something to call when its turn comes that yields them piece by piece,
each of whole elements: for tensors on a GPU, or not contiguous, that must be copied to be written.
"""


Look: TypeAlias = Callable[[TensorSpec, int, memoryview], None]
"""Is shown each block of each tensor, with where in the tensor it begins; may raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenWeights:
    """A container as it was written: its digest, its size in bytes and what it holds."""

    digest: str
    size: int
    manifest: Manifest


def write_weights(
    path: Path,
    tensors: Iterable[tuple[TensorSpec, Contents]],
    *,
    tied: Mapping[str, str] | None = None,
    order: Sequence[str] = (),
    look: Look | None = None,
) -> WrittenWeights:
    """Write these tensors to `path`, byte for byte as the safetensors library would.

    Nothing is copied as a whole, whatever its size; nothing is synced. A file that was there is
    replaced by a new one. On an error the file is left as it is, incomplete: write to a temporary
    name.

    Args:
        tied: alias to the name of the tensor it shares its bytes with.
        order: every name, aliases too, in the order in which a trainer is to get them.
        look: sees what is written.

    Raises:
        BadWeights: the tensors are none that a container may hold. Nothing was written.
        OSError: the disk; and whatever `look` raises.
    """
    ordered = _in_order(tensors)
    manifest = Manifest(
        tensors=tuple(spec for spec, _ in ordered), tied=dict(sorted((tied or {}).items()))
    )
    manifest = manifest.listed(order) if order else manifest
    header = encode_header(manifest)
    # A new file, never the old one cut to nothing: the tensors may be views of a map of that.
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        sink = _Sink(file=file, hasher=Hasher())
        sink.add(header)
        for spec, contents in ordered:
            _write_tensor(sink, spec, contents, look=look)
    return WrittenWeights(digest=sink.hasher.digest(), size=sink.size, manifest=manifest)


def _in_order(
    tensors: Iterable[tuple[TensorSpec, Contents]],
) -> list[tuple[TensorSpec, Contents]]:
    given = list(tensors)
    check_manifest(Manifest(tensors=tuple(spec for spec, _ in given)))
    given.sort(key=lambda tensor: (-DTYPES[tensor[0].dtype].rank, tensor[0].name))
    return given


@dataclass(slots=True)
class _Sink:
    file: BinaryIO
    hasher: Hasher
    size: int = 0

    def add(self, block: Buffer) -> None:
        self.hasher.update(block)
        # A buffered file, but no copy: it hands whole blocks through and finishes short writes.
        self.size += self.file.write(block)


def _write_tensor(sink: _Sink, spec: TensorSpec, contents: Contents, *, look: Look | None) -> None:
    begin = sink.size
    for block in _blocks(contents):
        if look is not None:
            look(spec, sink.size - begin, block)
        sink.add(block)
    if sink.size - begin != spec.size:
        raise ValueError(
            f"{spec.name!r} should have {spec.size} bytes ({spec}), not {sink.size - begin}"
        )


def _blocks(contents: Contents) -> Iterator[memoryview]:
    pieces = contents() if callable(contents) else (contents,)
    for piece in pieces:
        view = memoryview(piece)
        # A view of no elements cannot be cast, and has nothing to write either.
        if view.nbytes:
            view = view.cast("B")
            yield from (view[at : at + BLOCK_BYTES] for at in range(0, len(view), BLOCK_BYTES))
