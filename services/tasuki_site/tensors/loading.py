"""A weights container as the trainer's own tensors or arrays."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from tasuki.errors import WeightsError
from tasuki.trainer import Framework
from tasuki.weights.container import DTYPES, Manifest, TensorSpec, open_weights
from tasuki_site.tensors.lists import gather
from tasuki_site.tensors.plain import Array


def load_state(path: Path, *, framework: Framework) -> dict[str, Array]:
    """The state in a container: name -> tensor or array on the CPU, or list of them, in the order
    in which the run's first weights were listed.

    They are the caller's own. Their memory is the file's, copied page by page as it is written to,
    so that what is only read costs nothing; the file may be removed. Tied tensors are one object.

    Raises:
        BadWeights: the file is no well-formed container.
        WeightsError: the framework has no such element type.
        OSError: it cannot be opened.
    """
    return gather(load_flat(path, framework=framework)[1])


def load_flat(path: Path, *, framework: Framework) -> tuple[Manifest, dict[str, Array]]:
    """The manifest of a container, and its tensors under the names that they have there."""
    make = _torch_tensor if framework == "torch" else _array_over
    with open_weights(path, private=True) as file:
        tied = file.manifest.tied
        flat: dict[str, Array] = {}
        for spec, view in file.tensors():
            flat[spec.name] = flat[tied[spec.name]] if spec.name in tied else make(spec, view)
    return file.manifest, {name: flat[name] for name in file.manifest.names}


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
