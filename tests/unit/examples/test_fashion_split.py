"""How the Fashion-MNIST example divides its images among the sites."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

EXAMPLE = Path(__file__).parents[3] / "examples" / "fashion_mnist"
LABELS = np.arange(20_000) % 10
SITES = 5

Parts = list[np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def data() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fashion_mnist_data", EXAMPLE / "data.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def split(data: ModuleType, *, alpha: float, seed: int = 0) -> Parts:
    parts: Parts = data.dirichlet_split(LABELS, shards=SITES, alpha=alpha, seed=seed)
    return parts


def largest_share_of_a_class(parts: Parts) -> float:
    """Averaged over classes: how much of a class lies at the site that has most of it."""
    counts = np.array([np.bincount(LABELS[part], minlength=10) for part in parts])
    return float((counts.max(axis=0) / counts.sum(axis=0)).mean())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("alpha", [0.01, 0.5, 100.0])
def test_every_sample_goes_to_exactly_one_site(data: ModuleType, alpha: float, seed: int) -> None:
    together = np.concatenate(split(data, alpha=alpha, seed=seed))
    assert np.array_equal(np.arange(len(LABELS)), np.sort(together))


@pytest.mark.parametrize("seed", range(20))
def test_every_site_gets_a_batch_however_skewed_the_split(data: ModuleType, seed: int) -> None:
    assert min(len(part) for part in split(data, alpha=0.01, seed=seed)) >= 64


def test_the_same_seed_gives_the_same_split(data: ModuleType) -> None:
    first, again = split(data, alpha=0.5, seed=3), split(data, alpha=0.5, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_another_seed_gives_another_split(data: ModuleType) -> None:
    first, other = split(data, alpha=0.5, seed=3), split(data, alpha=0.5, seed=4)
    assert [len(part) for part in first] != [len(part) for part in other]


def test_a_small_alpha_puts_most_of_a_class_at_one_site(data: ModuleType) -> None:
    assert largest_share_of_a_class(split(data, alpha=0.05)) > 0.8


def test_a_large_alpha_divides_every_class_nearly_equally(data: ModuleType) -> None:
    assert largest_share_of_a_class(split(data, alpha=10_000)) < 1.1 / SITES


def test_a_site_finds_its_own_part_by_its_name(data: ModuleType) -> None:
    images, labels = torch.arange(len(LABELS)).float(), torch.from_numpy(LABELS)
    mine, _ = data.site_split(images, labels, site="site-2", shards=SITES, alpha=0.5)
    assert split(data, alpha=0.5)[1].tolist() == mine.tolist()


def test_a_site_whose_name_has_no_shard_is_told_so(data: ModuleType) -> None:
    images, labels = torch.zeros(100), torch.zeros(100)
    with pytest.raises(ValueError, match="must end in a number from 1 to 5"):
        data.site_split(images, labels, site="site-6", shards=5, alpha=0.5)


def test_a_site_judges_on_a_tenth_of_its_images_and_trains_on_the_others(
    data: ModuleType,
) -> None:
    labels = torch.arange(100)
    trains, judges = data.held_out(labels, labels)
    assert (90, 10) == (len(trains[1]), len(judges[1]))
    assert list(range(100)) == sorted([*trains[1].tolist(), *judges[1].tolist()])


def idx(array: np.ndarray[Any, Any]) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes())


def test_the_idx_files_of_a_data_path_are_read(data: ModuleType, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(6, 28, 28)).astype(np.uint8)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(idx(pixels))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(np.arange(6, dtype=np.uint8)))
    images, labels = data.load(str(tmp_path), train=False)
    assert np.array_equal(pixels, images.numpy())
    assert list(range(6)) == labels.tolist()


def test_without_the_files_the_error_says_which_package_to_install(
    data: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="apt-get install dataset-fashion-mnist"):
        data.load(str(tmp_path), train=True)
