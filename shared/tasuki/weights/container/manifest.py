"""What a weights container holds, without its bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import prod

from tasuki.errors import BadWeights
from tasuki.weights.container.dtypes import DTYPES
from tasuki.weights.container.names import quoted, renaming

METADATA = "__metadata__"
"""The one key of the header that is no tensor."""

TIED = "tied"
"""The key of the metadata under which aliases are kept."""

ORDER = "tasuki_order"
"""The key of the metadata that says in which order a trainer gets the tensors."""

# No model has as many; the caps keep what a hostile header costs below the 64 MiB of design.md P7.
MAX_HEADER_BYTES = 16 * 2**20
MAX_TENSORS = 100_000

_MAX_DIMENSIONS = 32  # what every NumPy that we support can represent
MAX_BYTES = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One tensor: its name, its element type (a key of `DTYPES`) and its shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of its elements."""
        return prod(self.shape) * DTYPES[self.dtype].size

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The tensors of a container in the order of its bytes, and further names for some of them.

    Attributes:
        tensors: those that have bytes of their own.
        tied: alias to the name of the tensor whose bytes it shares.
        order: every name in the order in which a trainer gets them; empty if it is `as_stored`.
    """

    tensors: tuple[TensorSpec, ...]
    tied: Mapping[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all tensors, without the header."""
        return sum(spec.size for spec in self.tensors)

    def specs(self) -> dict[str, TensorSpec]:
        """Every name, aliases too, with what it stands for."""
        specs = {spec.name: spec for spec in self.tensors}
        return specs | {alias: specs[target] for alias, target in self.tied.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, aliases too, in the order in which a trainer gets them."""
        return self.order or self.as_stored

    def listed(self, names: Sequence[str]) -> Manifest:
        """The same, for a trainer to get in the order of these names, which are all of them."""
        order = tuple(names)
        return replace(self, order=() if order == self.as_stored else order)

    @property
    def as_stored(self) -> tuple[str, ...]:
        """Every name in the order of the bytes, the aliases behind them."""
        return (*(spec.name for spec in self.tensors), *self.tied)

    def difference(self, other: Manifest) -> str | None:
        """Where `other` departs from this one, for an operator to read; None if nowhere.

        The order of the tensors is no difference: a run keeps that of its first weights.
        """
        ours, theirs = self.specs(), other.specs()
        if (renamed := renaming(ours, theirs)) is not None:
            return renamed
        found = _departures(self, other)
        first = next(found, None)
        if first is None:
            return None
        more = sum(1 for _ in found)
        return first if not more else f"{first} (and {more} more differences)"


def _departures(wanted: Manifest, got: Manifest) -> Iterator[str]:
    ours, theirs = wanted.specs(), got.specs()
    yield from (f"tensor {quoted(name)} is missing" for name in ours if name not in theirs)
    yield from (
        f"tensor {quoted(name)} does not belong here" for name in theirs if name not in ours
    )
    for name, spec in ours.items():
        if name in theirs:
            yield from _spec_departures(name, spec, theirs[name])
    yield from _tie_departures(wanted.tied, got.tied, ours.keys() & theirs.keys())


def _spec_departures(name: str, wanted: TensorSpec, got: TensorSpec) -> Iterator[str]:
    if wanted.shape != got.shape:
        yield f"tensor {quoted(name)} has shape {list(got.shape)} instead of {list(wanted.shape)}"
    if wanted.dtype != got.dtype:
        yield f"tensor {quoted(name)} has dtype {got.dtype} instead of {wanted.dtype}"


def _tie_departures(
    wanted: Mapping[str, str], got: Mapping[str, str], names: set[str]
) -> Iterator[str]:
    for alias in sorted(names & (wanted.keys() | got.keys())):
        target, other = wanted.get(alias), got.get(alias)
        if target != other:
            yield f"tensor {quoted(alias)} is {_tie(other)} instead of {_tie(target)}"


def _tie(target: str | None) -> str:
    return "separate" if target is None else f"tied to {quoted(target)}"


def check_manifest(manifest: Manifest) -> None:
    """Refuse what no container may declare; the same rules on writing and on reading.

    Raises:
        BadWeights: a type or shape that cannot be, a name used twice, or a tie to nothing.
    """
    if len(manifest.tensors) > MAX_TENSORS:
        raise BadWeights(f"{len(manifest.tensors)} tensors are more than the {MAX_TENSORS} allowed")
    for spec in manifest.tensors:
        _check_spec(spec)
    names = [spec.name for spec in manifest.tensors]
    _check_names(names, manifest.tied)
    _check_ties(set(names), manifest.tied)
    _check_order(manifest)


def _check_spec(spec: TensorSpec) -> None:
    if spec.dtype not in DTYPES:
        raise BadWeights(
            f"tensor {quoted(spec.name)} has the dtype {spec.dtype[:40]!r}, which is not one of "
            + ", ".join(DTYPES)
        )
    if len(spec.shape) > _MAX_DIMENSIONS:
        raise BadWeights(f"tensor {quoted(spec.name)} has more than {_MAX_DIMENSIONS} dimensions")
    if any(length < 0 for length in spec.shape):
        raise BadWeights(f"tensor {quoted(spec.name)} has a negative length in its shape")
    # Zeros count as one: libraries compute strides even for a tensor that is empty.
    if prod(max(length, 1) for length in spec.shape) * DTYPES[spec.dtype].size > MAX_BYTES:
        raise BadWeights(f"tensor {quoted(spec.name)} has a shape too large for any memory")


def _check_names(names: Sequence[str], tied: Mapping[str, str]) -> None:
    seen: set[str] = set()
    for name in chain(names, tied):
        if name == METADATA:
            raise BadWeights(f"no tensor may be named {METADATA}: the format needs that name")
        if name in seen:
            raise BadWeights(f"the name {quoted(name)} stands for two tensors")
        if not _is_unicode(name):
            raise BadWeights(f"the name {quoted(name)} is not valid Unicode")
        seen.add(name)


def _is_unicode(name: str) -> bool:
    # Python strings, and JSON escapes, may hold half of a surrogate pair. UTF-8 cannot.
    return name.isascii() or not any("\ud800" <= char <= "\udfff" for char in name)


def _check_ties(names: set[str], tied: Mapping[str, str]) -> None:
    for alias, target in tied.items():
        if target in tied:
            raise BadWeights(
                f"{quoted(alias)} is tied to {quoted(target)}, which is itself an alias"
            )
        if target not in names:
            raise BadWeights(
                f"{quoted(alias)} is tied to {quoted(target)}, and there is no such tensor"
            )


def _check_order(manifest: Manifest) -> None:
    names = {spec.name for spec in manifest.tensors} | manifest.tied.keys()
    if manifest.order and (len(manifest.order) != len(names) or names != set(manifest.order)):
        raise BadWeights("the order does not list every tensor once")
