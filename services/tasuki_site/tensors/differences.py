"""What a trainer wants added to the weights that it received."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasuki.errors import ManifestMismatch
from tasuki.trainer import Framework, State
from tasuki.weights.container import CODES, DTYPES, Dtype, Manifest, renaming
from tasuki_site.tensors.lists import gather
from tasuki_site.tensors.loading import load_flat
from tasuki_site.tensors.plain import Array
from tasuki_site.tensors.saving import retie
from tasuki_site.tensors.tensor import Tensor, dtype_name, tensors_of


def apply_difference(
    base_path: Path, difference: State, *, framework: Framework | None = None
) -> dict[str, Array]:
    """The state in the container at `base_path` plus `difference`, tensor by tensor.

    Floats are added in the element type of the base; integers wrap, and take whole numbers of
    whatever type; of booleans the difference says which to flip. What the difference leaves out
    stays as it is.

    Args:
        framework: of the result. None, if that does not matter: torch if the trainer uses it,
            because it has every element type, else numpy. The bytes are the same.

    Raises:
        ManifestMismatch: a name or a shape that the base does not have, a type that cannot be
            added to its own, or tied tensors whose differences differ.
        BadWeights, WeightsError, OSError: as `load_state` and `save_state`.
    """
    framework = framework or ("torch" if sys.modules.get("torch") else "numpy")
    manifest, flat = load_flat(base_path, framework=framework)
    changes = tensors_of(difference)
    aliases = retie(changes, manifest)
    _refuse_unknown(changes, manifest)
    for name, change in changes.items():
        if name not in aliases:
            flat[name] = _sum(change, flat[name], framework)
    flat |= {alias: flat[target] for alias, target in manifest.tied.items()}
    return gather(flat)


def _refuse_unknown(changes: Mapping[str, Tensor], manifest: Manifest) -> None:
    known = manifest.specs()
    unknown = next((name for name in changes if name not in known), None)
    if unknown is not None:
        cause = renaming(known, changes)
        raise ManifestMismatch(
            f"the difference does not match the received weights: {cause}"
            if cause
            else f"the difference has a tensor {unknown!r}, the weights do not"
        )


def _sum(change: Tensor, base: Array, framework: Framework) -> Array:
    name, given = change.spec.name, DTYPES[change.spec.dtype]
    if tuple(base.shape) != change.spec.shape:
        raise ManifestMismatch(
            f"the difference of tensor {name!r} has shape {list(change.spec.shape)} instead of"
            f" {list(base.shape)}"
        )
    wanted = DTYPES[CODES[dtype_name(base)]]
    if not _may_be_added(given, to=wanted):
        raise ManifestMismatch(
            f"the difference of tensor {name!r} has dtype {given.code} instead of {wanted.code}"
        )
    if not wanted.is_floating:
        return _whole_sum(name, base, _in_framework(change.array, "numpy"))
    array = _in_framework(change.array, framework)
    return _numpy_sum(base, array) if framework == "numpy" else _torch_sum(base, array)


def _may_be_added(given: Dtype, *, to: Dtype) -> bool:
    if given == to:
        return True
    if given.name == "bool" or (given.is_complex and not to.is_complex):
        return False
    # Of floats, whole ones can be added to integers.
    return given.is_floating or not to.is_floating


def _in_framework(array: Array, framework: Framework) -> Array:
    if isinstance(array, np.ndarray) == (framework == "numpy"):
        return array if framework == "numpy" else array.cpu()
    wide = _widened(array)
    if framework == "numpy":
        return wide.cpu().numpy()
    import torch

    # A copy, because torch takes neither read-only nor reversed arrays.
    return torch.from_numpy(wide.astype(wide.dtype.newbyteorder("="), order="C"))


def _widened(array: Array) -> Array:
    """Floats that only one of the frameworks knows as float32, which holds every one of them."""
    if not dtype_name(array).startswith(("bfloat", "float8")):
        return array
    return array.astype(np.float32) if isinstance(array, np.ndarray) else array.float()


# --- floats. Of an infinity that stayed, what is new less what was received is NaN: it stays.


def _numpy_sum(base: Array, change: Array) -> Array:
    # Overflow is what the check of the result finds.
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.asarray(base + change.astype(base.dtype), dtype=base.dtype)
        if np.isfinite(total.sum()):  # in one pass, and nearly always
            return total
    return np.where(np.isnan(total) & np.isinf(base), base, total)


def _torch_sum(base: Array, change: Array) -> Array:
    import torch

    if base.itemsize == 1:
        # torch cannot add 8-bit floats; both fit into 32 bits, so this rounds once.
        return _torch_sum(base.float(), change.float()).to(base.dtype)
    total = base + change.to(base.dtype)
    if torch.isfinite(total.sum()):
        return total
    return torch.where(torch.isnan(total) & torch.isinf(base), base, total)


# --- whole numbers


def _whole_sum(name: str, base: Array, change: NDArray[Any]) -> Array:
    """In NumPy, which adds unsigned integers of every size; torch does not."""
    if not isinstance(base, np.ndarray):
        import torch

        return torch.from_numpy(_whole_sum(name, base.numpy(), change))
    if base.dtype == change.dtype:
        add = np.bitwise_xor if base.dtype == np.bool_ else np.add
        with np.errstate(over="ignore"):  # integers wrap
            return np.asarray(add(base, change), dtype=base.dtype)
    with np.errstate(over="ignore"):
        step = _whole(name, change)
        wide = np.asarray(base.astype(np.int64) + step)
    total = wide.astype(base.dtype)
    # Of 64 bits, a sum that does not fit is on the wrong side of where it began.
    is_ahead = np.array_equal(total >= base, step >= 0)
    if not (is_ahead and np.array_equal(total.astype(np.int64), wide)):
        raise ManifestMismatch(
            f"the difference of tensor {name!r} takes it out of what {base.dtype} holds"
        )
    return total


def _whole(name: str, change: NDArray[Any]) -> NDArray[np.int64]:
    if change.dtype.kind in "iu":
        return change.astype(np.int64)
    is_whole = (np.abs(change) < 2.0**63) & (change == np.rint(change))  # NaN is not
    if not is_whole.all():
        odd = change[~is_whole].flat[0]
        raise ManifestMismatch(
            f"the difference of tensor {name!r}, which holds integers, has {odd:g} in it; give"
            " whole numbers, or leave the tensor out to keep it as it was received"
        )
    return change.astype(np.int64)
