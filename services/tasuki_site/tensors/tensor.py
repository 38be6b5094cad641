"""One tensor of a trainer's state: what the container says of it, where it lies, and its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from tasuki.errors import WeightsError
from tasuki.trainer import State
from tasuki.weights.container import BLOCK_BYTES, CODES, DTYPES, TensorSpec
from tasuki_site.tensors.lists import flatten
from tasuki_site.tensors.plain import Array, plain_array
from tasuki_site.tensors.tied import Footprint

# How much is copied at a time of a tensor that cannot be written from where it lies. PyTorch takes
# several times as much for itself while it reorders one: 8 MiB at this size, 39 at four times it.
_PIECE_BYTES = BLOCK_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An array of the state with what the container says about it."""

    spec: TensorSpec
    array: Array
    footprint: Footprint

    def pieces(self) -> Iterator[memoryview]:
        """Its bytes in row-major order. The pieces depend on type and shape alone."""
        return (memoryview(_bytes(part)) for part in _parts(self.array))


def tensors_of(state: State) -> dict[str, Tensor]:
    """Every tensor of the state under the name that it has in a container, in their order.

    Raises:
        WeightsError: the state is none, or holds what no container can; names it.
    """
    return {name: _tensor(name, value) for name, value in flatten(state).items()}


def _tensor(name: str, value: object) -> Tensor:
    array = plain_array(name, value)
    dtype = CODES.get(dtype_name(array))
    if dtype is None:
        raise WeightsError(f"tensor {name!r} has the element type {array.dtype}; convert it")
    spec = TensorSpec(name=name, dtype=dtype, shape=tuple(array.shape))
    return Tensor(spec=spec, array=array, footprint=_footprint(spec, array))


def dtype_name(array: Array) -> str:
    """The name that NumPy, ml_dtypes and PyTorch agree on."""
    return array.dtype.name if isinstance(array, np.ndarray) else str(array.dtype)[len("torch.") :]


def _footprint(spec: TensorSpec, array: Array) -> Footprint:
    itemsize = DTYPES[spec.dtype].size
    place = partial(Footprint, name=spec.name, itemsize=itemsize, shape=spec.shape)
    if isinstance(array, np.ndarray):
        # Read in another order, the same bytes are other values.
        dtype = f"{array.dtype.newbyteorder('=').name}{'' if array.dtype.isnative else ' swapped'}"
        return place(memory="cpu", address=array.ctypes.data, dtype=dtype, strides=array.strides)
    place = partial(place, dtype=DTYPES[spec.dtype].name)
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
