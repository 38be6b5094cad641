"""The header of a weights container: a manifest as compact JSON, and back.

Written byte for byte as the safetensors library writes it, and read with suspicion.
"""

from __future__ import annotations

import json
import re
from operator import itemgetter

from tasuki.errors import BadWeights
from tasuki.weights.container.manifest import (
    MAX_BYTES,
    MAX_HEADER_BYTES,
    MAX_TENSORS,
    METADATA,
    ORDER,
    TIED,
    Manifest,
    TensorSpec,
    check_manifest,
)
from tasuki.weights.container.names import quoted
from tasuki.weights.container.scan import Scanner

PREFIX_BYTES = 8
"""The header's length, little-endian, comes before it."""

_ALIGNMENT = 8
_MAX_METADATA = 4096  # of which ours are two; other tools leave a few
_NUMBERS = re.compile(r"\[[0-9]{1,6}+(?:,[0-9]{1,6}+)*+\]")

_Placed = tuple[int, int, TensorSpec]
"""Where a tensor's bytes begin and end, counted from the end of the header."""


def encode_header(manifest: Manifest) -> bytes:
    """Length, JSON and padding for these tensors, laid out one behind the other.

    Raises:
        BadWeights: the manifest is none, or has more names than a header may hold.
    """
    check_manifest(manifest)
    fields: dict[str, object] = {}
    if metadata := _metadata(manifest):
        fields[METADATA] = metadata
    at = 0
    for spec in manifest.tensors:
        span = [at, at + spec.size]
        fields[spec.name] = {"dtype": spec.dtype, "shape": spec.shape, "data_offsets": span}
        at += spec.size
    text = _compact(fields).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > MAX_HEADER_BYTES:
        raise BadWeights(f"the names of these tensors need more than {MAX_HEADER_BYTES} bytes")
    return len(text).to_bytes(PREFIX_BYTES, "little") + text


def _metadata(manifest: Manifest) -> dict[str, str]:
    fields = {}
    if manifest.tied:
        fields[TIED] = _compact(dict(manifest.tied))
    if manifest.order:
        # Numbers and not names, so that a header is hardly longer for it.
        stored = {name: number for number, name in enumerate(manifest.as_stored)}
        fields[ORDER] = _compact([stored[name] for name in manifest.order])
    return fields


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def decode_header(text: bytes, *, data_bytes: int) -> Manifest:
    """The manifest in a header (without its length) that so many bytes of tensors follow.

    Raises:
        BadWeights: whatever is wrong with it.
    """
    scanner = Scanner(text)
    placed: list[_Placed] = []
    metadata: dict[str, str] | None = None
    for name in scanner.keys():  # noqa: SIM118 - a method that reads on, not a dictionary's
        if name != METADATA:
            placed.append(_entry(name, scanner.flat_object()))
        elif metadata is None:
            metadata = scanner.strings(limit=_MAX_METADATA)
        else:
            raise BadWeights(f"the header has {METADATA} twice")
        if len(placed) > MAX_TENSORS:
            raise BadWeights(f"the header has more than the {MAX_TENSORS} tensors allowed")
    scanner.end()
    placed.sort(key=itemgetter(0, 1))
    metadata = metadata or {}
    tensors = tuple(spec for _, _, spec in placed)
    manifest = Manifest(tensors=tensors, tied=_tied(metadata.get(TIED, "{}")))
    check_manifest(manifest)
    _check_layout(placed, data_bytes)
    return manifest if ORDER not in metadata else _listed(manifest, metadata[ORDER])


def _listed(manifest: Manifest, text: str) -> Manifest:
    stored = manifest.as_stored
    # Looked at first, so that what it makes in memory is no more than the tensors themselves.
    is_list = len(text) <= 8 * len(stored) + 2 and _NUMBERS.fullmatch(text) is not None
    numbers = [int(number) for number in text[1:-1].split(",")] if is_list else []
    if not is_list or sorted(numbers) != list(range(len(stored))):
        raise BadWeights(f"the header's {ORDER} is not one of {len(stored)} tensors")
    return manifest.listed([stored[number] for number in numbers])


def _tied(text: str) -> dict[str, str]:
    try:
        raw = text.encode()
    except UnicodeEncodeError as exc:
        raise BadWeights(f"the header's ties are not valid Unicode: {exc}") from exc
    inner = Scanner(raw)
    tied = inner.strings(limit=MAX_TENSORS)
    inner.end()
    return tied


def _entry(name: str, pairs: list[tuple[str, object]]) -> _Placed:
    fields = dict(pairs)
    if len(pairs) != 3 or fields.keys() != {"dtype", "shape", "data_offsets"}:
        raise _bad_entry(name, "must have dtype, shape and data_offsets, once each")
    dtype = fields["dtype"]
    if not isinstance(dtype, str):
        raise _bad_entry(name, "has a dtype that is not a string")
    shape = _integers(fields["shape"])
    if shape is None:
        raise _bad_entry(name, "has a shape that is not a list of whole numbers below 2**63")
    span = _integers(fields["data_offsets"])
    if span is None or len(span) != 2:
        raise _bad_entry(name, "has data_offsets that are not two whole numbers below 2**63")
    return span[0], span[1], TensorSpec(name=name, dtype=dtype, shape=shape)


def _bad_entry(name: str, what: str) -> BadWeights:
    return BadWeights(f"the header's entry for tensor {quoted(name)} {what}")


def _integers(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    # Exactly int: a bool is an int to Python, and not to anybody else.
    if any(type(item) is not int or not 0 <= item <= MAX_BYTES for item in value):
        return None
    return tuple(value)


def _check_layout(placed: list[_Placed], data_bytes: int) -> None:
    """The tensors, in order of place, must fill the data without a gap or an overlap."""
    at = 0
    for begin, end, spec in placed:
        if begin != at:
            what = "overlaps with another" if begin < at else "leaves a hole before it"
            raise BadWeights(f"tensor {quoted(spec.name)} {what}")
        if end - begin != spec.size:
            raise BadWeights(
                f"tensor {quoted(spec.name)} should take {spec.size} bytes ({spec})"
                f" and has {end - begin}"
            )
        at = end
    if at > data_bytes:
        raise BadWeights(f"the file is cut off: {at - data_bytes} bytes of tensors are missing")
    if at < data_bytes:
        raise BadWeights(f"{data_bytes - at} bytes follow the last tensor and belong to none")
