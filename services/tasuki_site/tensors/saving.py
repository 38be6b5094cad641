"""The trainer's state into a weights container, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tasuki.errors import ManifestMismatch
from tasuki.trainer import State
from tasuki.weights.container import (
    Look,
    Manifest,
    TensorSpec,
    WrittenWeights,
    exempting,
    write_weights,
)
from tasuki_site.tensors.tensor import Tensor, tensors_of
from tasuki_site.tensors.tied import find_ties


def save_state(
    path: Path,
    state: State,
    *,
    like: Manifest | None = None,
    look: Look | None = None,
    exempt: Sequence[str] = (),
) -> WrittenWeights:
    """Write a trainer's state to `path`, in one pass and without copying it as a whole.

    Values are torch tensors on any device, NumPy arrays, Python numbers (as 0-d arrays), or lists
    of those (`lists`). Tensors that are one memory are stored once.

    Args:
        like: what the result must hold; its ties and its order decide. Tensors tied there may come
            back under one of their names or, as long as they are equal, under several; tensors
            separate there are stored apart even if they share memory here.
        look: sees every block of it, and refuses what may not be.
        exempt: names, or patterns of them, of tensors that `look` does not see.

    Raises:
        ManifestMismatch: other tensors than `like`, or tied ones that differ. Nothing was written.
        WeightsError: an entry that is no plain tensor, or two that overlap. Nothing was written.
        OSError: the disk; and whatever `look` raises.
    """
    tensors = tensors_of(state)
    order = list(tensors) if like is None else like.names
    tied = (
        find_ties(tensor.footprint for tensor in tensors.values())
        if like is None
        else retie(tensors, like)
    )
    own = [tensor for name, tensor in tensors.items() if name not in tied]
    manifest = Manifest(tensors=tuple(tensor.spec for tensor in own), tied=tied)
    if like is not None:
        _refuse_difference(like, manifest)
    if look is not None:
        look = exempting(look, manifest, exempt)
    contents = ((tensor.spec, tensor.pieces) for tensor in own)
    return write_weights(path, contents, tied=tied, order=order, look=look)


def retie(tensors: dict[str, Tensor], like: Manifest) -> dict[str, str]:
    """Tie what `like` ties. A target that came under its alias alone is added to `tensors`."""
    tied: dict[str, str] = {}
    for alias, target in like.tied.items():
        given = tensors.get(alias)
        if given is not None:
            kept = tensors.setdefault(target, replace(given, spec=_renamed(given.spec, target)))
            _refuse_unequal(kept, given)
        if target in tensors:
            tied[alias] = target
    return tied


def _renamed(spec: TensorSpec, name: str) -> TensorSpec:
    return replace(spec, name=name)


def _refuse_unequal(target: Tensor, alias: Tensor) -> None:
    same = replace(alias.footprint, name=target.spec.name).view == target.footprint.view
    if same or _are_equal(target, alias):
        return
    raise ManifestMismatch(
        f"tensors {target.spec.name!r} and {alias.spec.name!r} are tied in the received weights"
        " and differ now; keep them tied, or start the run with them separate"
    )


def _are_equal(one: Tensor, other: Tensor) -> bool:
    if (one.spec.dtype, one.spec.shape) != (other.spec.dtype, other.spec.shape):
        return False
    return all(a == b for a, b in zip(one.pieces(), other.pieces(), strict=True))


def _refuse_difference(wanted: Manifest, got: Manifest) -> None:
    difference = wanted.difference(got)
    if difference is not None:
        raise ManifestMismatch(f"the result does not match the received weights: {difference}")
