"""Tensors that are more than a type, a shape and bytes are refused by name, unread."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, distribute_tensor

from support.frameworks import need
from tasuki.errors import WeightsError
from tasuki_site.tensors import apply_difference, load_state, save_state


class Wrapper(torch.Tensor):
    """As torchao and quanto make them: what it shows has no memory; what it keeps is elsewhere."""

    kept: torch.Tensor

    @staticmethod
    def __new__(cls, kept: torch.Tensor) -> Wrapper:
        make = torch.Tensor._make_wrapper_subclass  # noqa: SLF001 - what such libraries call
        made: Wrapper = make(cls, kept.shape, dtype=torch.float32)
        made.kept = kept
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # as torch calls it
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.detach.default:  # as nn.Parameter does
            return cls(args[0].kept)
        raise AssertionError(f"{func} was called on a tensor that is to be refused unread")


class Quantised(Wrapper):
    def dequantize(self) -> torch.Tensor:
        return self.kept.float()


class Sharded(Wrapper):
    def full_tensor(self) -> torch.Tensor:
        return self.kept


class Dispatching(torch.Tensor):
    """One with memory of its own, of which only its class knows what it means."""

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # as torch calls it
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise AssertionError(f"{func} was called on a tensor that is to be refused unread")


def freed() -> torch.Tensor:
    """As sharded training leaves the parameters that it has gathered elsewhere."""
    tensor = torch.ones(3)
    tensor.untyped_storage().resize_(0)
    return tensor


def cut() -> torch.Tensor:
    tensor = torch.ones(30)
    tensor.untyped_storage().resize_(40)
    return tensor


def fake() -> torch.Tensor:
    with FakeTensorMode():
        return torch.ones(3)


def batched() -> torch.Tensor:
    """One that outlived the transformation that it was made in."""
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    torch.func.vmap(keep)(torch.ones(3, 2))
    return kept[0]


def quiet(make: Callable[[], torch.Tensor]) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that parts of torch are prototypes, or old
        return make()


KINDS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "a wrapper": (lambda: Wrapper(torch.ones(2)), "Wrapper", "the tensors that it is made of"),
    "a quantised wrapper": (lambda: Quantised(torch.ones(2)), "Quantised", r"dequantize\(\)"),
    "a sharded wrapper": (lambda: Sharded(torch.ones(2)), "Sharded", r"full_tensor\(\)"),
    "a parameter of a wrapper": (
        lambda: torch.nn.Parameter(Quantised(torch.ones(2)), requires_grad=False),
        "Quantised",
        r"dequantize\(\)",
    ),
    "a class with a dispatch of its own": (
        lambda: torch.ones(2).as_subclass(Dispatching),
        "Dispatching",
        "a plain one of its values",
    ),
    "sparse COO": (lambda: torch.eye(2).to_sparse(), "sparse_coo", r"to_dense\(\)"),
    "sparse CSR": (lambda: torch.eye(2).to_sparse_csr(), "sparse_csr", r"to_dense\(\)"),
    "sparse CSC": (lambda: torch.eye(2).to_sparse_csc(), "sparse_csc", r"to_dense\(\)"),
    "sparse BSR": (lambda: torch.eye(2).to_sparse_bsr((1, 1)), "sparse_bsr", r"to_dense\(\)"),
    "nested": (
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "different shapes",
        r"unbind\(\)",
    ),
    "nested and jagged": (
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
        "NestedTensor",
        r"unbind\(\)",
    ),
    "masked": (
        lambda: torch.masked.masked_tensor(torch.ones(2), torch.tensor([True, False])),
        "MaskedTensor",
        "to_tensor",
    ),
    "meta": (lambda: torch.ones(3, device="meta"), "no values", "to_empty"),
    "fake": (fake, "FakeTensor", "outside of FakeTensorMode"),
    "lazy": (
        lambda: torch.nn.LazyLinear(3).state_dict()["weight"],
        "UninitializedParameter",
        "one batch",
    ),
    "a lazy buffer": (
        lambda: torch.nn.LazyBatchNorm1d().state_dict()["running_mean"],
        "UninitializedBuffer",
        "one batch",
    ),
    "quantised": (
        lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "quantised",
        r"dequantize\(\)",
    ),
    "quantised by channel": (
        lambda: torch.quantize_per_channel(
            torch.ones(2, 2), torch.ones(2), torch.zeros(2), 0, torch.quint8
        ),
        "quantised",
        r"dequantize\(\)",
    ),
    "of another library": (lambda: torch.ones(2).to_mkldnn(), "_mkldnn", r"to_dense\(\)"),
    "a zero without memory": (
        lambda: torch._efficientzerotensor(3),  # noqa: SLF001 - forward-mode gradients are such
        "no memory",
        r"clone\(\)",
    ),
    "one that was let go": (freed, "no memory", r"clone\(\)"),
    "one that was cut": (cut, "no memory", r"clone\(\)"),
    "one inside vmap": (batched, "no memory", r"clone\(\)"),
    "a masked array": (
        lambda: np.ma.masked_array([1.0, 2.0], mask=[False, True]),
        "MaskedArray",
        r"filled\(value\)",
    ),
    "the masked number": (lambda: np.ma.masked, "MaskedConstant", r"filled\(value\)"),
}


@pytest.mark.parametrize(("make", "what", "remedy"), KINDS.values(), ids=KINDS.keys())
def test_a_tensor_that_is_not_plain_is_refused_by_name_with_its_class_and_a_remedy(
    tmp_path: Path, make: Callable[[], Any], what: str, remedy: str
) -> None:
    path = tmp_path / "state"
    with pytest.raises(WeightsError, match=rf"(?s)'layer\.x' is a .*{what}.*{remedy}"):
        save_state(path, {"fine": torch.ones(1), "layer.x": quiet(make)})
    assert not path.exists()


def test_two_frozen_wrappers_of_one_shape_are_not_taken_for_one(tmp_path: Path) -> None:
    """Bug: both are at address 0, and the second arrived as the first."""
    state = {"a": Quantised(torch.ones(2)), "b": Quantised(torch.zeros(2))}
    with pytest.raises(WeightsError, match=r"'a' is a .*Quantised"):
        save_state(tmp_path / "state", state)


def test_a_difference_that_is_not_plain_is_refused_as_well(tmp_path: Path) -> None:
    save_state(tmp_path / "state", {"w": torch.ones(2)})
    with pytest.raises(WeightsError, match=r"'w' is a .*Quantised"):
        apply_difference(tmp_path / "state", {"w": Quantised(torch.ones(2))})


def test_an_item_of_a_list_is_named_by_its_place(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"'layers::1' is a torch\.Tensor that is laid out"):
        save_state(tmp_path / "state", {"layers": [torch.ones(1), torch.eye(2).to_sparse()]})


@contextmanager
def one_process(folder: Path) -> Iterator[None]:
    store = f"file://{folder / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")  # what gloo and its mesh say of one process
def test_a_distributed_tensor_is_refused_and_its_full_one_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with one_process(tmp_path):
        mesh = init_device_mesh("cpu", (1,))
        sharded = distribute_tensor(torch.arange(4.0), mesh, [Replicate()])
        with pytest.raises(WeightsError, match=r"'w' is a .*DTensor.*full_tensor\(\)"):
            save_state(path, {"w": torch.nn.Parameter(sharded)})
        save_state(path, {"w": sharded.full_tensor()})
    assert [0.0, 1.0, 2.0, 3.0] == load_state(path, framework="torch")["w"].tolist()


class Tagged(torch.Tensor):
    """One that is plain but for what its class does: its bytes are its values."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError("nobody asks the class what its bytes are")


def test_a_subclass_that_lies_in_plain_memory_is_carried(tmp_path: Path) -> None:
    plain = torch.arange(6.0).reshape(2, 3)
    state = {"a": plain.as_subclass(Tagged), "b": plain}
    written = save_state(tmp_path / "state", state)
    loaded = load_state(tmp_path / "state", framework="torch")

    assert {"b": "a"} == written.manifest.tied
    assert torch.equal(plain, loaded["a"])


def test_a_large_matrix_of_numpy_is_carried(tmp_path: Path) -> None:
    """Bug: its first row is a matrix of one row, and so without an end."""
    array = np.arange(400_000.0).reshape(1, -1)
    save_state(tmp_path / "state", {"m": array.view(np.matrix)})

    np.testing.assert_array_equal(array, load_state(tmp_path / "state", framework="numpy")["m"])


class JaxArray:
    """What jax's are to us, where jax itself is not installed: a class of its own, `__array__`."""

    def __init__(self, values: np.ndarray | None) -> None:
        self._values = values

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        if self._values is None:
            raise RuntimeError("Array has been deleted with shape=float32[2].")
        return self._values


@pytest.fixture
def jax(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("jax")
    module.Array = JaxArray  # type: ignore[attr-defined]  # a module of this test's own
    monkeypatch.setitem(sys.modules, "jax", module)


@pytest.mark.usefixtures("jax")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32"])
def test_an_array_of_jax_is_carried_as_it_is(tmp_path: Path, dtype: str) -> None:
    if dtype == "bfloat16":
        need("ml_dtypes")  # which jax needs as well
        importlib.import_module("ml_dtypes")
    values = np.arange(6).reshape(2, 3).astype(dtype)
    save_state(tmp_path / "state", {"w": JaxArray(values), "b": values})

    loaded = load_state(tmp_path / "state", framework="numpy")
    assert values.dtype == loaded["w"].dtype
    assert values.tolist() == loaded["w"].tolist()


@pytest.mark.usefixtures("jax")
def test_an_array_of_jax_without_values_is_told_from_one_with(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"'w' is a .*JaxArray whose values are not here; give"):
        save_state(tmp_path / "state", {"w": JaxArray(None)})


class Frame:
    def to_numpy(self) -> None: ...


class Foreign:
    def __array__(self) -> None: ...


class Scipy:
    def todense(self) -> None: ...


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ({"y": torch.ones(1)}, "a name of its own"),
        (torch.nn.Linear(1, 1), r"state_dict\(\)"),
        (Frame(), r"to_numpy\(\)"),
        (Foreign(), "numpy.asarray"),
        (Scipy(), r"toarray\(\)"),
        ("adam", "leave it out"),
    ],
)
def test_what_is_no_tensor_is_told_how_it_becomes_one(
    tmp_path: Path, value: object, remedy: str
) -> None:
    with pytest.raises(WeightsError, match=rf"'x' is a .*, not a tensor or an array; .*{remedy}"):
        save_state(tmp_path / "state", {"x": value})


class Counting(torch.nn.Linear):
    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}


def test_what_a_module_keeps_beside_its_tensors_is_told_how_it_becomes_one(tmp_path: Path) -> None:
    state = torch.nn.Sequential(Counting(1, 1)).state_dict()
    with pytest.raises(WeightsError, match=r"'0\._extra_state' is a dict.*get_extra_state\(\)"):
        save_state(tmp_path / "state", state)


def test_what_a_quantised_module_keeps_is_told_as_that(tmp_path: Path) -> None:
    state = {"0._packed_params.dtype": torch.qint8}
    with pytest.raises(WeightsError, match="its module is quantised: give the one that was made"):
        save_state(tmp_path / "state", state)


def differentiated() -> torch.Tensor:
    """As code that writes down what it sees inside of torch.func.grad would return it."""
    kept: list[torch.Tensor] = []

    def loss(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return (tensor * tensor).sum()

    torch.func.grad(loss)(torch.ones(3))
    return kept[0]


def functional() -> torch.Tensor:
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor + 1)
        return kept[0]

    torch.func.functionalize(keep)(torch.ones(3))
    return kept[0]


@pytest.mark.parametrize("make", [differentiated, functional])
def test_what_is_left_of_a_transformation_is_refused(
    tmp_path: Path, make: Callable[[], torch.Tensor]
) -> None:
    with pytest.raises(WeightsError, match=r"'w' is a .* that has no memory of its own; give"):
        save_state(tmp_path / "state", {"w": make()})


def test_a_tensor_of_inference_mode_is_carried(tmp_path: Path) -> None:
    with torch.inference_mode():
        made = torch.arange(3.0) * 2
    save_state(tmp_path / "state", {"w": made})
    assert [0.0, 2.0, 4.0] == load_state(tmp_path / "state", framework="torch")["w"].tolist()
