"""The digits example: its images are real, divided honestly, and found without a network."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

EXAMPLE = Path(__file__).parents[3] / "examples" / "digits"


@pytest.fixture
def data() -> ModuleType:
    spec = importlib.util.spec_from_file_location("digits_data", EXAMPLE / "data.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_there_are_1797_images_of_every_digit(data: ModuleType) -> None:
    images, labels = data.load(None)
    assert (1797, 1, 8, 8) == tuple(images.shape)
    assert (0.0, 1.0) == (images.min().item(), images.max().item())
    assert min(labels.bincount(minlength=10).tolist()) > 170


@pytest.mark.parametrize("shards", [1, 3, 4])
def test_every_image_belongs_to_one_site_or_to_the_test(data: ModuleType, shards: int) -> None:
    positions = torch.arange(1797)
    shared, _ = data.test_part(positions, positions)
    parts = [
        data.site_part(positions, positions, site=f"site-{number}", shards=shards)[0]
        for number in range(1, shards + 1)
    ]
    assert positions.tolist() == sorted(torch.cat([shared, *parts]).tolist())
    assert data.TEST == len(shared)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("site", ["site-0", "site-4", "hospital"])
def test_a_site_without_a_part_is_told_so(data: ModuleType, site: str) -> None:
    positions = torch.arange(1797)
    with pytest.raises(ValueError, match="from 1 to 3"):
        data.site_part(positions, positions, site=site, shards=3)


def test_the_sites_own_file_goes_before_scikit_learns(data: ModuleType, tmp_path: Path) -> None:
    installed = data.find(str(tmp_path))
    own = tmp_path / data.FILE
    shutil.copy(installed, own)
    assert own == data.find(str(tmp_path))
    assert own != installed
