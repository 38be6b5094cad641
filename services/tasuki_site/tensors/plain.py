"""Which of a trainer's values are plain tensors: a type, a shape, and bytes that lie there.

Everything else is refused by its name before anything looks at its memory, which may not exist: a
wrapper shows one tensor and keeps others, and its own bytes are not what it stands for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from tasuki.errors import WeightsError

Array: TypeAlias = Any
"""A torch.Tensor or a numpy.ndarray. Any, because torch need not be installed."""

# By the name of the class or of one that it is made from: what it is, and what to do.
_CLASSES = {
    "UninitializedTensorMixin": ("has no shape yet", "pass one batch through the network first"),
    "FakeTensor": ("has no values", "make the network outside of FakeTensorMode"),
    "FunctionalTensor": ("has no memory of its own", "return it from torch.func.functionalize"),
    "DTensor": ("is one process's part of a tensor", "give its full_tensor()"),
    "ShardedTensor": ("is one process's part of a tensor", "gather it first"),
    "MaskedTensor": ("has values that are masked", "give its to_tensor(value)"),
    "NestedTensor": ("is a list of tensors of different shapes", "give the list: its unbind()"),
}
# What else may be behind a class of its own: by the method that takes one out of it.
_METHODS = {
    "full_tensor": "give its full_tensor()",
    "dequantize": "give its dequantize()",
    "to_dense": "give its to_dense()",
}


def plain_array(name: str, value: object) -> Array:
    """The value as a torch.Tensor or numpy.ndarray of exactly these classes, not copied.

    Those of jax become NumPy's.

    Raises:
        WeightsError: it is no plain tensor, array or number; says which, and what to do.
    """
    torch = sys.modules.get("torch")
    # Nobody has a tensor without having imported torch.
    if torch is not None and isinstance(value, torch.Tensor):
        # What a subclass makes of the calls below is not what its memory is.
        with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - documented for subclasses
            return _torch_tensor(name, value, torch)
    if isinstance(value, np.ndarray):
        return _numpy_array(name, value)
    if isinstance(value, np.generic | bool | int | float):
        return np.asarray(value)
    if _is_array_of_jax(value):
        return _jax_array(name, value)
    raise WeightsError(
        f"{name!r} is a {_class(value)}, not a tensor or an array; {_way_out(name, value)}"
    )


# --- torch


def _torch_tensor(name: str, tensor: Array, torch: Any) -> Array:  # Any: the module
    if (found := next(_peculiarities(tensor, torch), None)) is not None:
        what, remedy = found
        raise WeightsError(f"tensor {name!r} is a {_class(tensor)} that {what}; {remedy}")
    tensor = tensor.detach()
    if type(tensor) is not torch.Tensor:
        tensor = tensor.as_subclass(torch.Tensor)
    # Lazily conjugated or negated views share memory with something else than what they show.
    return tensor.resolve_conj().resolve_neg()


def _peculiarities(tensor: Array, torch: Any) -> Iterator[tuple[str, str]]:  # Any: the module
    """What keeps a tensor from being plain, and what to do. The order matters: later questions
    may not be asked of what the earlier ones find."""
    for kind in type(tensor).__mro__:
        if kind.__name__ in _CLASSES:
            yield _CLASSES[kind.__name__]
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        yield "has its values elsewhere", _method(tensor, torch.Tensor)
    if tensor.is_nested:
        yield _CLASSES["NestedTensor"]
    if tensor.layout != torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        yield f"is laid out as {layout}", "give its to_dense()"
    if tensor.is_meta:
        yield (
            "is on the meta device and has no values",
            "make the network outside of torch.device('meta'), or fill it after to_empty()",
        )
    if tensor.is_quantized:
        yield f"is quantised ({tensor.dtype})", "give its dequantize()"
    if getattr(tensor, "has_names", bool)():  # gone from newer PyTorch
        yield "has named dimensions", "give its rename(None)"
    if tensor.numel() and not _has_memory(tensor):
        yield "has no memory of its own", "give its cpu() or clone(); if it is sharded, all of it"


def _has_memory(tensor: Array) -> bool:
    """Whether its bytes are there: not of what lives inside a transformation or was let go."""
    try:
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
    except (RuntimeError, NotImplementedError):
        return False
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = tensor.storage_offset() + sum((n - 1) * step for n, step in steps)
    return bool(address != 0 and (last + 1) * tensor.itemsize <= size)


def _method(tensor: Array, plain: type) -> str:
    for method, remedy in _METHODS.items():
        own = getattr(type(tensor), method, None)
        if own is not None and own is not getattr(plain, method, None):
            return remedy
    return "give the tensors that it is made of, or a plain one of its values"


# --- NumPy and everything else


def _numpy_array(name: str, array: Array) -> Array:
    if isinstance(array, np.ma.MaskedArray):
        raise WeightsError(
            f"array {name!r} is a {_class(array)} that has values that are masked; give its"
            " filled(value)"
        )
    # A matrix, a map of a file: what they make of an index is not what an array makes of it.
    return array if type(array) is np.ndarray else array.view(np.ndarray)


def _is_array_of_jax(value: object) -> bool:
    jax = sys.modules.get("jax")  # nobody has one of its arrays without having imported it
    kind = getattr(jax, "Array", None)
    return isinstance(kind, type) and isinstance(value, kind)


def _jax_array(name: str, value: Any) -> Array:  # Any: jax need not be installed
    """Its values, brought to this machine's memory; bfloat16 is that of ml_dtypes there, too."""
    try:
        return np.asarray(value)
    except (RuntimeError, TypeError) as exc:
        raise WeightsError(
            f"{name!r} is a {_class(value)} whose values are not here; give numpy.asarray of an"
            " array that is whole and neither deleted nor traced"
        ) from exc


_WAYS_OUT: dict[str, str] = {
    "todense": "give its toarray()",
    "to_numpy": "give its to_numpy()",
    "__array__": "give numpy.asarray of it",
}


def _way_out(name: str, value: object) -> str:
    if name.rpartition(".")[2] == "_extra_state":  # torch's own name for it
        return "let get_extra_state() of its module return a tensor"
    if "_packed_params" in name.split("."):
        return "its module is quantised: give the one that was made before it was"
    if isinstance(value, dict):
        return "give each of its tensors a name of its own in the state"
    if callable(getattr(value, "state_dict", None)):
        return "give the entries of its state_dict()"
    found = (way for method, way in _WAYS_OUT.items() if hasattr(value, method))
    return next(found, "leave it out of the state or convert it")


def _class(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else _full_name(kind)


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
