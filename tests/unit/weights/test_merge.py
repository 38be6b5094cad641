"""Weights of several lanes become what a plain loop over their elements makes of them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from support.plain_merge import (
    FORMATS,
    State,
    plain_mean,
    plain_merge,
    plain_rounded,
    plain_weights,
)
from tasuki.core.model import WeightsRef
from tasuki.errors import BadWeights, ManifestMismatch, StorageError, WeightsError
from tasuki.weights.container import (
    DTYPES,
    MERGEABLE,
    TensorSpec,
    open_weights,
    read_manifest,
    widened,
    write_weights,
)
from tasuki.weights.container.merge import STEP, Part, check_mergeable, merge
from tasuki.weights.digest import verify_digest

UNMERGEABLE = [code for code, each in DTYPES.items() if each.is_floating and code not in MERGEABLE]
EXACT = [code for code in DTYPES if code not in UNMERGEABLE and code not in MERGEABLE]
SAMPLES = st.one_of(st.integers(0, 5), st.integers(0, 2**63))
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # One for all examples of a property: its files are written anew by each.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What lanes end with: tensors, and of each tensor its bits in every lane."""

    samples: list[int]
    tensors: list[tuple[TensorSpec, list[list[int]]]]

    def parts(self, folder: Path) -> list[Part]:
        parts = []
        for lane, samples in enumerate(self.samples):
            path = folder / f"lane-{lane}"
            write_weights(path, self.of_lane(lane))
            parts.append(Part(path=path, samples=samples))
        return parts

    def of_lane(self, lane: int) -> list[tuple[TensorSpec, bytes]]:
        return [(spec, packed(spec.dtype, lanes[lane])) for spec, lanes in self.tensors]

    def merged(self, *, equally: bool) -> list[tuple[TensorSpec, bytes]]:
        weights = plain_weights(self.samples, equally=equally)
        most = self.samples.index(max(self.samples))
        merged = []
        for spec, lanes in self.tensors:
            bits = lanes[most] if spec.dtype in EXACT else means(spec.dtype, lanes, weights)
            merged.append((spec, packed(spec.dtype, bits)))
        return merged


def means(dtype: str, lanes: list[list[int]], weights: list[float]) -> list[int]:
    counting = [lane for lane, weight in zip(lanes, weights, strict=True) if weight]
    numbers = [widened(dtype, memoryview(packed(dtype, lane))) for lane in counting]
    return [
        bits[0]
        if len(set(bits)) == 1
        else plain_rounded(dtype, plain_mean([float(lane[at]) for lane in numbers], weights))
        for at, bits in enumerate(zip(*counting, strict=True))
    ]


def packed(dtype: str, bits: Sequence[int]) -> bytes:
    return np.array(bits, dtype=f"<u{DTYPES[dtype].size}").tobytes()


def elements(dtype: str) -> st.SearchStrategy[int]:
    """Bits of any element, and often of one that is special."""
    width = 8 * DTYPES[dtype].size
    anything = st.integers(0, 2**width - 1)
    if dtype not in FORMATS:
        return st.integers(0, 1) if dtype == "BOOL" else anything
    infinity = ((1 << FORMATS[dtype][0]) - 1) << FORMATS[dtype][1]
    special = [0, 1, 2, infinity - 1, infinity, infinity + 1, 1 << FORMATS[dtype][1]]
    signed = [bits | sign << (width - 1) for bits in special for sign in (0, 1)]
    return st.one_of(anything, st.sampled_from(signed))


@st.composite
def rounds(draw: st.DrawFn) -> Round:
    samples = draw(st.lists(SAMPLES, min_size=1, max_size=5))
    tensors = []
    for number in range(draw(st.integers(0, 3))):
        dtype = draw(st.sampled_from([*MERGEABLE, *MERGEABLE, *EXACT]))
        spec = TensorSpec(name=f"t{number}", dtype=dtype, shape=draw(SHAPES))
        count = spec.size // DTYPES[dtype].size
        of_one = st.lists(elements(dtype), min_size=count, max_size=count)
        lanes = [draw(of_one) for _ in samples]
        for at in range(count):
            if draw(st.integers(0, 3)) == 0:  # equal everywhere, a quarter of them
                lanes = [[*lane[:at], lanes[0][at], *lane[at + 1 :]] for lane in lanes]
        tensors.append((spec, lanes))
    return Round(samples=samples, tensors=tensors)


@settings(max_examples=200)
@given(ended=rounds(), equally=st.booleans())
def test_lanes_become_what_a_plain_loop_makes_of_them(
    folder: Path, ended: Round, equally: bool
) -> None:
    expected = write_weights(folder / "expected", ended.merged(equally=equally))
    made = merge(ended.parts(folder), folder / "made", equally=equally)

    assert WeightsRef(digest=expected.digest, size=expected.size) == made
    assert (folder / "expected").read_bytes() == (folder / "made").read_bytes()


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16"])
def test_a_tensor_of_many_pieces_is_merged_to_its_end(tmp_path: Path, dtype: str) -> None:
    draws = np.random.default_rng(7)
    states = []
    for _ in range(3):
        wide = draws.standard_normal((3, STEP - 7)).astype(DTYPES[dtype].name)
        count = np.array(draws.integers(2**62))
        states.append({"w": wide, "after": wide[0, :5].copy(), "n": count, "none": wide[:0]})
    states[1]["w"][:, ::3] = states[0]["w"][:, ::3]
    states[2]["w"][:, ::3] = states[0]["w"][:, ::3]
    parts = saved(tmp_path, states, samples=[5, 901, 33])

    merge(parts, tmp_path / "made")

    expected = plain_merge(states, [5, 901, 33])
    made = load_file(tmp_path / "made")
    assert {name: value.tobytes() for name, value in expected.items()} == {
        name: value.tobytes() for name, value in made.items()
    }


def test_a_bfloat16_of_many_pieces_is_merged_to_its_end(tmp_path: Path) -> None:
    draws = np.random.default_rng(7)
    count = STEP + 3
    wide = [draws.standard_normal(count).astype(np.float32).view(np.uint32) for _ in range(3)]
    lanes = [(bits >> 16).tolist() for bits in wide]
    spec = TensorSpec(name="w", dtype="BF16", shape=(count,))
    ended = Round(samples=[3, 1, 2], tensors=[(spec, lanes)])

    made = merge(ended.parts(tmp_path), tmp_path / "made")

    assert write_weights(tmp_path / "expected", ended.merged(equally=False)).digest == made.digest


def saved(folder: Path, states: Sequence[State], *, samples: Sequence[int]) -> list[Part]:
    parts = []
    for lane, (state, count) in enumerate(zip(states, samples, strict=True)):
        save_file(dict(state), folder / f"lane-{lane}")
        parts.append(Part(path=folder / f"lane-{lane}", samples=count))
    return parts


def of_values(folder: Path, *lanes: Sequence[float], samples: Sequence[int]) -> list[Part]:
    """Each lane has one tensor of float64."""
    return saved(folder, [{"w": np.array(values)} for values in lanes], samples=samples)


def values(path: Path) -> list[float]:
    return [float(value) for value in load_file(path)["w"]]


def test_lanes_count_by_their_samples(tmp_path: Path) -> None:
    parts = of_values(tmp_path, [1.0, -2.0], [5.0, 2.0], samples=[3, 1])
    merge(parts, tmp_path / "by-samples")
    merge(parts, tmp_path / "equally", equally=True)

    assert [2.0, -1.0] == values(tmp_path / "by-samples")
    assert [3.0, 0.0] == values(tmp_path / "equally")


def test_lanes_count_equally_if_none_has_samples(tmp_path: Path) -> None:
    merge(of_values(tmp_path, [1.0], [5.0], samples=[0, 0]), tmp_path / "made")

    assert [3.0] == values(tmp_path / "made")


def test_of_a_lane_without_samples_not_even_infinities_count(tmp_path: Path) -> None:
    inf = float("inf")
    lanes = ([1.0], [-inf], [3.0])
    merge(of_values(tmp_path, *lanes, samples=[1, 0, 1]), tmp_path / "without")
    merge(of_values(tmp_path, *lanes, samples=[1, 1, 1]), tmp_path / "with")

    assert [2.0] == values(tmp_path / "without")
    assert [-inf] == values(tmp_path / "with")


def test_what_is_equal_in_all_lanes_stays_as_it_is(tmp_path: Path) -> None:
    # Of three times 0.1 the mean is not 0.1; the largest would overflow, and a NaN has bits.
    odd = np.array([0xFFF8_0000_0000_1234], dtype=np.uint64).view(np.float64)[0]
    kept = [0.1, -0.0, float("-inf"), 5e-324, odd, 1.7e308]
    parts = of_values(tmp_path, kept, kept, kept, samples=[1, 1, 1])
    made = merge(parts, tmp_path / "made")

    assert (0.1 + 0.1 + 0.1) / 3 != 0.1
    assert verify_digest(parts[0].path) == made.digest


def test_integers_and_bools_are_those_of_the_lane_with_the_most_samples(tmp_path: Path) -> None:
    states: list[State] = [{"n": np.array(lane), "b": np.array([lane == 1])} for lane in range(4)]
    for equally in (False, True):
        merge(saved(tmp_path, states, samples=[0, 7, 7, 3]), tmp_path / "made", equally=equally)
        made = load_file(tmp_path / "made")
        assert (1, True) == (int(made["n"]), bool(made["b"][0]))
    merge(saved(tmp_path, states, samples=[0, 0, 0, 0]), tmp_path / "made")
    assert int(load_file(tmp_path / "made")["n"]) == 0


@pytest.mark.parametrize("samples", [[5], [0], [0, 5]])
def test_the_only_lane_that_counts_is_the_result(tmp_path: Path, samples: list[int]) -> None:
    lanes = [[1.0, 2.0], [3.0, 4.0]][: len(samples)]
    parts = of_values(tmp_path, *lanes, samples=samples)
    # As its library wrote it, with what others had to say in its header.
    save_file({"w": np.array(lanes[-1])}, parts[-1].path, metadata={"format": "pt"})
    made = merge(parts, tmp_path / "made.safetensors")

    assert parts[-1].path.read_bytes() == (tmp_path / "made.safetensors").read_bytes()
    assert verify_digest(parts[-1].path) == made.digest
    assert parts[-1].path.stat().st_size == made.size
    # A crash may have come before anybody knew of it, and one may be where the other was.
    assert made == merge(parts, tmp_path / "made.safetensors") == merge(parts, parts[-1].path)
    assert {*(part.path for part in parts), tmp_path / "made.safetensors"} == set(
        tmp_path.iterdir()
    )


def a_network(path: Path, *, bias: float = 0.0, samples: int = 1) -> Part:
    """As torch lists it: parameters, an alias among them, and a counter."""
    tensors = [
        (TensorSpec(name="weight", dtype="F32", shape=(2,)), np.array([bias, 1], "<f4").tobytes()),
        (TensorSpec(name="bias", dtype="F32", shape=()), np.array(bias, "<f4").tobytes()),
        (TensorSpec(name="n", dtype="I64", shape=()), bytes(8)),
    ]
    order = ["weight", "bias", "head", "n"]
    write_weights(path, tensors, tied={"head": "weight"}, order=order)
    return Part(path=path, samples=samples)


def test_ties_and_the_order_of_a_trainer_are_kept(tmp_path: Path) -> None:
    parts = [a_network(tmp_path / f"{lane}", bias=lane) for lane in range(3)]
    made = merge(parts, tmp_path / "made")

    assert read_manifest(parts[0].path) == read_manifest(tmp_path / "made")
    assert verify_digest(parts[1].path) == made.digest  # whose values are the mean of all


def test_a_result_may_itself_be_for_somebody_to_name(tmp_path: Path) -> None:
    parts = [a_network(tmp_path / f"{lane}", bias=lane) for lane in range(3)]
    for of in (parts, parts[:1]):
        made = merge(of, tmp_path / "made.part")
        assert verify_digest(tmp_path / "made.part") == made.digest


def test_a_result_may_replace_one_of_the_lanes(tmp_path: Path) -> None:
    parts = [a_network(tmp_path / f"{lane}", bias=lane) for lane in range(3)]
    elsewhere = merge(parts, tmp_path / "made")

    assert elsewhere == merge(parts, parts[0].path)
    assert verify_digest(parts[0].path) == elsewhere.digest


@pytest.mark.parametrize(
    "other",
    [
        TensorSpec(name="w", dtype="F32", shape=(3, 2)),
        TensorSpec(name="w", dtype="I32", shape=(2, 3)),
        TensorSpec(name="other", dtype="F32", shape=(2, 3)),
    ],
)
def test_tensors_that_differ_are_refused_by_name(tmp_path: Path, other: TensorSpec) -> None:
    before = (TensorSpec(name="a", dtype="F32", shape=()), bytes(4))
    wanted = TensorSpec(name="w", dtype="F32", shape=(2, 3))
    write_weights(tmp_path / "1", [before, (wanted, bytes(24))])
    write_weights(tmp_path / "2", [before, (other, bytes(24))])

    with pytest.raises(ManifestMismatch) as refused:
        merge([Part(path=tmp_path / name, samples=1) for name in "12"], tmp_path / "made")
    where = f"{tmp_path / '2'} has tensor {other.name!r} ({other}) where {tmp_path / '1'} has"
    assert f"{where} tensor 'w' (F32 [2, 3]); let all lanes" in str(refused.value)
    assert {tmp_path / "1", tmp_path / "2"} == set(tmp_path.iterdir())


def test_a_tensor_that_is_not_in_all_lanes_is_refused(tmp_path: Path) -> None:
    save_file({"a": np.zeros(1)}, tmp_path / "1")
    save_file({"a": np.zeros(1), "b": np.zeros(2)}, tmp_path / "2")
    parts = [Part(path=tmp_path / name, samples=1) for name in "12"]

    with pytest.raises(ManifestMismatch, match=r"tensor 'b' \(F64 \[2\]\) where .*1 has nothing"):
        merge(parts, tmp_path / "made")
    with pytest.raises(ManifestMismatch, match=r"has nothing where .*2 has tensor 'b'"):
        merge(parts[::-1], tmp_path / "made")


def test_lanes_without_samples_have_to_hold_the_same_tensors_too(tmp_path: Path) -> None:
    save_file({"a": np.zeros(1)}, tmp_path / "1")
    save_file({"a": np.zeros(2)}, tmp_path / "2")

    with pytest.raises(ManifestMismatch, match="'a'"):
        merge(
            [Part(path=tmp_path / "1", samples=1), Part(path=tmp_path / "2", samples=0)],
            tmp_path / "made",
        )


def test_other_ties_and_another_order_are_refused(tmp_path: Path) -> None:
    spec = TensorSpec(name="w", dtype="U8", shape=())
    other = TensorSpec(name="v", dtype="U8", shape=())
    tensors = [(spec, b"w"), (other, b"v")]
    write_weights(tmp_path / "plain", tensors)
    write_weights(tmp_path / "tied", tensors, tied={"head": "w"})
    write_weights(tmp_path / "listed", tensors, order=["w", "v"])
    plain = Part(path=tmp_path / "plain", samples=1)

    for name, message in (("tied", "'head' tied to 'w'"), ("listed", "'w' listed .*'v' listed")):
        with pytest.raises(ManifestMismatch, match=message):
            merge([plain, Part(path=tmp_path / name, samples=1)], tmp_path / "made")


def test_types_that_cannot_be_merged_are_all_refused_by_name(tmp_path: Path) -> None:
    tensors = [
        (TensorSpec(name=f"of {code}", dtype=code, shape=()), bytes(dtype.size))
        for code, dtype in DTYPES.items()
    ]
    write_weights(tmp_path / "w", tensors)
    part = Part(path=tmp_path / "w", samples=1)

    for refuse in (
        lambda: check_mergeable(tmp_path / "w"),
        lambda: merge([part, part], tmp_path / "made"),
    ):
        with pytest.raises(WeightsError, match="BF16, or let the run have one lane") as refused:
            refuse()
        assert {f"of {code}" for code in UNMERGEABLE} == set(named(str(refused.value)))
    assert {tmp_path / "w"} == set(tmp_path.iterdir())
    assert verify_digest(tmp_path / "w") == merge([part], tmp_path / "alone").digest


def named(message: str) -> list[str]:
    return message.split("'")[1::2]


def test_types_that_can_be_merged_are_not_refused(tmp_path: Path) -> None:
    tensors = [
        (TensorSpec(name=code, dtype=code, shape=()), bytes(DTYPES[code].size))
        for code in (*MERGEABLE, *EXACT)
    ]
    write_weights(tmp_path / "w", tensors)

    check_mergeable(tmp_path / "w")


def test_of_very_many_tensors_some_are_named(tmp_path: Path) -> None:
    tensors = [
        (TensorSpec(name=f"{number}", dtype="C64", shape=(0,)), b"") for number in range(1000)
    ]
    write_weights(tmp_path / "w", tensors)

    with pytest.raises(WeightsError, match=r"'0' \(C64\), .* and 950 more") as refused:
        check_mergeable(tmp_path / "w")
    assert len(str(refused.value)) < 2000


def test_a_lane_that_is_gone_or_no_weights_is_said(tmp_path: Path) -> None:
    part = a_network(tmp_path / "w")
    (tmp_path / "cut").write_bytes(part.path.read_bytes()[:-1])

    with pytest.raises(StorageError, match="gone"):
        merge([part, Part(path=tmp_path / "gone", samples=1)], tmp_path / "made")
    with pytest.raises(BadWeights, match="cut"):
        merge([part, Part(path=tmp_path / "cut", samples=1)], tmp_path / "made")
    assert not (tmp_path / "made").exists()


# Merges where a file may have only so many bytes; writing one more ends the process, or fails.
LIMITED = """
import json, resource, signal, sys
from pathlib import Path
from tasuki.errors import DiskFull
from tasuki.weights.container.merge import Part, merge

folder, limit, is_killed = json.loads(sys.argv[1])
if is_killed:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
folder = Path(folder)
parts = [Part(path=folder / f"lane-{lane}", samples=1 + lane) for lane in range(2)]
try:
    merge(parts, folder / "made.safetensors")
except DiskFull as exc:
    sys.exit(f"refused: {exc}")
"""


def merged_within(folder: Path, limit: int, *, is_killed: bool) -> subprocess.CompletedProcess[str]:
    asked = json.dumps([str(folder), limit, is_killed])
    return subprocess.run(
        [sys.executable, "-c", LIMITED, asked], capture_output=True, text=True, check=False
    )


@pytest.fixture
def lanes(tmp_path: Path) -> list[Part]:
    draws = np.random.default_rng(7)
    states = [{"w": draws.standard_normal(4 * STEP)} for _ in range(2)]
    return saved(tmp_path, states, samples=[1, 2])


def test_a_merge_that_is_killed_leaves_nothing_that_could_be_its_result(
    tmp_path: Path, lanes: list[Part]
) -> None:
    into = tmp_path / "made.safetensors"
    killed = merged_within(tmp_path, 2**20, is_killed=True)

    assert killed.returncode < 0
    assert {"lane-0", "lane-1", f"{into.name}.part"} == {path.name for path in tmp_path.iterdir()}
    again = merge(lanes, into)
    assert verify_digest(into) == again.digest
    assert {"lane-0", "lane-1", into.name} == {path.name for path in tmp_path.iterdir()}


def test_a_merge_that_fails_leaves_what_was_there(tmp_path: Path, lanes: list[Part]) -> None:
    into = tmp_path / "made.safetensors"
    into.write_bytes(b"before")
    failed = merged_within(tmp_path, 2**20, is_killed=False)

    assert failed.stderr.startswith("refused: a limit for the size of files")
    assert into.read_bytes() == b"before"
    assert {"lane-0", "lane-1", into.name} == {path.name for path in tmp_path.iterdir()}


# Prints how much memory a merge takes at its peak, beyond what the process had, in MiB.
MEASURED = """
import sys
from pathlib import Path
from support.memory_probe import forget_peak, peak_kb
from tasuki.weights.container.merge import Part, merge

small, *large = map(Path, sys.argv[1:])
merge([Part(path=small, samples=1)] * 2, small.with_suffix(".made"))  # what a first use costs
forget_peak()
before = peak_kb()
merge([Part(path=path, samples=1 + lane) for lane, path in enumerate(large)], small)
print((peak_kb() - before) / 1024)
"""


@pytest.mark.parametrize("dtype", ["F64", "BF16", "I64"])
def test_the_size_of_weights_and_the_number_of_lanes_cost_no_memory(
    tmp_path: Path, dtype: str
) -> None:
    large = tmp_path / "large"
    spec = TensorSpec(name="w", dtype=dtype, shape=(200 * 2**20 // DTYPES[dtype].size,))
    write_weights(tmp_path / "small", [(replace(spec, shape=(1,)), bytes(DTYPES[dtype].size))])
    a_hole(large, spec)
    run = subprocess.run(
        [sys.executable, "-c", MEASURED, tmp_path / "small", *[large] * 4],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )

    assert float(run.stdout) < 16
    with open_weights(tmp_path / "small") as file:
        assert [spec] == [found for found, _ in file.tensors()]


def a_hole(path: Path, spec: TensorSpec) -> None:
    """Weights that are all zero, and take no room on the disk."""
    write_weights(path, [(replace(spec, shape=()), bytes(DTYPES[spec.dtype].size))])
    header = json.dumps(
        {"w": {"dtype": spec.dtype, "shape": spec.shape, "data_offsets": [0, spec.size]}}
    ).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + spec.size)
