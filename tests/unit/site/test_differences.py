"""What a trainer wants added to the weights that it received."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasuki.errors import ManifestMismatch
from tasuki.trainer import Framework
from tasuki_site.tensors import apply_difference, save_state

FRAMEWORKS: tuple[Framework, ...] = ("torch", "numpy")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.safetensors"


def torch_state() -> dict[str, Any]:
    return {
        "f32": torch.tensor([1.5, 2.0]),
        "f16": torch.tensor([1.0], dtype=torch.float16),
        "bf16": torch.tensor([1.0], dtype=torch.bfloat16),
        "f8": torch.tensor([1.0]).to(torch.float8_e4m3fn),
        "c64": torch.tensor([1 + 1j]),
        "i64": torch.tensor(5),
        "u8": torch.tensor([250], dtype=torch.uint8),
        "u32": torch.tensor([4], dtype=torch.uint32),
        "bool": torch.tensor([True, True]),
        "kept": torch.tensor([9.0]),
        "layers": [torch.ones(1), torch.zeros(1)],
        "pool": [],
    }


def test_a_difference_is_added_in_each_tensors_own_type(path: Path) -> None:
    like = save_state(path, torch_state()).manifest
    difference = {
        **torch_state(),
        "bool": torch.tensor([True, False]),
        "f8": torch.tensor([0.5]),
        "u8": torch.tensor([10], dtype=torch.uint8),
    }
    del difference["kept"]
    state = apply_difference(path, difference, framework="torch")

    assert state["f32"].tolist() == [3.0, 4.0]
    assert state["bf16"].item() == 2.0
    assert state["f8"].float().item() == 1.5
    assert state["c64"].item() == 2 + 2j
    assert state["i64"].item() == 10
    assert state["u8"].item() == 4
    assert state["u32"].item() == 8
    assert state["bool"].tolist() == [False, True]
    assert state["kept"].item() == 9.0
    assert [item.item() for item in state["layers"]] == [2.0, 0.0]
    assert save_state(path, state, like=like).manifest == like


@pytest.mark.parametrize("framework", ["torch", "numpy"])
def test_a_difference_may_come_from_the_other_framework(path: Path, framework: Any) -> None:
    save_state(path, {"w": np.ones(2, dtype=np.float32), "n": np.array(3)})
    readonly = np.broadcast_to(np.float64(0.5), (2,))
    for difference in (
        {"w": readonly, "n": 4},
        {"w": torch.full((2,), 0.5, dtype=torch.bfloat16), "n": torch.tensor(4)},
    ):
        state = apply_difference(path, difference, framework=framework)
        assert state["w"].tolist() == [1.5, 1.5]
        assert str(state["w"].dtype).endswith("float32")
        assert int(state["n"]) == 7


def test_tied_tensors_stay_tied_under_a_difference(path: Path) -> None:
    one = torch.ones(2)
    like = save_state(path, {"a": one, "b": one}).manifest
    for difference in ({"a": one}, {"b": one}, {"a": one, "b": one.clone()}):
        state = apply_difference(path, difference)
        assert state["b"] is state["a"]
        assert state["a"].tolist() == [2.0, 2.0]
        assert save_state(path.with_name("sum"), state, like=like).manifest == like

    with pytest.raises(ManifestMismatch, match="are tied"):
        apply_difference(path, {"a": one, "b": one * 2}, framework="torch")


@pytest.mark.parametrize(
    ("difference", "message"),
    [
        ({"x": np.ones(1)}, "has a tensor 'x'"),
        ({"w": np.ones(2)}, r"shape \[2\] instead of \[1\]"),
        ({"n": np.array([True])}, "dtype BOOL instead of I64"),
        ({"w": np.ones(1, dtype=np.complex64)}, "dtype C64 instead of F32"),
        ({"w": np.ones(1, dtype=np.int64)}, "dtype I64 instead of F32"),
    ],
)
def test_a_difference_to_other_weights_is_refused(
    path: Path, difference: dict[str, Any], message: str
) -> None:
    save_state(path, {"w": np.ones(1, dtype=np.float32), "n": np.array([1])})

    for framework in FRAMEWORKS:
        with pytest.raises(ManifestMismatch, match=message):
            apply_difference(path, difference, framework=framework)


@pytest.mark.parametrize(
    ("base", "change", "expected"),
    [
        (np.array(5), 1.0, 6),  # what `new - old` in floats makes of a counter
        (np.array(5), np.float32(-5), 0),
        (np.array([3, 4], np.int32), np.array([1.0, 0.0]), [4, 4]),
        (np.array([3], np.int32), np.array([1], np.int64), [4]),
        (np.array([3], np.uint8), np.array([-3.0], np.float16), [0]),
        (np.array([2**63], np.uint64), np.array([-1.0]), [2**63 - 1]),
        (np.array([True, False]), np.array([-1.0, 1.0]), [False, True]),
        (np.array([True, False]), np.array([0, 1]), [True, True]),
        (np.zeros((0, 2), np.int64), np.zeros((0, 2)), []),
    ],
)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_whole_numbers_of_any_type_are_added_to_integers(
    path: Path, framework: Framework, base: Any, change: Any, expected: Any
) -> None:
    like = save_state(path, {"n": base}).manifest
    for given in (change, torch.as_tensor(np.asarray(change))):
        state = apply_difference(path, {"n": given}, framework=framework)
        assert expected == state["n"].tolist()
        assert like == save_state(path.with_name("sum"), state, like=like).manifest


def test_whole_numbers_in_bfloat16_are_added_to_integers(path: Path) -> None:
    save_state(path, {"n": torch.tensor(5)})
    change = {"n": torch.tensor(2, dtype=torch.bfloat16)}

    assert [7, 7] == [int(apply_difference(path, change, framework=f)["n"]) for f in FRAMEWORKS]


@pytest.mark.parametrize(
    ("base", "change", "message"),
    [
        (np.array([1, 2]), np.array([1.0, 0.5]), r"'n', which holds integers, has 0\.5 in it"),
        (np.array(1), np.nan, "has nan in it"),
        (np.array(1), np.inf, "has inf in it"),
        (np.array(1), 1e300, r"has 1e\+300 in it"),
        (np.array([250], np.uint8), np.array([10.0]), "out of what uint8 holds"),
        (np.array([0], np.uint8), np.array([-1]), "out of what uint8 holds"),
        (np.array([True]), np.array([1.0]), "out of what bool holds"),
    ],
)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_an_integer_cannot_become_is_refused(
    path: Path, framework: Framework, base: Any, change: Any, message: str
) -> None:
    save_state(path, {"n": base})

    with pytest.raises(ManifestMismatch, match=message):
        apply_difference(path, {"n": change}, framework=framework)


INFINITE = [
    torch.tensor([float("-inf"), 1.0, float("inf")]),
    torch.tensor([float("-inf"), 1.0, float("inf")], dtype=torch.float16),
    torch.tensor([float("-inf"), 1.0, float("inf")], dtype=torch.bfloat16),
    torch.tensor([float("-inf"), 1.0, float("inf")]).to(torch.float8_e5m2),
]


@pytest.mark.parametrize("base", INFINITE, ids=lambda base: str(base.dtype))
def test_an_infinity_that_stayed_stays_under_what_the_trainer_subtracted(
    path: Path, base: torch.Tensor
) -> None:
    """A mask less itself is NaN wherever it is infinite."""
    save_state(path, {"mask": base})
    wide = base.float()
    change = (wide - wide).to(base.dtype)

    assert change.float().isnan().any()
    state = apply_difference(path, {"mask": change}, framework="torch")
    assert torch.equal(wide, state["mask"].float())


def test_an_infinity_that_stayed_stays_in_numpy(path: Path) -> None:
    mask = np.array([-np.inf, 1.0, np.inf], dtype=np.float32)
    save_state(path, {"mask": mask})
    change = np.array([np.nan, np.nan, 0.0], dtype=np.float32)
    state = apply_difference(path, {"mask": change}, framework="numpy")

    np.testing.assert_array_equal([-np.inf, np.nan, np.inf], state["mask"])


def test_names_under_a_prefix_are_told_as_that(path: Path) -> None:
    save_state(path, {"conv.weight": np.ones(1), "n": np.array(1)})

    with pytest.raises(ManifestMismatch, match=r"torch.compile adds.*_orig_mod.state_dict"):
        apply_difference(path, {"_orig_mod.conv.weight": np.ones(1)})


@pytest.mark.parametrize(
    ("count", "step"),
    [
        (np.uint64(5), -10.0),
        (np.uint64(2**64 - 1), 2.0),
        (np.int64(2**63 - 1), 1.0),
        (np.int64(-(2**63)), -1.0),
    ],
)
def test_a_count_of_64_bits_does_not_wrap_by_a_float(
    tmp_path: Path, count: np.generic, step: float
) -> None:
    """Bug: five less ten was the largest number that there is."""
    save_state(tmp_path / "received", {"n": count})
    with pytest.raises(ManifestMismatch, match="'n' takes it out of what"):
        apply_difference(tmp_path / "received", {"n": np.float32(step)}, framework="numpy")


@pytest.mark.parametrize("count", [np.uint64(2**63 + 5), np.int64(-3), np.uint8(7)])
def test_a_count_of_any_size_takes_a_whole_float(tmp_path: Path, count: np.generic) -> None:
    save_state(tmp_path / "received", {"n": count})
    for step in (-2.0, 0.0, 2.0):
        change = {"n": np.float32(step)}
        total = apply_difference(tmp_path / "received", change, framework="numpy")
        assert int(count) + int(step) == int(total["n"])
