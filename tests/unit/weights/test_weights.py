"""The weights container: what is written is what safetensors writes, and what is read back."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import blake3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import TensorSpec as TheirSpec
from safetensors import safe_open, serialize
from safetensors.numpy import load_file, save_file

from tasuki.errors import BadWeights, DigestMismatch, WeightsError
from tasuki.weights.container import (
    DTYPES,
    FirstWeights,
    Manifest,
    TensorSpec,
    WrittenWeights,
    open_weights,
    read_manifest,
    write_weights,
)
from tasuki.weights.digest import Hasher, parse_digest, verify_digest

Tensors = list[tuple[TensorSpec, bytes]]

NAMES = st.text(min_size=1, max_size=12).filter(
    lambda name: name != "__metadata__" and not any("\ud800" <= c <= "\udfff" for c in name)
)
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@st.composite
def states(draw: st.DrawFn) -> Tensors:
    names = draw(st.lists(NAMES, max_size=6, unique=True))
    specs = [
        TensorSpec(name=name, dtype=draw(st.sampled_from(list(DTYPES))), shape=draw(SHAPES))
        for name in names
    ]
    return [(spec, draw(st.binary(min_size=spec.size, max_size=spec.size))) for spec in specs]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # One for all examples of a property: a file is written anew by each.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def spec(name: str, dtype: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def library_bytes(tensors: Tensors, *, metadata: dict[str, str] | None = None) -> bytes:
    theirs, keep = {}, []
    for mine, data in tensors:
        array = np.frombuffer(data, dtype=np.uint8)
        keep.append(array)
        theirs[mine.name] = TheirSpec(
            dtype=DTYPES[mine.dtype].name,
            shape=mine.shape,
            data_ptr=array.ctypes.data,
            data_len=len(data),
        )
    return bytes(serialize(theirs, metadata=metadata))


@settings(max_examples=50)
@given(tensors=states())
def test_any_state_is_written_byte_for_byte_as_the_library_writes_it(
    folder: Path, tensors: Tensors
) -> None:
    path = folder / "identical"
    written = write_weights(path, tensors)

    assert library_bytes(tensors) == path.read_bytes()
    assert path.stat().st_size == written.size


@settings(max_examples=50)
@given(tensors=states())
def test_any_state_comes_back_bit_for_bit(folder: Path, tensors: Tensors) -> None:
    path = folder / "round-trip"
    written = write_weights(path, tensors)

    with open_weights(path, expect=written.digest) as file:
        read = {found: bytes(view) for found, view in file.tensors()}

    assert dict(tensors) == read
    assert written.manifest == read_manifest(path)


def test_the_file_that_numpy_users_of_the_library_write_is_the_same(tmp_path: Path) -> None:
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(7)}
    save_file(arrays, tmp_path / "theirs")
    tensors = [
        (spec("b", "F32", 2, 3), arrays["b"].tobytes()),
        (spec("a", "I64"), arrays["a"].tobytes()),
    ]
    write_weights(tmp_path / "ours", tensors)

    assert (tmp_path / "theirs").read_bytes() == (tmp_path / "ours").read_bytes()


def test_the_order_in_which_tensors_are_given_does_not_matter(tmp_path: Path) -> None:
    tensors = [(spec(f"of {dtype}", dtype), bytes(DTYPES[dtype].size)) for dtype in DTYPES]
    forth = write_weights(tmp_path / "forth", tensors)
    back = write_weights(tmp_path / "back", reversed(tensors))

    assert forth == back


def test_the_digest_is_the_one_of_the_files_bytes(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    written = write_weights(path, [(spec("w", "U8", 3), b"abc")])

    expected = f"blake3:{blake3.blake3(path.read_bytes()).hexdigest()}"
    assert expected == written.digest
    assert expected == verify_digest(path)


def test_weights_with_another_digest_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    written = write_weights(path, [(spec("w", "U8", 3), b"abc")])
    path.write_bytes(path.read_bytes()[:-1] + b"d")

    with pytest.raises(DigestMismatch, match=written.digest):
        open_weights(path, expect=written.digest)


@pytest.mark.parametrize(
    "text", ["", "blake3:", "blake3:" + "A" * 64, "sha256:" + "a" * 64, "blake3:" + "a" * 64 + "\n"]
)
def test_other_texts_are_no_digests(text: str) -> None:
    with pytest.raises(WeightsError, match="blake3: and 64"):
        parse_digest(text)


def test_a_digest_does_not_depend_on_how_its_bytes_were_cut() -> None:
    whole, cut = Hasher(), Hasher()
    whole.update(b"abcdef")
    for piece in (b"a", memoryview(b"bcd"), bytearray(b"ef")):
        cut.update(piece)

    assert whole.digest() == cut.digest() == parse_digest(cut.digest())


def test_aliases_are_stored_once_and_restored(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    tensors: Tensors = [(spec("embed", "U8", 3), b"abc"), (spec("bias", "U8", 1), b"z")]
    tied = {"second": "embed", "head": "embed"}
    written = write_weights(path, tensors, tied=tied)

    with open_weights(path) as file:
        read = {found.name: (found, bytes(view)) for found, view in file.tensors()}
    assert (spec("head", "U8", 3), b"abc") == read["head"]
    assert tied == read_manifest(path).tied
    metadata = {"tied": '{"head":"embed","second":"embed"}'}
    assert library_bytes(tensors, metadata=metadata) == path.read_bytes()
    assert path.stat().st_size == written.size


LISTED = ["norm.weight", "norm.bias", "head", "n"]


def listed(path: Path, order: list[str]) -> WrittenWeights:
    """A network as torch lists it: its parameters, an alias among them, and a counter."""
    tensors = [
        (spec("norm.weight", "F32", 1), b"wwww"),
        (spec("norm.bias", "F32", 1), b"bbbb"),
        (spec("n", "I64"), bytes(8)),
    ]
    return write_weights(path, tensors, tied={"head": "norm.weight"}, order=order)


def test_the_order_in_which_tensors_were_listed_is_kept(tmp_path: Path) -> None:
    written = listed(tmp_path / "w", LISTED)

    assert ["n", "norm.bias", "norm.weight"] == [each.name for each in written.manifest.tensors]
    assert tuple(LISTED) == written.manifest.names
    assert written.manifest == read_manifest(tmp_path / "w")


def test_the_library_reads_a_file_that_keeps_an_order(tmp_path: Path) -> None:
    listed(tmp_path / "w", LISTED)

    assert {"n", "norm.bias", "norm.weight"} == load_file(tmp_path / "w").keys()
    with safe_open(tmp_path / "w", "numpy") as file:
        kept = {"tied": '{"head":"norm.weight"}', "tasuki_order": "[2,1,3,0]"}
        assert kept == file.metadata()


def test_an_order_alone_is_written_as_the_library_writes_metadata(tmp_path: Path) -> None:
    tensors = [(spec("w", "U8"), b"w"), (spec("b", "U8"), b"b")]
    write_weights(tmp_path / "w", tensors, order=["w", "b"])

    metadata = {"tasuki_order": "[1,0]"}
    assert library_bytes(tensors, metadata=metadata) == (tmp_path / "w").read_bytes()


def test_the_order_of_the_bytes_need_not_be_said(tmp_path: Path) -> None:
    unsaid = listed(tmp_path / "unsaid", [])
    said = listed(tmp_path / "said", ["n", "norm.bias", "norm.weight", "head"])

    assert unsaid == said
    assert ("n", "norm.bias", "norm.weight", "head") == unsaid.manifest.names


def test_an_order_that_lists_other_tensors_is_not_written(tmp_path: Path) -> None:
    for order in (LISTED[1:], [*LISTED, "n"], [*LISTED[1:], "m"]):
        with pytest.raises(BadWeights, match="every tensor once"):
            listed(tmp_path / "w", order)


def test_contents_may_be_made_piece_by_piece_when_their_turn_comes(tmp_path: Path) -> None:
    made: list[str] = []

    def pieces() -> Iterator[bytes]:
        made.append("now")
        yield from (b"ab", b"", b"cd")

    tensors = [(spec("late", "U8", 4), pieces)]
    assert made == []
    write_weights(tmp_path / "pieces", tensors)
    write_weights(tmp_path / "whole", [(spec("late", "U8", 4), b"abcd")])

    assert made == ["now"]
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "pieces").read_bytes()


def test_contents_of_another_size_than_declared_are_our_own_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="should have 4 bytes"):
        write_weights(tmp_path / "weights", [(spec("w", "F32", 1), b"abc")])


def test_writing_and_verifying_many_blocks_takes_few_of_memory(tmp_path: Path) -> None:
    path, data = tmp_path / "w", np.ones(8 * 2**20, dtype=np.float32).data
    tracemalloc.start()
    look = FirstWeights().look
    written = write_weights(path, [(spec("w", "F32", len(data)), data)], look=look)
    open_weights(path, expect=written.digest).close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4 * 2**20


@pytest.mark.parametrize(
    ("tensors", "tied", "message"),
    [
        ([("a", "F4", 1)], {}, "dtype 'F4'"),
        ([("a", "U8", -1)], {}, "negative"),
        ([("a", "U8", 2**62, 2**62, 0)], {}, "too large"),
        ([("a", "U8", *[1] * 33)], {}, "more than 32 dimensions"),
        ([("a", "U8", 0), ("a", "I8", 0)], {}, "two tensors"),
        ([("__metadata__", "U8", 0)], {}, "no tensor may be named"),
        ([("a\ud800", "U8", 0)], {}, "not valid Unicode"),
        ([("a", "U8", 0)], {"a": "a"}, "two tensors"),
        ([("a", "U8", 0)], {"b": "c"}, "no such tensor"),
        ([("a", "U8", 0)], {"b": "a", "c": "b"}, "itself an alias"),
        ([("a", "U8", 0)], {"b\udfff": "a"}, "not valid Unicode"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(
    tmp_path: Path, tensors: list[tuple[str, str, int]], tied: dict[str, str], message: str
) -> None:
    with pytest.raises(BadWeights, match=message):
        write_weights(tmp_path / "w", [(spec(*args), b"") for args in tensors], tied=tied)
    assert not (tmp_path / "w").exists()


WANTED = Manifest(
    tensors=(spec("fc.weight", "F32", 10, 5), spec("fc.bias", "F32", 10)),
    tied={"head": "fc.weight"},
)


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (Manifest(tensors=WANTED.tensors[::-1], tied=WANTED.tied), None),
        (
            Manifest(tensors=WANTED.tensors[:1], tied=WANTED.tied),
            "tensor 'fc.bias' is missing",
        ),
        (
            Manifest(tensors=(*WANTED.tensors, spec("extra", "U8")), tied=WANTED.tied),
            "tensor 'extra' does not belong here",
        ),
        (
            Manifest(tensors=(WANTED.tensors[0], spec("fc.bias", "F32", 3)), tied=WANTED.tied),
            "tensor 'fc.bias' has shape [3] instead of [10]",
        ),
        (
            Manifest(tensors=(WANTED.tensors[0], spec("fc.bias", "F16", 10)), tied=WANTED.tied),
            "tensor 'fc.bias' has dtype F16 instead of F32",
        ),
        (
            Manifest(tensors=(*WANTED.tensors, spec("head", "F32", 10, 5))),
            "tensor 'head' is separate instead of tied to 'fc.weight'",
        ),
        (Manifest(tensors=()), "tensor 'fc.weight' is missing (and 2 more differences)"),
    ],
)
def test_a_difference_is_told_in_a_sentence(got: Manifest, message: str | None) -> None:
    assert message == WANTED.difference(got)


def test_views_stay_good_after_the_file_is_closed_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "w"
    write_weights(path, [(spec("w", "U8", 3), b"abc")])
    with open_weights(path) as file:
        (_, view), *_ = file.tensors()
    path.unlink()

    assert bytes(view) == b"abc"
    assert view.readonly


def test_what_is_written_to_a_private_map_does_not_reach_the_file(tmp_path: Path) -> None:
    path = tmp_path / "w"
    written = write_weights(path, [(spec("w", "U8", 3), b"abc")])
    with open_weights(path, private=True) as file:
        (_, view), *_ = file.tensors()
        view[0] = 0

    assert bytes(view) == b"\0bc"
    assert written.digest == verify_digest(path)


def test_tensors_may_be_written_over_the_file_that_they_lie_in(tmp_path: Path) -> None:
    path = tmp_path / "w"
    written = write_weights(path, [(spec("w", "U8", 3), b"abc")])
    with open_weights(path) as file:
        assert write_weights(path, file.tensors()) == written

    assert verify_digest(path) == written.digest
