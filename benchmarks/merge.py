"""What it costs to merge the weights of several lanes, beside plain NumPy that has them in memory.

    PYTHONPATH=tests python benchmarks/merge.py [--lanes 8] [--mb 100] [--dtype F32 BF16]

Each way has a process of its own. Ours reads the files piece by piece, and writes the result,
digests it meanwhile and forces it to the disk; "write and sync alone" is so many bytes written and
forced there by themselves. Plain NumPy loads all files, computes, and saves; where it is exact, the
results have to be the same bytes. The files have just been written, so that most of what is read
comes from the system's cache, as far as memory goes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file, save_file

from support.memory_probe import forget_peak, peak_kb
from tasuki.weights.container import BLOCK_BYTES, DTYPES, TensorSpec, rounded, write_weights
from tasuki.weights.container.merge import Part, merge
from tasuki.weights.digest import verify_digest

TENSOR_BYTES = 64 * 10**6
PLAIN = ("F64", "F32", "F16")
"""The types that NumPy has."""

PARTS = ("merge", "load", "mean", "save", "write")
WAYS = {
    "ours": "merge: read, compute, digest, write, sync",
    "write": "write and sync alone",
    "plain": "plain NumPy: load, compute, save",
}

Took = dict[str, float]
"""Seconds by what was done, and `memory`: MiB at the peak, beyond what there was before."""

Measure = Callable[[Path, int], Took]


def write_lanes(folder: Path, lanes: int, mb: float, dtype: str) -> None:
    """Tensors of 64 MB and a rest, of normally distributed values."""
    draws, width, size = np.random.default_rng(7), DTYPES[dtype].size, int(mb * 1e6)
    counts = [TENSOR_BYTES // width] * (size // TENSOR_BYTES) + [size % TENSOR_BYTES // width]

    def pieces(count: int) -> Iterator[memoryview]:
        step = BLOCK_BYTES // 8
        for at in range(0, count, step):
            yield rounded(dtype, draws.standard_normal(min(step, count - at))).data

    for lane in range(lanes):
        specs = [
            TensorSpec(name=f"layer{number:03}", dtype=dtype, shape=(count,))
            for number, count in enumerate(counts)
        ]
        contents = [(spec, lambda count=spec.shape[0]: pieces(count)) for spec in specs]
        write_weights(path_of(folder, lane), contents)


def path_of(folder: Path, lane: int) -> Path:
    return folder / f"lane-{lane}.safetensors"


def samples_of(lane: int) -> int:
    return 1000 + 7 * lane


def ours(folder: Path, lanes: int) -> Took:
    parts = [Part(path=path_of(folder, lane), samples=samples_of(lane)) for lane in range(lanes)]
    # What a first use costs is not this merge's.
    write_weights(folder / "w", [(TensorSpec(name="w", dtype="F32", shape=()), bytes(4))])
    merge([Part(path=folder / "w", samples=1)] * 2, folder / "none")
    took: Took = {}
    with measured(took), timed(took, "merge"):
        merge(parts, folder / "ours.safetensors")
    return took


def plain(folder: Path, lanes: int) -> Took:
    took: Took = {}
    weights = [float(samples_of(lane)) for lane in range(lanes)]
    with measured(took):
        with timed(took, "load"):
            states = [load_file(path_of(folder, lane)) for lane in range(lanes)]
        with timed(took, "mean"):
            total = reduce(add, weights)
            merged = {}
            for name, value in states[0].items():
                weighted = (
                    w * s[name].astype(np.float64) for w, s in zip(weights, states, strict=True)
                )
                merged[name] = (reduce(add, weighted) / total).astype(value.dtype)
        with timed(took, "save"):
            save_file(merged, folder / "plain.safetensors")
    return took


def written(folder: Path, _lanes: int) -> Took:
    size, block = path_of(folder, 0).stat().st_size, os.urandom(BLOCK_BYTES)
    took: Took = {}
    with measured(took), timed(took, "write"), (folder / "raw").open("wb") as file:
        for at in range(0, size, BLOCK_BYTES):
            file.write(block[: size - at])
        file.flush()
        os.fsync(file.fileno())
    return took


@contextmanager
def timed(took: Took, what: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    took[what] = time.perf_counter() - begin


@contextmanager
def measured(took: Took) -> Iterator[None]:
    forget_peak()
    before, cpu = peak_kb(), time.process_time()
    yield
    took["processor"] = time.process_time() - cpu
    took["memory"] = (peak_kb() - before) / 1024


def alone(measure: Measure, folder: Path, lanes: int) -> Took:
    """In a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        return pool.submit(measure, folder, lanes).result()


def compared(lanes: int, mb: float, dtype: str) -> dict[str, Took]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_lanes(folder, lanes, mb, dtype)
        found = {
            "write": alone(written, folder, lanes),
            "ours": alone(ours, folder, lanes),
        }
        if dtype in PLAIN:
            found["plain"] = alone(plain, folder, lanes)
            both = [verify_digest(folder / f"{way}.safetensors") for way in ("ours", "plain")]
            if both[0] != both[1]:
                raise RuntimeError(f"plain NumPy makes other bytes of these lanes: {both}")
        return found


def show(console: Console, found: dict[str, Took], lanes: int, mb: float, dtype: str) -> None:
    table = Table(title=f"{lanes} lanes of {mb:g} MB, {dtype}")
    for head in ("what", "seconds", "processor s", "GB/s read", "of plain NumPy", "memory, MiB"):
        table.add_column(head, justify="left" if head == "what" else "right")
    read, whole = lanes * mb / 1000, seconds(found["plain"]) if "plain" in found else 0.0
    for way, what in WAYS.items():
        if way in found:
            took = found[way]
            ratio = f"{seconds(took) / whole:.2f}x" if whole and way != "write" else ""
            speed = f"{read / seconds(took):.2f}" if way != "write" else ""
            used = f"{took['processor']:.2f}", speed, ratio, f"{took['memory']:.0f}"
            table.add_row(what, f"{seconds(took):.2f}", *used)
    for part in ("load", "mean", "save") if whole else ():
        table.add_row(f"    plain NumPy's {part}", f"{found['plain'][part]:.2f}")
    console.print(table)


def seconds(took: Took) -> float:
    return sum(took.get(part, 0.0) for part in PARTS)


def main() -> None:
    parser = argparse.ArgumentParser(description="merging lanes: time and memory")
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--mb", type=float, nargs="*", default=[100.0])
    parser.add_argument("--dtype", nargs="*", default=["F32", "BF16"])
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args()
    console = Console(width=120)
    for mb in asked.mb:
        for dtype in asked.dtype:
            found = compared(asked.lanes, mb, dtype)
            if asked.as_json:
                told = {"lanes": asked.lanes, "mb": mb, "dtype": dtype, "took": found}
                sys.stdout.write(json.dumps(told) + "\n")
            else:
                show(console, found, asked.lanes, mb, dtype)


if __name__ == "__main__":
    main()
