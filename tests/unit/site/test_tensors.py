"""The trainer's tensors, of every kind a trainer returns, through a container and back."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tasuki.errors import ManifestMismatch, NonFiniteWeights, WeightsError
from tasuki.weights.container import (
    DTYPES,
    FirstWeights,
    TensorSpec,
    read_manifest,
    write_weights,
)
from tasuki.weights.digest import verify_digest
from tasuki_site.tensors import (
    apply_difference,
    best_device,
    load_state,
    save_state,
    seed_torch,
)

# Older PyTorch has no float8_e8m0fnu.
TORCH = [getattr(torch, d.name) for d in DTYPES.values() if hasattr(torch, d.name)]
NUMPY = [np.dtype(d.name) for d in DTYPES.values() if not d.name.startswith(("bfloat", "float8"))]

SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)
NAMES = st.text("abc._", min_size=1, max_size=8)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.safetensors"


def random_tensor(dtype: torch.dtype, shape: tuple[int, ...], *, seed: int = 0) -> torch.Tensor:
    """Any bits at all, but 0 and 1 for booleans."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape)) * dtype.itemsize
    data = rng.integers(0, 2 if dtype == torch.bool else 256, size=size, dtype=np.uint8)
    if not size:
        return torch.empty(shape, dtype=dtype)
    return torch.from_numpy(data).view(dtype).reshape(shape)


def bits(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())


@st.composite
def states(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    names = draw(st.lists(NAMES, max_size=5, unique=True))
    seeds = st.integers(0, 2**32 - 1)
    return {
        name: random_tensor(draw(st.sampled_from(TORCH)), draw(SHAPES), seed=draw(seeds))
        for name in names
    }


@settings(max_examples=50)
@given(state=states())
def test_any_state_of_torch_tensors_comes_back_bit_for_bit(
    folder: Path, state: dict[str, torch.Tensor]
) -> None:
    written = save_state(folder / "ours", state)
    stored = [spec.name for spec in written.manifest.tensors]
    order = [stored.index(name) for name in state]
    kept = {"tasuki_order": json.dumps(order, separators=(",", ":"))}
    save_file(state, folder / "theirs", metadata=None if order == sorted(order) else kept)
    loaded = load_state(folder / "ours", framework="torch")

    assert (folder / "theirs").read_bytes() == (folder / "ours").read_bytes()
    assert verify_digest(folder / "ours") == written.digest
    assert list(loaded) == list(state)
    for name, tensor in state.items():
        assert (loaded[name].dtype, loaded[name].shape) == (tensor.dtype, tensor.shape)
        assert bits(loaded[name]) == bits(tensor)


@pytest.mark.parametrize("dtype", TORCH, ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_every_element_type_comes_back(
    path: Path, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    tensor = random_tensor(dtype, shape)
    save_state(path, {"w": tensor})
    loaded = load_state(path, framework="torch")["w"]

    assert (loaded.dtype, loaded.shape) == (dtype, shape)
    assert bits(loaded) == bits(tensor)


@pytest.mark.parametrize("dtype", NUMPY, ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_every_numpy_type_comes_back(
    path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> None:
    array = np.arange(6, dtype=np.uint8)[: int(np.prod(shape))].reshape(shape).astype(dtype)
    save_state(path, {"w": array})
    loaded = load_state(path, framework="numpy")["w"]

    assert isinstance(loaded, np.ndarray)
    assert (loaded.dtype, loaded.shape) == (dtype, shape)
    np.testing.assert_array_equal(loaded, array)


def test_the_library_reads_what_we_wrote(path: Path) -> None:
    state = {"w": torch.ones(3, 2), "b": torch.zeros(2, dtype=torch.bfloat16)}
    save_state(path, state)
    theirs = load_file(path)

    assert all(torch.equal(theirs[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12.0).reshape(3, 4).T,
        torch.arange(12.0)[::2],
        torch.arange(3.0).expand(2, 3),
        torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last),
        torch.nn.Parameter(torch.ones(2)),
        torch.tensor([1 + 2j]).conj(),
        torch.tensor([1 + 2j]).conj().imag,
        torch.arange(3_000_000.0).reshape(3, 1_000_000).T,
        torch.arange(3_000_000.0).reshape(1_000_000, 3).T,
    ],
    ids=lambda tensor: f"{tuple(tensor.shape)}",
)
def test_tensors_that_do_not_lie_in_order_are_saved_in_order(
    path: Path, tensor: torch.Tensor
) -> None:
    save_state(path, {"w": tensor})

    assert torch.equal(load_state(path, framework="torch")["w"], tensor)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4).T,
        np.arange(12.0)[::-2],
        np.arange(4, dtype=">f4"),
        np.array(7, dtype=">i8"),
        np.broadcast_to(np.arange(3.0), (2, 3)),
        np.arange(3_000_000.0).reshape(3, 1_000_000).T,
    ],
    ids=lambda array: f"{array.shape}",
)
def test_arrays_that_do_not_lie_in_order_are_saved_in_order(
    path: Path, array: np.ndarray[Any, Any]
) -> None:
    save_state(path, {"w": array})
    loaded = load_state(path, framework="numpy")["w"]

    assert loaded.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(loaded, array)


def test_a_state_may_mix_tensors_arrays_and_numbers(path: Path) -> None:
    state = {"t": torch.ones(2), "a": np.ones(2), "i": 7, "f": 0.5, "b": True, "s": np.float32(2)}
    save_state(path, state)
    loaded = load_state(path, framework="numpy")

    kinds = {name: (value.dtype.name, value.shape) for name, value in loaded.items()}
    expected = {
        "t": ("float32", (2,)),
        "a": ("float64", (2,)),
        "i": ("int64", ()),
        "f": ("float64", ()),
        "b": ("bool", ()),
        "s": ("float32", ()),
    }
    assert expected == kinds
    assert loaded["i"] == 7


def test_layers_as_lists_of_arrays_come_back_as_lists(path: Path) -> None:
    state = {
        "conv": [np.ones((2, 2), dtype=np.float32), np.zeros(2)],
        "pool": [],
        "many": [np.full(1, n) for n in range(12)],
        "scale": np.ones(1),
        "pair": (1, 2.0),
    }
    written = save_state(path, state)
    loaded = load_state(path, framework="numpy")

    assert loaded.keys() == state.keys()
    assert loaded["pool"] == []
    assert [int(n[0]) for n in loaded["many"]] == list(range(12))
    assert [a.dtype.name for a in loaded["conv"]] == ["float32", "float64"]
    assert save_state(path, loaded, like=written.manifest) == written


@pytest.mark.parametrize("key", ["a::0", "a::12", "a::[]", "::0"])
def test_a_key_that_looks_like_an_item_of_a_list_is_refused(path: Path, key: str) -> None:
    with pytest.raises(WeightsError, match="items of a list"):
        save_state(path, {key: np.ones(1)})


@pytest.mark.parametrize("key", ["a:0", "a::", "a::b", "a::01", "a::0/b"])
def test_other_keys_with_colons_are_kept(path: Path, key: str) -> None:
    save_state(path, {key: np.ones(1)})

    assert [key] == list(load_state(path, framework="numpy"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a::1"], "no item 0"),
        (["a::0", "a::2"], "no item 1"),
        (["a::0", "a::[]"], "no item 1"),
        (["a", "a::0"], "both a tensor and a list"),
    ],
)
def test_lists_that_were_not_made_here_are_refused(
    path: Path, names: list[str], message: str
) -> None:
    write_weights(path, [(TensorSpec(name=n, dtype="U8", shape=(1,)), b"a") for n in names])

    with pytest.raises(WeightsError, match=message):
        load_state(path, framework="numpy")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("adam", "'x' is a str, not a tensor"),
        (None, "'x' is a NoneType, not a tensor"),
        ({"y": 1}, "'x' is a dict, not a tensor"),
        (np.array(["a"]), "element type <U1"),
        (np.array([None]), "element type object"),
        (1j, "'x' is a complex"),
        (2**70, "element type object"),
        (torch.zeros(1, dtype=torch.complex128), "element type torch.complex128"),
        (torch.eye(2).to_sparse(), "sparse"),
        (torch.zeros(1, device="meta"), "meta"),
        ([["nested"]], "'x::0' is a list"),
    ],
)
def test_an_entry_that_is_no_tensor_is_named(path: Path, entry: object, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        save_state(path, {"fine": torch.ones(1), "x": entry})
    assert not path.exists()


def test_a_key_that_is_no_string_is_named(path: Path) -> None:
    state: dict[Any, Any] = {3: np.ones(1)}

    with pytest.raises(WeightsError, match="the key 3 is a int"):
        save_state(path, state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e5m2])
def test_a_tensor_with_nan_is_named(path: Path, dtype: torch.dtype) -> None:
    state = {"fine": torch.ones(2), "layer": torch.tensor([1.0, float("nan")]).to(dtype)}

    with pytest.raises(NonFiniteWeights, match="'layer' of the first weights holds NaN"):
        save_state(path, state, look=FirstWeights().look)
    save_state(path, state, look=FirstWeights().look, exempt=["l*"])


@pytest.mark.parametrize("state", [torch.nn.Linear(1, 1), [torch.ones(1)], None, torch.ones(1)])
def test_a_state_that_is_no_dict_is_told_what_to_be(path: Path, state: Any) -> None:
    with pytest.raises(WeightsError, match=r"not a dict of name to tensor.*state_dict\(\)"):
        save_state(path, state)


# --- the order


NORM = {"norm.weight": torch.ones(2), "norm.bias": torch.zeros(2), "steps": torch.tensor(7)}


@pytest.mark.parametrize("framework", ["torch", "numpy"])
def test_a_trainer_gets_tensors_in_the_order_of_the_first_weights(
    path: Path, framework: Any
) -> None:
    first = save_state(path, NORM)
    assert list(NORM) == list(load_state(path, framework=framework))

    sorted_by_name = {name: NORM[name] for name in sorted(NORM)}
    result = save_state(path, sorted_by_name, like=first.manifest)
    assert list(NORM) == list(load_state(path, framework=framework))
    assert first == result
    assert list(NORM) == list(apply_difference(path, {"norm.bias": torch.ones(2)}))


def test_an_alias_keeps_its_place(path: Path) -> None:
    shared = torch.ones(2)
    state = {"z": shared, "m": torch.zeros(1), "a": shared}
    first = save_state(path, state)

    assert first.manifest.tied == {"z": "a"}
    assert list(state) == list(load_state(path, framework="torch"))
    one = save_state(path, {"m": torch.zeros(1), "z": shared}, like=first.manifest)
    assert first == one


def test_layers_as_lists_keep_their_place(path: Path) -> None:
    state = {"z": [np.ones(1), np.zeros(1)], "pool": [], "m": np.ones(1), "a": [np.ones(1)]}
    save_state(path, state)

    assert list(state) == list(load_state(path, framework="numpy"))


def test_of_a_file_of_another_tool_the_order_is_that_of_its_bytes(path: Path) -> None:
    header = b'{"z":{"dtype":"U8","shape":[],"data_offsets":[0,1]},'
    header += b'"w":{"dtype":"F32","shape":[],"data_offsets":[1,5]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"z\0\0\0\0")
    like = read_manifest(path)
    state = load_state(path, framework="torch")
    assert ["z", "w"] == list(state)

    save_state(path, dict(reversed(state.items())), like=like)
    assert ["w", "z"] == [spec.name for spec in read_manifest(path).tensors]
    assert ["z", "w"] == list(load_state(path, framework="torch"))


# --- ties


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(5, 3)
        self.head = torch.nn.Linear(3, 5)
        self.head.weight = self.embed.weight


def test_tied_tensors_are_stored_once_and_come_back_as_one(path: Path) -> None:
    model = Tied()
    written = save_state(path, model.state_dict())
    loaded = load_state(path, framework="torch")
    model.load_state_dict(loaded)

    assert written.manifest.tied == {"head.weight": "embed.weight"}
    assert len(written.manifest.tensors) == 2
    assert loaded["head.weight"] is loaded["embed.weight"]
    assert save_state(path, loaded) == written


def test_tied_arrays_come_back_as_one(path: Path) -> None:
    array = np.ones((2, 3))
    written = save_state(path, {"b": array, "a": array, "c": [array.view()]})
    loaded = load_state(path, framework="numpy")

    assert written.manifest.tied == {"b": "a", "c::0": "a"}
    assert loaded["a"] is loaded["b"] is loaded["c"][0]


def test_the_stride_of_a_single_row_does_not_hide_a_tie(path: Path) -> None:
    one = torch.ones(4)
    state = {"a": one.as_strided((1, 4), (4, 1)), "b": one.as_strided((1, 4), (9, 1))}

    assert save_state(path, state).manifest.tied == {"b": "a"}


def test_tensors_that_were_separated_and_are_equal_are_tied_again(path: Path) -> None:
    written = save_state(path, Tied().state_dict())
    apart = {n: t.clone() for n, t in load_state(path, framework="torch").items()}
    apart["head.weight"] = apart["head.weight"].T.contiguous().T

    assert save_state(path, apart, like=written.manifest) == written


def test_one_name_of_a_tied_tensor_is_enough(path: Path) -> None:
    written = save_state(path, Tied().state_dict())
    loaded = load_state(path, framework="torch")
    for name in ("head.weight", "embed.weight"):
        one = {n: t for n, t in loaded.items() if n != name}
        assert save_state(path, one, like=written.manifest) == written


def test_tensors_that_were_separated_and_differ_are_refused(path: Path) -> None:
    like = save_state(path, Tied().state_dict()).manifest
    apart = {n: t.clone() for n, t in load_state(path, framework="torch").items()}
    apart["head.weight"][-1] += 1

    with pytest.raises(ManifestMismatch, match=r"'embed.weight' and 'head.weight' are tied"):
        save_state(path, apart, like=like)


def test_an_alias_of_another_shape_is_refused(path: Path) -> None:
    like = save_state(path, Tied().state_dict()).manifest
    state = {**load_state(path, framework="torch"), "head.weight": torch.ones(1)}

    with pytest.raises(ManifestMismatch, match="are tied"):
        save_state(path, state, like=like)


def test_tensors_that_are_separate_in_the_run_stay_separate(path: Path) -> None:
    written = save_state(path, {"a": torch.zeros(2), "b": torch.zeros(2)})
    same = torch.zeros(2)

    assert save_state(path, {"a": same, "b": same}, like=written.manifest) == written


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda m: m, lambda m: m[0]),
        (lambda m: m, lambda m: m.reshape(-1)),
        (lambda m: m, lambda m: m.T),
        (lambda m: m[:, :5], lambda m: m[:, 4:]),
        (lambda m: m[::2], lambda m: m[::3]),
    ],
)
def test_tensors_that_overlap_without_being_the_same_are_both_named(
    path: Path, one: Any, other: Any
) -> None:
    for matrix in (torch.arange(81.0).reshape(9, 9), np.arange(81.0).reshape(9, 9)):
        with pytest.raises(WeightsError, match="'first' and 'second' overlap"):
            save_state(path, {"second": one(matrix), "first": other(matrix)})


def test_the_same_bytes_read_in_another_order_are_not_the_same_tensor(path: Path) -> None:
    """Bug: the second came back as the first."""
    array = np.arange(4, dtype="<f4")
    with pytest.raises(WeightsError, match="'little' and 'swapped' overlap"):
        save_state(path, {"little": array, "swapped": array.view(">f4")})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda m: m[:4], lambda m: m[4:]),
        (lambda m: m[:, :4], lambda m: m[:, 4:]),
        (lambda m: m[::2], lambda m: m[1::2]),
        (lambda m: m[:0], lambda m: m[:0]),
    ],
)
def test_views_of_one_storage_that_share_no_element_are_separate(
    path: Path, one: Any, other: Any
) -> None:
    matrix = torch.arange(81.0).reshape(9, 9)
    written = save_state(path, {"one": one(matrix), "other": other(matrix)})
    loaded = load_state(path, framework="torch")

    assert written.manifest.tied == {}
    assert torch.equal(loaded["one"], one(matrix))
    assert torch.equal(loaded["other"], other(matrix))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "tensor 'w' is missing"),
        ({"w": torch.ones(2), "v": torch.ones(1)}, "tensor 'v' does not belong here"),
        ({"w": torch.ones(3)}, r"shape \[3\] instead of \[2\]"),
        ({"w": np.ones(2)}, "dtype F64 instead of F32"),
    ],
)
def test_a_result_unlike_the_received_weights_is_refused(
    path: Path, state: dict[str, Any], message: str
) -> None:
    like = save_state(path, {"w": torch.ones(2)}).manifest

    with pytest.raises(ManifestMismatch, match=message):
        save_state(path, state, like=like)


# --- loading


@pytest.mark.parametrize("framework", ["torch", "numpy"])
def test_loaded_tensors_are_the_trainers_own(path: Path, framework: Any) -> None:
    written = save_state(path, {"w": torch.ones(4), "n": torch.tensor(1)})
    loaded = load_state(path, framework=framework)
    loaded["w"] += 1
    loaded["n"] += 1

    assert verify_digest(path) == written.digest
    path.unlink()
    assert loaded["w"].tolist() == [2.0] * 4
    assert int(loaded["n"]) == 2


def test_a_type_that_numpy_lacks_is_refused_with_advice(path: Path) -> None:
    save_state(path, {"w": torch.ones(1, dtype=torch.bfloat16)})
    code = f"""
import sys
sys.modules["ml_dtypes"] = None
from pathlib import Path
from tasuki.errors import WeightsError
from tasuki_site.tensors import load_state
try:
    load_state(Path({str(path)!r}), framework="numpy")
except WeightsError as exc:
    print(exc)
"""
    words = [sys.executable, "-c", code]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "'w' is BF16" in said
    assert "take the weights as torch tensors" in said


def test_a_file_of_another_tool_that_is_not_aligned_is_loaded(path: Path) -> None:
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    data = np.array([1, 2], dtype="<f4").tobytes()
    for padding in range(4):
        text = header + b" " * padding
        path.write_bytes(len(text).to_bytes(8, "little") + text + data)
        loaded = load_state(path, framework="torch")["w"]
        assert loaded.tolist() == [1, 2]
        assert loaded.data_ptr() % 4 == 0
        assert load_state(path, framework="numpy")["w"].tolist() == [1, 2]


def test_numpy_states_need_no_torch(path: Path) -> None:
    code = f"""
import sys
sys.modules["torch"] = None
from pathlib import Path
import numpy as np
from tasuki_site.tensors import *
path = Path({str(path)!r})
save_state(path, {{"w": np.ones(3), "l": [np.ones(1)], "n": 1}})
assert load_state(path, framework="numpy")["w"].sum() == 3
assert apply_difference(path, {{"w": np.ones(3)}})["w"].sum() == 6
assert best_device() == "cpu"
seed_torch(1)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- torch itself


def test_a_seed_repeats_what_torch_draws() -> None:
    seed_torch(7)
    first = torch.rand(3)
    seed_torch(7)

    assert torch.equal(first, torch.rand(3))


def test_the_best_device_is_one_that_torch_has() -> None:
    assert torch.zeros(1, device=best_device()).sum().item() == 0
