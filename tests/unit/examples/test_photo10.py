"""photo10, the CIFAR-10 example's stand-in: real photographs, honestly divided, no network."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("skimage")
pytest.importorskip("sklearn")

EXAMPLE = Path(__file__).parents[3] / "examples" / "cifar10"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"cifar10_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example's `data.py`, on a machine without CIFAR-10 and without a network."""

    def refuse(*_: object) -> None:
        raise AssertionError("photo10 opened a network connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    loaded = module("data")
    monkeypatch.setattr(loaded, "CACHE", tmp_path)
    return loaded


def test_photo10_has_the_shape_of_cifar10_and_opens_no_network_connection(data: ModuleType) -> None:
    images, labels = data.load(None, train=True)
    assert tuple(images.shape) == (10_000, 3, 32, 32)
    assert (torch.float32, torch.int64) == (images.dtype, labels.dtype)
    assert (images.min().item(), images.max().item()) == (-1.0, 1.0)
    assert labels.bincount().tolist() == [1000] * 10


def test_the_same_call_gives_the_same_crops(data: ModuleType) -> None:
    first, again = data.load(None, train=False), data.load(None, train=False)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


def columns_in_place_of_colours(read: Any) -> Any:
    """Photographs of the true sizes in which each pixel holds the number of its column."""

    def read_photo(file: str) -> np.ndarray[Any, Any]:
        photo: np.ndarray[Any, Any] = np.zeros_like(read(file))
        photo[..., 0], photo[..., 1] = np.divmod(np.arange(photo.shape[1]), 256)
        return photo

    return read_photo


def test_no_column_of_a_photograph_is_in_both_train_and_test_crops(
    data: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths = [data.read_photo(file).shape[1] for file in data.PHOTOS.values()]
    monkeypatch.setattr(data, "read_photo", columns_in_place_of_colours(data.read_photo))
    seen = {}
    for train in (True, False):
        crops, labels = data.photo10(train=train)
        column = crops[:, 0].astype(int) * 256 + crops[:, 1]
        seen[train] = [set(np.unique(column[labels == label])) for label in range(10)]
    for width, train_columns, test_columns in zip(widths, seen[True], seen[False], strict=True):
        assert max(train_columns) < 0.7 * width
        assert min(test_columns) > max(train_columns)
        assert max(test_columns) < width


def test_a_site_says_only_once_and_in_one_line_that_it_uses_photo10(
    data: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data.load(str(tmp_path), train=False)
    data.load(str(tmp_path), train=False)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "photo10" in said
    assert "not objects" in said
    assert data.source(str(tmp_path)) == "photo10"


def test_a_download_that_fails_costs_one_line_and_falls_back_to_photo10(
    data: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchvision")

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    before = socket.getdefaulttimeout()
    images, _ = data.load(None, train=False, download=True)
    assert len(images) == 2000
    assert "could not be downloaded" in capsys.readouterr().out
    assert before == socket.getdefaulttimeout()


@pytest.mark.parametrize("alpha", [None, 0.5])
def test_sites_share_out_the_training_set_without_overlap(
    data: ModuleType, alpha: float | None
) -> None:
    images, labels = torch.arange(1000).float(), torch.arange(1000) % 10
    parts = [
        data.site_split(images, labels, site=f"site-{n}", shards=3, alpha=alpha)[0]
        for n in (1, 2, 3)
    ]
    assert images.tolist() == torch.cat(parts).sort().values.tolist()


def test_the_split_depends_on_the_seed_and_on_nothing_else(data: ModuleType) -> None:
    images, labels = torch.arange(1000).float(), torch.arange(1000) % 10

    def part(seed: int) -> Any:
        return data.site_split(images, labels, site="site-2", shards=3, seed=seed)[0]

    assert torch.equal(part(1), part(1))
    assert not torch.equal(part(1), part(2))


@pytest.mark.parametrize("site", ["hospital", "site-0", "site-4"])
def test_a_site_whose_name_has_no_shard_is_told_so(data: ModuleType, site: str) -> None:
    images, labels = torch.zeros(30), torch.zeros(30)
    with pytest.raises(ValueError, match="must end in a number from 1 to 3"):
        data.site_split(images, labels, site=site, shards=3)


def test_the_network_is_that_of_the_tutorial() -> None:
    net = module("net").Net()
    assert sum(parameter.numel() for parameter in net.parameters()) == 62_006
    assert tuple(net(torch.zeros(4, 3, 32, 32)).shape) == (4, 10)
