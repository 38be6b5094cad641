"""A run's first weights, as the run file names them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tasuki.errors import BadWeights, NonFiniteWeights, SettingsError
from tasuki.weights.digest import verify_digest
from tasuki_site.model_files.export import export
from tasuki_site.model_files.initial import write_initial
from tasuki_site.tensors import load_state

NET = {"weight": torch.ones(2, 2), "bias": torch.zeros(2)}
CHECKPOINT = {
    "epoch": 3,
    "state_dict": NET,
    "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": []},
    "best_acc1": torch.tensor(0.5),
}


@pytest.fixture
def initial(tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Writes what is named and gives back what is in it."""

    def write(name: str, **options: Any) -> dict[str, Any]:  # Any: as write_initial takes them
        path = tmp_path / "written"
        weights = write_initial(name, path, folder=tmp_path, seed=0, **options)
        assert weights.digest == verify_digest(path)
        assert weights.size == path.stat().st_size
        return load_state(path, framework="torch")

    yield write
    assert not (tmp_path / "executed").exists()


Initial = Callable[..., dict[str, Any]]


def refusal(initial: Initial, name: str, error: type[Exception] = SettingsError) -> str:
    with pytest.raises(error) as raised:
        initial(name)
    assert "Traceback" not in str(raised.value)
    return str(raised.value)


# --- files that torch.save wrote


@pytest.mark.parametrize(
    "name", ["m.pt", "m.pth", "m.ckpt", "m.bin", "m.pth.tar", "m.pt.tar", "M.PTH"]
)
def test_a_state_dict_is_read_whatever_its_file_ends_in(
    tmp_path: Path, initial: Initial, name: str
) -> None:
    torch.save(NET, tmp_path / name)
    assert list(NET) == list(initial(name))


def test_a_checkpoint_in_the_old_form_is_read(tmp_path: Path, initial: Initial) -> None:
    torch.save(NET, tmp_path / "old.pth.tar", _use_new_zipfile_serialization=False)
    assert list(NET) == list(initial("old.pth.tar"))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (CHECKPOINT, "last.ckpt#state_dict"),
        ({"model": CHECKPOINT}, "last.ckpt#model#state_dict"),
        ({"a.b": NET}, "last.ckpt#a.b"),
    ],
)
def test_a_state_dict_within_a_checkpoint_is_named_by_its_key(
    tmp_path: Path, initial: Initial, content: Mapping[str, Any], name: str
) -> None:
    torch.save(content, tmp_path / "last.ckpt")
    assert list(NET) == list(initial(name))


def test_a_file_with_a_number_sign_in_its_name_is_found(tmp_path: Path, initial: Initial) -> None:
    torch.save(NET, tmp_path / "try#2.pt")
    assert list(NET) == list(initial("try#2.pt"))


def test_a_checkpoint_without_a_key_is_answered_with_its_keys(
    tmp_path: Path, initial: Initial
) -> None:
    torch.save(CHECKPOINT, tmp_path / "last.ckpt")
    said = refusal(initial, "last.ckpt")
    assert '"last.ckpt#state_dict"' in said
    assert "'state_dict' (2 tensors)" in said
    assert "'epoch' (int)" in said


def test_a_wrong_key_is_answered_with_those_that_are_there(
    tmp_path: Path, initial: Initial
) -> None:
    torch.save(CHECKPOINT, tmp_path / "last.ckpt")
    near = refusal(initial, "last.ckpt#state_dcit")
    assert "last.ckpt has no 'state_dcit'; did you mean 'state_dict'?" in near
    far = refusal(initial, "last.ckpt#ema")
    assert "it has 'epoch' (int), 'state_dict' (2 tensors)" in far
    assert "last.ckpt#optimizer has no 'x'" in refusal(initial, "last.ckpt#optimizer#x")


def test_a_key_may_be_a_number(tmp_path: Path, initial: Initial) -> None:
    """Bug: there was no '0', and did you mean '0'?"""
    torch.save({0: NET, 1: {}}, tmp_path / "ema.pt")
    assert NET.keys() == initial("ema.pt#0").keys()


def test_first_weights_without_a_tensor_are_refused(tmp_path: Path, initial: Initial) -> None:
    """Bug: the run trained nothing, and finished."""
    torch.save({}, tmp_path / "empty.pt")
    save_file({}, tmp_path / "empty.safetensors")
    (tmp_path / "no_weights.py").write_text("def make():\n    return {}\n")
    for name in ("empty.pt", "empty.safetensors", "no_weights:make"):
        assert f"{name!r} holds no tensor" in refusal(initial, name)


@pytest.mark.parametrize("name", ["last.ckpt#epoch", "last.ckpt#epoch#x", "last.ckpt#best_acc1"])
def test_a_key_that_is_no_state_dict_is_told(tmp_path: Path, initial: Initial, name: str) -> None:
    torch.save(CHECKPOINT, tmp_path / "last.ckpt")
    assert "not a state_dict" in refusal(initial, name, BadWeights)


def test_a_file_that_is_one_tensor_is_no_state_dict(tmp_path: Path, initial: Initial) -> None:
    torch.save(torch.ones(1), tmp_path / "t.pt")
    assert "t.pt holds a Tensor, not a state_dict" in refusal(initial, "t.pt", BadWeights)


def test_what_keeps_a_file_from_being_read_is_named_with_the_way_out(
    tmp_path: Path, initial: Initial
) -> None:
    torch.save({**CHECKPOINT, "args": argparse.Namespace(lr=1)}, tmp_path / "args.pth.tar")
    said = refusal(initial, "args.pth.tar", BadWeights)
    assert "holds a argparse.Namespace as well" in said
    assert '["state_dict"], "model.pt")' in said
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    said = refusal(initial, "module.pt", BadWeights)
    assert "holds a torch.nn.modules.linear.Linear" in said
    assert '.state_dict(), "model.pt")' in said


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04"])
def test_a_file_that_torch_cannot_read_is_refused(
    tmp_path: Path, initial: Initial, content: bytes
) -> None:
    (tmp_path / "junk.ckpt").write_bytes(content)
    assert "is no file of plain tensors" in refusal(initial, "junk.ckpt", BadWeights)


def test_what_is_exported_for_torch_is_in_its_first_order(tmp_path: Path, initial: Initial) -> None:
    torch.save(NET, tmp_path / "m.pt")
    initial("m.pt")
    export(tmp_path / "written", tmp_path / "out.pt")
    assert list(NET) == list(torch.load(tmp_path / "out.pt", weights_only=True))


# --- containers


def test_a_container_is_taken_as_it_is(tmp_path: Path, initial: Initial) -> None:
    save_file(NET, tmp_path / "m.safetensors", metadata={"format": "pt"})
    initial("m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "written").read_bytes()


def test_a_container_has_no_keys(tmp_path: Path, initial: Initial) -> None:
    save_file(NET, tmp_path / "m.safetensors")
    assert "has no keys; write its name alone" in refusal(initial, "m.safetensors#model")


@pytest.mark.parametrize("name", ["gone.safetensors", "gone.pt", "gone.ckpt#state_dict"])
def test_a_file_that_is_not_there_is_named(initial: Initial, name: str) -> None:
    assert "there is no file" in refusal(initial, name)


# --- values that are not finite

MASKED = {"w": torch.ones(2), "mask": torch.full((2, 2), float("-inf")).triu(1)}
MADE = """
import torch

def masked():
    return {"w": torch.ones(2), "mask": torch.full((2, 2), float("-inf")).triu(1)}

def nan():
    return {"w": torch.tensor([float("nan")])}
"""


@pytest.fixture
def sources(tmp_path: Path) -> Callable[[str], list[str]]:
    """The same state, or one with NaN, in each of the forms that first weights have."""

    def write(what: str) -> list[str]:
        state = MASKED if what == "masked" else {"w": torch.tensor([float("nan")])}
        (tmp_path / "made_not_finite.py").write_text(MADE)
        torch.save(state, tmp_path / "m.pt")
        save_file(state, tmp_path / "m.safetensors")
        return [f"made_not_finite:{what}", "m.pt", "m.safetensors"]

    return write


def test_first_weights_with_infinities_are_taken_with_a_warning_that_names_them(
    initial: Initial, sources: Callable[[str], list[str]]
) -> None:
    for name in sources("masked"):
        said: list[str] = []
        assert torch.equal(MASKED["mask"], initial(name, warn=said.append)["mask"])
        assert len(said) == 1
        assert "infinite values, in 'mask'" in said[0]


def test_first_weights_with_nan_are_refused_unless_the_run_names_them(
    initial: Initial, sources: Callable[[str], list[str]]
) -> None:
    for name in sources("nan"):
        said = refusal(initial, name, NonFiniteWeights)
        assert "'w' of the first weights holds NaN" in said
        assert "learning rate" not in said
        initial(name, non_finite=["w"])


def test_tensors_that_the_run_names_are_not_warned_of(
    initial: Initial, sources: Callable[[str], list[str]]
) -> None:
    for name in sources("masked"):
        said: list[str] = []
        initial(name, non_finite=["ma*"], warn=said.append)
        assert not said
        initial(name, non_finite=["*mask", "m.sk"], warn=said.append)
        assert ["[gate] non_finite: no tensor of the first weights is called 'm.sk'"] == said


def test_of_many_tensors_with_infinities_the_first_few_are_named(
    tmp_path: Path, initial: Initial
) -> None:
    torch.save({f"m{n}": torch.tensor(float("inf")) for n in range(9)}, tmp_path / "m.pt")
    said: list[str] = []
    initial("m.pt", warn=said.append)
    assert "'m0', 'm1', 'm2', 'm3', 'm4' and 4 more" in said[0]


# --- factories


def test_a_factory_that_a_module_lacks_is_told_with_the_nearest_name(
    tmp_path: Path, initial: Initial
) -> None:
    (tmp_path / "weights_of_mine.py").write_text("def make():\n    return {}\n")
    said = refusal(initial, "weights_of_mine:mkae")
    assert "module weights_of_mine has no 'mkae'; did you mean 'make'?" in said


def test_a_module_that_is_not_there_is_told_in_a_line(tmp_path: Path, initial: Initial) -> None:
    said = refusal(initial, "no_such_module_of_mine:make")
    assert f"there is no module 'no_such_module_of_mine' in {tmp_path}" in said
    assert "\n" not in said


def test_a_name_that_is_neither_a_file_nor_a_factory_is_told_what_may_be(initial: Initial) -> None:
    for name in ("model.h5", "make", ":make", "module:"):
        assert "write module:factory, or a .safetensors, .pt, .pth or .ckpt" in refusal(
            initial, name
        )


def test_what_a_factory_raises_is_shown_with_its_place(tmp_path: Path, initial: Initial) -> None:
    (tmp_path / "raises_of_mine.py").write_text("def make():\n    return {}['x']\n")
    with pytest.raises(SettingsError, match=r"(?s)failed:.*raises_of_mine.py.*KeyError: 'x'"):
        initial("raises_of_mine:make")


KERAS = """
import numpy as np

class Layer:
    def __init__(self, name, *arrays):
        self.name, self.arrays = name, list(arrays)
    def get_weights(self):
        return self.arrays

class Model:
    def __init__(self, *layers):
        self.layers, self.extra = layers, []
    def get_weights(self):
        return [array for layer in self.layers for array in layer.arrays] + self.extra
    def set_weights(self, arrays):
        raise AssertionError
    def state_dict(self):  # as on the backend of torch
        raise AssertionError

def make():
    dense = Layer("dense", np.ones((2, 3), np.float32), np.zeros(3, np.float32))
    return Model(Layer("conv", np.ones(1)), Layer("pool"), dense)

def unbuilt():
    return Model(Layer("dense"))

def outside():
    model = make()
    model.extra.append(np.ones(1))
    return model

def forgot():
    return Model

def number():
    return 7
"""


def test_a_keras_model_gives_the_arrays_of_each_layer(tmp_path: Path, initial: Initial) -> None:
    (tmp_path / "keras_of_mine.py").write_text(KERAS)
    initial("keras_of_mine:make")
    state = load_state(tmp_path / "written", framework="numpy")

    assert ["conv", "pool", "dense"] == list(state)
    assert [1, 0, 2] == [len(arrays) for arrays in state.values()]
    np.testing.assert_array_equal(np.ones((2, 3)), state["dense"][0])


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("unbuilt", "no weights yet: begin it with an Input"),
        ("outside", "weights outside of its layers"),
        ("forgot", "made the class Model: return Model()"),
        ("number", "made a int: return a torch module, a Keras model, or a dict"),
    ],
)
def test_what_is_no_weights_is_told_what_to_return(
    tmp_path: Path, initial: Initial, factory: str, says: str
) -> None:
    (tmp_path / "keras_of_mine.py").write_text(KERAS)
    assert says in refusal(initial, f"keras_of_mine:{factory}")


# --- modules with the name of one of the standard library


def test_a_module_that_the_standard_library_has_is_told_as_that(
    tmp_path: Path, initial: Initial
) -> None:
    assert "site is a module of Python's standard library, and there is none in" in refusal(
        initial, "site:Net"
    )
    (tmp_path / "site.py").write_text("def make():\n    return {}\n")
    said = refusal(initial, "site:make")
    assert f"{tmp_path / 'site.py'} has the name of a module of Python's standard library" in said
    assert said.endswith("rename it")


@pytest.mark.parametrize(
    ("initial", "says"),
    [
        ("nomod:Net", "there is no module 'nomod' in {folder}, and none is installed"),
        ("trian:Net", "there is no module 'trian' in {folder}; did you mean 'train'?"),
        ("package.nomod:Net", "there is no module 'package.nomod' in {folder}"),
    ],
)
def test_a_module_that_is_not_there_is_one_line(tmp_path: Path, initial: str, says: str) -> None:
    """Bug: it was a traceback."""
    (tmp_path / "train.py").touch()
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").touch()
    with pytest.raises(SettingsError) as raised:
        write_initial(initial, tmp_path / "w", folder=tmp_path, seed=0)
    assert says.format(folder=tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_module_that_misses_another_one_is_told_with_where(tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(SettingsError) as raised:
        write_initial("needy:Net", tmp_path / "w", folder=tmp_path, seed=0)
    assert "No module named 'nothing_of_that_name'" in str(raised.value)
    assert "needy.py" in str(raised.value)
