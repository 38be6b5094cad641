"""What weights may hold that is no finite number, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tasuki.errors import NonFiniteWeights
from tasuki.weights.container import (
    DTYPES,
    FirstWeights,
    Look,
    ResultOf,
    TensorSpec,
    WrittenWeights,
    exempting,
    fits,
    look_through,
    open_excerpts,
    write_weights,
)

# An element of each type that is an infinity, the same with the other sign, and one that is NaN.
INFINITE = [
    ("F64", "<u8", 0x7FF0 << 48, 0xFFF0 << 48),
    ("F32", "<u4", 0x7F800000, 0xFF800000),
    ("C64", "<u4", 0x7F800000, 0xFF800000),
    ("F16", "<u2", 0x7C00, 0xFC00),
    ("BF16", "<u2", 0x7F80, 0xFF80),
    ("F8_E5M2", "u1", 0x7C, 0xFC),
]
NAN = [
    ("F64", "<u8", 0x7FF8 << 48),
    ("F32", "<u4", 0x7F800001),
    ("C64", "<u4", 0x7F800001),
    ("F16", "<u2", 0x7E00),
    ("BF16", "<u2", 0xFFC0),
    ("F8_E5M2", "u1", 0xFE),
    ("F8_E4M3", "u1", 0xFF),
    ("F8_E4M3FNUZ", "u1", 0x80),
    ("F8_E5M2FNUZ", "u1", 0x80),
    ("F8_E8M0", "u1", 0xFF),
]
LARGEST = [
    ("F64", "<u8", (0x7FF0 << 48) - 1),
    ("F32", "<u4", 0x7F7FFFFF),
    ("F16", "<u2", 0x7BFF),
    ("BF16", "<u2", 0xFF7F),
    ("F8_E5M2", "u1", 0x7B),
    ("F8_E4M3", "u1", 0x7E),
    ("F8_E4M3FNUZ", "u1", 0xFF),
    ("F8_E5M2FNUZ", "u1", 0x7F),
    ("F8_E8M0", "u1", 0xFE),
    ("I32", "<u4", 0x7F800000),
    ("BOOL", "u1", 1),
]


def write(
    path: Path, dtype: str, words: list[int] | np.ndarray, word: str, look: Look | None = None
) -> WrittenWeights:
    data = np.asarray(words, dtype=word).tobytes()
    shape = (len(data) // DTYPES[dtype].size,)
    return write_weights(
        path, [(TensorSpec(name="layer", dtype=dtype, shape=shape), data)], look=look
    )


@contextmanager
def result_of(path: Path, dtype: str, words: list[int] | np.ndarray, word: str) -> Iterator[Look]:
    """Judges results of these received weights."""
    write(path / "received", dtype, words, word)
    with open_excerpts(path / "received") as received:
        yield ResultOf(received).look


@pytest.mark.parametrize(("dtype", "word", "inf", "minus"), INFINITE)
def test_infinities_that_stay_where_they_were_pass(
    tmp_path: Path, dtype: str, word: str, inf: int, minus: int
) -> None:
    before = [0, inf, minus, 1]
    with result_of(tmp_path, dtype, before, word) as look:
        write(tmp_path / "same", dtype, [1, inf, minus, 0], word, look)
        write(tmp_path / "fewer", dtype, [1, 0, minus, 0], word, look)
        for after in ([inf, inf, minus, 1], [0, inf, minus, minus], [0, minus, minus, 1]):
            with pytest.raises(NonFiniteWeights, match="'layer' holds Inf where there was none"):
                write(tmp_path / "new", dtype, after, word, look)


@pytest.mark.parametrize(("dtype", "word", "inf", "_"), INFINITE)
def test_first_weights_may_hold_infinities_and_say_so(
    tmp_path: Path, dtype: str, word: str, inf: int, _: int
) -> None:
    first = FirstWeights()
    write(tmp_path / "w", dtype, [0, inf], word, first.look)

    assert ["layer"] == list(first.infinite)


@pytest.mark.parametrize(("dtype", "word", "nan"), NAN)
def test_nan_is_refused_wherever_it_is(tmp_path: Path, dtype: str, word: str, nan: int) -> None:
    with pytest.raises(NonFiniteWeights, match="'layer' of the first weights holds NaN"):
        write(tmp_path / "first", dtype, [0, nan], word, FirstWeights().look)
    with (
        result_of(tmp_path, dtype, [0, nan], word) as look,
        pytest.raises(NonFiniteWeights, match="'layer' holds NaN"),
    ):
        write(tmp_path / "result", dtype, [0, nan], word, look)


@pytest.mark.parametrize(("dtype", "word", "largest"), LARGEST)
def test_the_largest_finite_value_passes(
    tmp_path: Path, dtype: str, word: str, largest: int
) -> None:
    first = FirstWeights()
    write(tmp_path / "first", dtype, [0, largest], word, first.look)
    assert not first.infinite
    with result_of(tmp_path, dtype, [0, 0], word) as look:
        write(tmp_path / "result", dtype, [0, largest], word, look)


def test_the_check_reaches_the_last_element_of_many_blocks(tmp_path: Path) -> None:
    received = np.zeros(700_000, dtype=np.float32)
    received[400_000:] = np.inf
    with result_of(tmp_path, "F32", received.view(np.uint32), "<u4") as look:
        write(tmp_path / "same", "F32", received.view(np.uint32), "<u4", look)
        received[-1] = -np.inf
        with pytest.raises(NonFiniteWeights, match="Inf"):
            write(tmp_path / "new", "F32", received.view(np.uint32), "<u4", look)


def test_advice_fits_what_happened(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteWeights) as first:
        write(tmp_path / "first", "F32", [0x7FC00000], "<u4", FirstWeights().look)
    assert "learning rate" not in str(first.value)
    assert "[gate] non_finite" in str(first.value)
    with (
        result_of(tmp_path, "F16", [0], "<u2") as look,
        pytest.raises(NonFiniteWeights) as result,
    ):
        write(tmp_path / "result", "F16", [0x7C00], "<u2", look)
    assert "lower the learning rate or clip the gradients" in str(result.value)
    assert "F16 ends at 65504" in str(result.value)


@pytest.mark.parametrize("patterns", [["layer"], ["*"], ["alias"], ["al?as", "other"]])
def test_tensors_that_the_run_names_may_hold_anything(tmp_path: Path, patterns: list[str]) -> None:
    path, nan = tmp_path / "w", np.full(2, np.nan, dtype=np.float32)
    spec = TensorSpec(name="layer", dtype="F32", shape=(2,))
    written = write_weights(path, [(spec, nan.data)], tied={"alias": "layer"})

    look = exempting(FirstWeights().look, written.manifest, patterns)
    look_through(path, lambda _: look)
    with pytest.raises(NonFiniteWeights):
        look_through(path, lambda m: exempting(FirstWeights().look, m, ["lay", "*.mask"]))


def test_a_name_with_brackets_is_matched_as_it_stands() -> None:
    assert fits("layers[0].mask", ["layers[0].mask"])
    assert fits("layers[0].mask", ["layers*.mask"])
    assert not fits("layers[0].mask", ["layers[1].mask"])
