"""The trainer's tensors into a weights container, and out of it.

The only module that imports torch, and only in functions that a torch trainer calls: a site whose
trainer works with NumPy needs no torch, and can give and get bytes the same way.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tasuki.errors import ManifestMismatch, WeightsError
from tasuki.trainer import Framework, State
from tasuki.wire.weights import (
    BLOCK_BYTES,
    CODES,
    DTYPES,
    Manifest,
    TensorSpec,
    WrittenWeights,
    open_weights,
    write_weights,
)
from tasuki_site.array_lists import flatten, gather
from tasuki_site.ties import Footprint, find_ties

Array: TypeAlias = Any
"""A torch.Tensor or a numpy.ndarray. Any, because torch need not be installed."""

# How much is copied at a time of a tensor that cannot be written from where it lies. PyTorch takes
# several times as much for itself while it reorders one: 8 MiB at this size, 39 at four times it.
_PIECE_BYTES = BLOCK_BYTES


def save_state(
    path: Path, state: State, *, like: Manifest | None = None, check_finite: bool = True
) -> WrittenWeights:
    """Write a trainer's state to `path`, in one pass and without copying it as a whole.

    Values are torch tensors on any device, NumPy arrays, Python numbers (as 0-d arrays), or lists
    of those (`array_lists`). Tensors that are one memory are stored once.

    Args:
        like: what the result must hold; its ties decide. Tensors tied there may come back under
            one of their names or, as long as they are equal, under several; tensors separate
            there are stored apart even if they share memory here.
        check_finite: refuse NaN and Inf.

    Raises:
        ManifestMismatch: other tensors than `like`, or tied ones that differ. Nothing was written.
        NonFiniteWeights: names the first tensor that holds NaN or Inf.
        WeightsError: an entry that is no tensor, or two that overlap. Nothing was written.
        OSError: the disk.
    """
    tensors = _tensors(state)
    tied = _find_ties(tensors) if like is None else _retie(tensors, like)
    own = [tensor for name, tensor in tensors.items() if name not in tied]
    if like is not None:
        _refuse_difference(like, Manifest(tensors=tuple(t.spec for t in own), tied=tied))
    contents = ((tensor.spec, tensor.pieces) for tensor in own)
    return write_weights(path, contents, tied=tied, check_finite=check_finite)


def load_state(path: Path, *, framework: Framework) -> dict[str, Array]:
    """The state in a container: name -> tensor or array on the CPU, or list of them.

    They are the caller's own. Their memory is the file's, copied page by page as it is written to,
    so that what is only read costs nothing; the file may be removed. Tied tensors are one object.

    Raises:
        BadWeights: the file is no well-formed container.
        WeightsError: the framework has no such element type.
        OSError: it cannot be opened.
    """
    return gather(_load(path, framework=framework)[1])


def apply_difference(
    base_path: Path, difference: State, *, framework: Framework | None = None
) -> dict[str, Array]:
    """The state in the container at `base_path` plus `difference`, tensor by tensor.

    Floats are added in the element type of the base, integers wrap, of booleans the difference
    says which to flip. What the difference leaves out stays as it is.

    Args:
        framework: of the result. None, if that does not matter: torch if the trainer uses it,
            because it has every element type, else numpy. The bytes are the same.

    Raises:
        ManifestMismatch: a name, a shape or an element type that the base does not have, or tied
            tensors whose differences differ.
        BadWeights, WeightsError, OSError: as `load_state` and `save_state`.
    """
    framework = framework or ("torch" if sys.modules.get("torch") else "numpy")
    manifest, flat = _load(base_path, framework=framework)
    changes = _tensors(difference)
    aliases = _retie(changes, manifest)
    for name, change in changes.items():
        if name not in flat:
            raise ManifestMismatch(f"the difference has a tensor {name!r}, the weights do not")
        if name not in aliases:
            flat[name] = _sum(name, flat[name], _in_framework(change.array, framework))
    flat |= {alias: flat[target] for alias, target in manifest.tied.items()}
    return gather(flat)


def best_device() -> str:
    """Where torch trains fastest here: "cuda", "mps" or "cpu"; "cpu" if there is no torch."""
    if not _has_torch():
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def seed_torch(seed: int) -> None:
    """Seed torch's generators on every device, if there is torch: a trainer may import it late."""
    if _has_torch():
        import torch

        torch.manual_seed(seed)


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


# --- arrays of either kind


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    """An array of the state with what the container says about it."""

    spec: TensorSpec
    array: Array
    footprint: Footprint

    def pieces(self) -> Iterator[memoryview]:
        """Its bytes in row-major order. The pieces depend on type and shape alone."""
        return (memoryview(_bytes(part)) for part in _parts(self.array))


def _tensors(state: State) -> dict[str, _Tensor]:
    return {name: _tensor(name, value) for name, value in flatten(state).items()}


def _tensor(name: str, value: object) -> _Tensor:
    """A value with its spec.

    Raises:
        WeightsError: it is nothing that a container can hold.
    """
    array = _torch_array(name, value) if _is_torch(value) else _numpy_array(name, value)
    dtype = CODES.get(_dtype_name(array))
    if dtype is None:
        raise WeightsError(f"tensor {name!r} has the element type {array.dtype}; convert it")
    spec = TensorSpec(name=name, dtype=dtype, shape=tuple(array.shape))
    return _Tensor(spec=spec, array=array, footprint=_footprint(spec, array))


def _is_torch(value: object) -> bool:
    # Nobody has a tensor without having imported torch.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _torch_array(name: str, value: Any) -> Array:  # Any: a tensor, of torch or a library on it
    if str(value.layout) != "torch.strided" or value.is_meta:
        kind = "meta" if value.is_meta else str(value.layout)
        raise WeightsError(f"tensor {name!r} is a {kind} tensor; make it a dense one")
    # Lazily conjugated or negated views share memory with something else than what they show.
    return value.detach().resolve_conj().resolve_neg()


def _numpy_array(name: str, value: object) -> Array:
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.generic | bool | int | float):
        return np.asarray(value)
    raise WeightsError(
        f"{name!r} is a {type(value).__name__}, not a tensor or an array; leave it out of the state"
        " or convert it"
    )


def _dtype_name(array: Array) -> str:
    return array.dtype.name if isinstance(array, np.ndarray) else str(array.dtype)[len("torch.") :]


def _footprint(spec: TensorSpec, array: Array) -> Footprint:
    itemsize = DTYPES[spec.dtype].size
    place = partial(
        Footprint, name=spec.name, dtype=spec.dtype, itemsize=itemsize, shape=spec.shape
    )
    if isinstance(array, np.ndarray):
        return place(memory="cpu", address=array.ctypes.data, strides=array.strides)
    strides = tuple(step * itemsize for step in array.stride())
    if array.device.type == "cpu":
        return place(memory="cpu", address=array.data_ptr(), strides=strides)
    # Not every device's pointers can be compared; what two tensors share is a storage, always.
    memory = (str(array.device), array.untyped_storage().data_ptr())
    return place(memory=memory, address=array.storage_offset() * itemsize, strides=strides)


def _parts(array: Array) -> Iterator[Array]:
    """Slices of at most `_PIECE_BYTES`, in row-major order."""
    if array.nbytes <= _PIECE_BYTES:
        yield array
        return
    row_bytes = array.nbytes // len(array)
    if row_bytes > _PIECE_BYTES:
        for row in array:
            yield from _parts(row)
        return
    rows = _PIECE_BYTES // row_bytes
    yield from (array[at : at + rows] for at in range(0, len(array), rows))


def _bytes(array: Array) -> Array:
    """The bytes of a small array, little-endian: its own memory where it lies right."""
    if isinstance(array, np.ndarray):
        little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        return little.reshape(-1).view(np.uint8)
    import torch

    dense = array.cpu().contiguous()
    # Not reshape: of a single element it keeps a stride, and that view() does not accept.
    return dense.as_strided((dense.numel(),), (1,)).view(torch.uint8).numpy()


# --- ties


def _find_ties(tensors: Mapping[str, _Tensor]) -> dict[str, str]:
    return find_ties(tensor.footprint for tensor in tensors.values())


def _retie(tensors: dict[str, _Tensor], like: Manifest) -> dict[str, str]:
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


def _refuse_unequal(target: _Tensor, alias: _Tensor) -> None:
    same = replace(alias.footprint, name=target.spec.name).view == target.footprint.view
    if same or _are_equal(target, alias):
        return
    raise ManifestMismatch(
        f"tensors {target.spec.name!r} and {alias.spec.name!r} are tied in the received weights"
        " and differ now; keep them tied, or start the run with them separate"
    )


def _are_equal(one: _Tensor, other: _Tensor) -> bool:
    if (one.spec.dtype, one.spec.shape) != (other.spec.dtype, other.spec.shape):
        return False
    return all(a == b for a, b in zip(one.pieces(), other.pieces(), strict=True))


def _refuse_difference(wanted: Manifest, got: Manifest) -> None:
    difference = wanted.difference(got)
    if difference is not None:
        raise ManifestMismatch(f"the result does not match the received weights: {difference}")


# --- loading


def _load(path: Path, *, framework: Framework) -> tuple[Manifest, dict[str, Array]]:
    make = _torch_tensor if framework == "torch" else _array_over
    with open_weights(path, private=True) as file:
        tied = file.manifest.tied
        flat: dict[str, Array] = {}
        for spec, view in file.tensors():
            flat[spec.name] = flat[tied[spec.name]] if spec.name in tied else make(spec, view)
    return file.manifest, flat


def _torch_tensor(spec: TensorSpec, view: memoryview) -> Array:
    import torch

    name = DTYPES[spec.dtype].name
    dtype = getattr(torch, name, None)
    if dtype is None:
        raise WeightsError(f"tensor {spec.name!r}: this PyTorch has no {name}; upgrade it")
    if not view:
        return torch.empty(spec.shape, dtype=dtype)
    return torch.frombuffer(_aligned(spec, view), dtype=dtype).reshape(spec.shape)


def _array_over(spec: TensorSpec, view: memoryview) -> Array:
    dtype = _numpy_dtype(spec).newbyteorder("<")
    return np.frombuffer(_aligned(spec, view), dtype=dtype).reshape(spec.shape)


def _numpy_dtype(spec: TensorSpec) -> np.dtype[Any]:  # Any: of whatever element type
    name = DTYPES[spec.dtype].name
    try:
        return np.dtype(name)
    except TypeError:
        extension = _ml_dtypes(spec)
    found: np.dtype[Any] = np.dtype(getattr(extension, name))  # Any: as above
    return found


def _ml_dtypes(spec: TensorSpec) -> object:
    try:
        return importlib.import_module("ml_dtypes")
    except ImportError as exc:
        raise WeightsError(
            f"tensor {spec.name!r} is {spec.dtype}, which NumPy does not have; take the weights as"
            ' torch tensors (framework="torch"), or install ml_dtypes'
        ) from exc


def _aligned(spec: TensorSpec, view: memoryview) -> memoryview:
    """The view, or a copy if its file was written by somebody who did not align tensors."""
    address = np.frombuffer(view, dtype=np.uint8).ctypes.data
    return view if address % DTYPES[spec.dtype].size == 0 else memoryview(bytearray(view))


# --- differences


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
    if not _dtype_name(array).startswith(("bfloat", "float8")):
        return array
    return array.astype(np.float32) if isinstance(array, np.ndarray) else array.float()


def _sum(name: str, base: Array, change: Array) -> Array:
    if base.shape != change.shape:
        raise ManifestMismatch(
            f"the difference of tensor {name!r} has shape {list(change.shape)} instead of"
            f" {list(base.shape)}"
        )
    kinds = [DTYPES[CODES[_dtype_name(array)]] for array in (base, change)]
    if kinds[0] != kinds[1] and not all(kind.is_floating for kind in kinds):
        raise ManifestMismatch(
            f"the difference of tensor {name!r} has dtype {kinds[1].code} instead of"
            f" {kinds[0].code}"
        )
    if isinstance(base, np.ndarray):
        return _numpy_sum(base, change)
    return _torch_sum(base, change) if kinds[0].is_floating else _torch_whole_sum(base, change)


def _numpy_sum(base: Array, change: Array) -> Array:
    add = np.bitwise_xor if base.dtype == np.bool_ else np.add
    # Overflow is what the check for finite weights finds, and wrapping is what integers do.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(add(base, change.astype(base.dtype)), dtype=base.dtype)


def _torch_sum(base: Array, change: Array) -> Array:
    if base.itemsize > 1:
        return base + change.to(base.dtype)
    # torch cannot add 8-bit floats; both fit into 32 bits, so this rounds once.
    return (base.float() + change.float()).to(base.dtype)


def _torch_whole_sum(base: Array, change: Array) -> Array:
    import torch

    # torch cannot add unsigned integers of more than 8 bits; NumPy can.
    return torch.from_numpy(_numpy_sum(base.numpy(), change.numpy()))
