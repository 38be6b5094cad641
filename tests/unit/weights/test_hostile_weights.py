"""Files that somebody made to do harm, or that came to harm: all are refused, and cheaply."""

from __future__ import annotations

import json
import os
import pickle
import re
import tempfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load

from tasuki.errors import BadWeights
from tasuki.weights.container import (
    TensorSpec,
    open_weights,
    read_manifest,
    write_weights,
)
from tasuki.weights.digest import verify_digest

MIB = 2**20


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def container(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def entry(dtype: object = "U8", shape: object = (4,), offsets: object = (0, 4)) -> Any:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def of(header: object, data: bytes = b"abcd") -> bytes:
    return container(json.dumps(header).encode(), data)


def raw(text: str, data: bytes = b"abcd") -> bytes:
    return container(text.encode(), data)


GOOD = '{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'
TIED = {"a": entry()}

HOSTILE = {
    "an empty file": (b"", "cut off"),
    "half a length": (b"\1\0\0", "only 3 bytes"),
    "no header": ((8).to_bytes(8, "little"), "within its header"),
    "a header longer than the file": ((5000).to_bytes(8, "little") + b"{}", "within its header"),
    "a header over the cap": ((16 * MIB + 1).to_bytes(8, "little") + b"{}", "more than the"),
    "the largest length": (b"\xff" * 8 + b"{}", "more than the"),
    "an empty header": (container(b""), "not valid JSON"),
    "a list": (raw("[]"), "an object should begin"),
    "a number": (raw("1"), "an object should begin"),
    "no UTF-8": (container(b'{"\xff":' + GOOD.encode() + b"}", b"abcd"), "not valid"),
    "UTF-16": (container('{"a":1}'.encode("utf-16")), "an object should begin"),
    "an entry in UTF-16": (
        container(b'{"a":' + GOOD.encode("utf-16-le") + b"}", b"abcd"),
        "not valid JSON",
    ),
    "half a surrogate pair": (raw(f'{{"\\ud800":{GOOD}}}'), "not valid Unicode"),
    "an unknown escape": (raw(f'{{"\\x":{GOOD}}}'), "not valid"),
    "no end": (raw(f'{{"a":{GOOD}'), "comma or the end"),
    "no colon": (raw(f'{{"a"{GOOD}}}'), "colon"),
    "a comma too many": (raw(f'{{"a":{GOOD},}}'), "a string should begin"),
    "text after the end": (raw(f'{{"a":{GOOD}}}x'), "should end"),
    "two objects": (raw(f'{{"a":{GOOD}}}{{}}'), "should end"),
    "the same tensor twice": (raw(f'{{"a":{GOOD},"a":{GOOD}}}'), "two tensors"),
    "the same tensor in two spellings": (raw(f'{{"a":{GOOD},"\\u0061":{GOOD}}}'), "two tensors"),
    "a key of an entry twice": (raw(f'{{"a":{GOOD[:-1]},"dtype":"U8"}}}}'), "once each"),
    "metadata twice": (raw(f'{{"__metadata__":{{}},"a":{GOOD},"__metadata__":{{}}}}'), "twice"),
    "a list in the place of an entry": (of({"a": []}), "flat object"),
    "nothing in an entry": (of({"a": {}}, b""), "must have dtype"),
    "a key missing": (of({"a": {"dtype": "U8", "shape": [4]}}), "must have dtype"),
    "a key too many": (of({"a": {**entry(), "more": 1}}), "must have dtype"),
    "nested objects": (of({"a": {"dtype": {}, "shape": [], "data_offsets": []}}), "flat object"),
    "nested lists": (of({"a": entry(shape=[[4]])}), "flat object"),
    "an unknown dtype": (of({"a": entry(dtype="F4")}), "dtype 'F4'"),
    "a dtype of another type": (of({"a": entry(dtype=8)}), "not a string"),
    "a negative shape": (of({"a": entry(shape=[-4])}), "whole numbers"),
    "a bool in the shape": (of({"a": entry(shape=[4, True])}), "whole numbers"),
    "a float in the shape": (of({"a": entry(shape=[4.0])}), "whole numbers"),
    "an exponent in the shape": (raw(f'{{"a":{GOOD.replace("[4]", "[4e0]")}}}'), "whole numbers"),
    "NaN in the shape": (raw(f'{{"a":{GOOD.replace("[4]", "[NaN]")}}}'), "whole numbers"),
    "null as the shape": (of({"a": entry(shape=None)}), "whole numbers"),
    "a shape over 64 bits": (of({"a": entry(shape=[2**64])}), "whole numbers"),
    "a number of 1200 digits": (of({"a": entry(shape=[10**1200])}), "whole numbers"),
    "a shape whose product overflows": (of({"a": entry(shape=[2**62, 2**62])}), "too large"),
    "the same with a zero": (of({"a": entry(shape=[2**62, 2**62, 0])}), "too large"),
    "too many dimensions": (of({"a": entry(shape=[1] * 33)}), "32 dimensions"),
    "a leading zero": (raw(f'{{"a":{GOOD.replace("[4]", "[04]")}}}'), "not valid JSON"),
    "one offset": (of({"a": entry(offsets=[4])}), "data_offsets"),
    "three offsets": (of({"a": entry(offsets=[0, 4, 4])}), "data_offsets"),
    "a negative offset": (of({"a": entry(offsets=[-4, 0])}), "data_offsets"),
    "offsets backwards": (of({"a": entry(offsets=[0, 0])}), "should take 4 bytes"),
    "a size that is not the shape's": (of({"a": entry(shape=[3])}), "should take 3 bytes"),
    "offsets beyond the file": (of({"a": entry(shape=[8], offsets=[0, 8])}), "4 bytes of tensors"),
    "trailing bytes": (of({"a": entry()}, b"abcdef"), "2 bytes follow"),
    "data and no tensors": (of({}), "4 bytes follow"),
    "a hole at the beginning": (of({"a": entry(offsets=[1, 5])}, b"abcde"), "hole"),
    "a hole": (of({"a": entry(), "b": entry(offsets=[5, 9])}, b"123456789"), "hole"),
    "an overlap": (of({"a": entry(), "b": entry(offsets=[3, 7])}, b"1234567"), "overlaps"),
    "the same bytes for two": (of({"a": entry(), "b": entry()}), "overlaps"),
    "metadata that is a list": (of({"__metadata__": [], "a": entry()}), "an object should begin"),
    "metadata that is null": (of({"__metadata__": None, "a": entry()}), "an object should begin"),
    "metadata that is a tensor": (of({"__metadata__": entry()}), "a string should begin"),
    "a number in the metadata": (of({"__metadata__": {"a": 1}}), "a string should begin"),
    "an object in the metadata": (of({"__metadata__": {"a": {}}}), "a string should begin"),
    "a key of the metadata twice": (raw('{"__metadata__":{"a":"","a":""}}'), "twice"),
    "much metadata": (of({"__metadata__": {str(n): "" for n in range(5000)}}), "more than"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_malformed_file_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "hostile"
    path.write_bytes(content)

    for read in (read_manifest, open_weights):
        with pytest.raises(BadWeights, match=re.escape(message)) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    ("tied", "message"),
    [
        ("", "an object should begin"),
        ("[]", "an object should begin"),
        ("{", "a string should begin"),
        ('{"b":"a"} x', "should end"),
        ('{"b":1}', "a string should begin"),
        ('{"b":"a","b":"a"}', "twice"),
        ('{"b":"gone"}', "no such tensor"),
        ('{"b":"a","c":"b"}', "itself an alias"),
        ('{"b":"b"}', "itself an alias"),
        ('{"a":"a"}', "two tensors"),
        ('{"__metadata__":"a"}', "no tensor may be named"),
        ('{"\\ud800":"a"}', "not valid Unicode"),
        ("\ud800", "not valid Unicode"),
        ("[" * 100_000, "an object should begin"),
    ],
)
def test_ties_that_cannot_be_are_refused(tmp_path: Path, tied: str, message: str) -> None:
    path = tmp_path / "hostile"
    path.write_bytes(of({"__metadata__": {"tied": tied}, **TIED}))

    with pytest.raises(BadWeights, match=message):
        read_manifest(path)


@pytest.mark.parametrize(
    "order",
    ["", "0", "[]", "[0]", "[0,0]", "[0,2]", "[0,1,2]", "[1, 0]", "[1,-0]", "[1,0.0]", "[01,0]x"],
)
def test_an_order_that_cannot_be_is_refused(tmp_path: Path, order: str) -> None:
    path = tmp_path / "hostile"
    path.write_bytes(of({"__metadata__": {"tied": '{"b":"a"}', "tasuki_order": order}, **TIED}))

    with pytest.raises(BadWeights, match="is not one of 2 tensors"):
        read_manifest(path)


def test_a_file_of_another_tool_is_read(tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    header = {
        "__metadata__": {"format": "pt", "a}{": "{[\\"},
        "z": entry(),
        "é": entry("I8", [], [4, 5]),
    }
    path.write_bytes(container(json.dumps(header, indent=4).encode() + b"\n ", b"abcde"))

    expected = (
        TensorSpec(name="z", dtype="U8", shape=(4,)),
        TensorSpec(name="é", dtype="I8", shape=()),
    )
    assert expected == read_manifest(path).tensors


def test_a_pickle_is_recognised_and_its_conversion_told(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    for protocol in range(2, 6):
        path.write_bytes(pickle.dumps({"weights": [1.0] * 50}, protocol=protocol))
        with pytest.raises(BadWeights, match=r"PyTorch checkpoint.*weights_only=True"):
            read_manifest(path)


def test_a_zip_is_recognised_and_its_conversion_told(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"")

    with pytest.raises(BadWeights, match=r"PyTorch checkpoint.*weights_only=True"):
        open_weights(path)


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(container(b"{}".ljust(0x0280)))
    assert read_manifest(path).tensors == ()

    path.write_bytes(container(b"{]".ljust(0x0280)))
    with pytest.raises(BadWeights, match="not valid JSON"):
        read_manifest(path)


def test_a_folder_and_a_pipe_are_no_weights(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    for path in (tmp_path, pipe):
        for read in (read_manifest, open_weights, verify_digest):
            with pytest.raises(BadWeights, match="not a regular file"):
                read(path)


BOMBS = {
    "lists in lists": b'{"a":' + b"[" * (8 * MIB),
    "lists in an entry": b'{"a":{"shape":' + b"[" * (8 * MIB),
    "objects in objects": b'{"a":' * (MIB),
    "a long list": b'{"a":{"shape":[' + b"1," * (4 * MIB),
    "many lists": b'{"a":[' + b"[]," * (3 * MIB),
    "a long number": b'{"a":{"shape":[' + b"1" * (8 * MIB) + b"]}}",
    "a name without an end": b'{"' + b"a" * (8 * MIB),
    "a name of escapes": b'{"' + rb"\"" * (4 * MIB),
    "many quotes": b'{"a":"' + b'"' * (8 * MIB),
    "spaces": b'{"a"' + b" " * (8 * MIB),
    "a long name": b'{"' + b"a" * (8 * MIB) + b'":1}',
    "many names in the metadata": b'{"__metadata__":{'
    + b",".join(b'"%d":""' % n for n in range(MIB)),
    "a long order": b'{"__metadata__":{"tasuki_order":"[' + b"1," * (4 * MIB) + b'1]"}}',
    "a long value in the metadata": b'{"__metadata__":{"tied":"' + b"[" * (8 * MIB) + b'"}}',
}


@pytest.mark.parametrize("header", BOMBS.values(), ids=BOMBS.keys())
def test_a_header_made_to_grow_costs_a_few_times_its_size(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(container(header))

    with _at_most(48 * MIB), pytest.raises(BadWeights):
        read_manifest(path)


def test_more_tensors_than_any_model_has_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "many"
    empty = '{"dtype":"U8","shape":[],"data_offsets":[0,1]}'
    path.write_bytes(raw("{" + ",".join(f'"{n}":{empty}' for n in range(100_001)) + "}"))

    with pytest.raises(BadWeights, match="more than the 100000 tensors"):
        read_manifest(path)


class _at_most:  # noqa: N801 - it reads as a function
    def __init__(self, limit: int) -> None:
        self._limit = limit

    def __enter__(self) -> None:
        tracemalloc.start()

    def __exit__(self, *exc: object) -> None:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < self._limit


@pytest.fixture(scope="module")
def sound(folder: Path) -> bytes:
    path = folder / "sound"
    specs = [
        TensorSpec(name="layer.weight", dtype="F32", shape=(2, 3)),
        TensorSpec(name="layer.bias", dtype="BF16", shape=(3,)),
        TensorSpec(name="empty", dtype="I64", shape=(0, 2)),
    ]
    contents = ((spec, bytes(spec.size)) for spec in specs)
    order = ["layer.weight", "layer.bias", "head", "empty"]
    write_weights(path, contents, tied={"head": "layer.weight"}, order=order)
    return path.read_bytes()


@settings(max_examples=50)
@given(data=st.data())
def test_a_truncated_file_is_refused(folder: Path, sound: bytes, data: st.DataObject) -> None:
    path = folder / "truncated"
    path.write_bytes(sound[: data.draw(st.integers(0, len(sound) - 1))])

    with pytest.raises(BadWeights):
        read_manifest(path)


@settings(max_examples=50)
@given(data=st.data())
def test_damaged_bytes_are_refused_or_harmless(
    folder: Path, sound: bytes, data: st.DataObject
) -> None:
    path, damaged = folder / "damaged", bytearray(sound)
    at = st.integers(0, len(sound) - 1)
    for place, value in data.draw(st.lists(st.tuples(at, st.integers(0, 255)), max_size=4)):
        damaged[place] = value
    path.write_bytes(damaged)

    with _at_most(MIB):
        _read_everything(path)
    _refused_by_both_or_by_us(path)


@settings(max_examples=50)
@given(header=st.binary(max_size=200), tail=st.binary(max_size=20))
def test_random_bytes_are_refused_or_harmless(folder: Path, header: bytes, tail: bytes) -> None:
    path = folder / "random"
    for content in (header + tail, container(header, tail), container(b"{" + header, tail)):
        path.write_bytes(content)
        _read_everything(path)
        _refused_by_both_or_by_us(path)


def _read_everything(path: Path) -> None:
    """Any exception but the one type fails the test."""
    try:
        with open_weights(path) as file:
            assert (
                sum(
                    len(view)
                    for spec, view in file.tensors()
                    if spec.name not in file.manifest.tied
                )
                == file.manifest.size
            )
    except BadWeights:
        return


def _refused_by_both_or_by_us(path: Path) -> None:
    """What the library refuses we refuse too; we are the stricter."""
    try:
        load(path.read_bytes())
    except SafetensorError:
        with pytest.raises(BadWeights):
            read_manifest(path)
    except KeyError:  # a type that NumPy does not have
        return
