"""The images: 1,797 handwritten digits, 8x8 pixels each, from one file of 57 kB.

It is the test part of UCI's "Optical Recognition of Handwritten Digits", by 13 people of whom no
image here of training and test tells which. The file ships inside the scikit-learn wheel.
"""

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FILE = "digits.csv.gz"
TEST = 360  # images that no site trains on, the same ones at every site


def load(path: str | None) -> tuple[Tensor, Tensor]:
    """Every image (float32, N x 1 x 8 x 8, within 0..1) with its label (int64, 0..9).

    Args:
        path: the folder that holds the file, if it is not scikit-learn's.
    """
    table = np.loadtxt(find(path), delimiter=",", dtype=np.float32)
    images = torch.from_numpy(table[:, :-1]).reshape(-1, 1, 8, 8) / 16
    return images, torch.from_numpy(table[:, -1].astype(np.int64))


def find(path: str | None) -> Path:
    """The file in the site's folder, or beside this one, or inside the installed scikit-learn."""
    for folder in (path, Path(__file__).parent):
        if folder is not None and (Path(folder) / FILE).is_file():
            return Path(folder) / FILE
    spec = find_spec("sklearn")  # only looked for: its own import would take a second
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"{FILE} is neither in {path} nor is scikit-learn installed")
    return Path(spec.origin).parent / "datasets" / "data" / FILE


def test_part(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """What everybody measures on."""
    mine = order(len(labels))[:TEST]
    return images[mine], labels[mine]


def judged_on(images: Tensor, labels: Tensor, *, split: str) -> tuple[Tensor, Tensor]:
    """What an evaluation judges on: half of the test images, by which models are chosen.

    The other half, `split = "test"`, is for a last word about the one that was chosen.
    """
    images, labels = test_part(images, labels)
    match split:
        case "":
            return images[: TEST // 2], labels[: TEST // 2]
        case "test":
            return images[TEST // 2 :], labels[TEST // 2 :]
    raise ValueError(f"there is no split {split!r} here: leave it out, or write test")


def site_part(images: Tensor, labels: Tensor, *, site: str, shards: int) -> tuple[Tensor, Tensor]:
    """The part of the training images that belongs to one site; `site-2` has the second.

    Each site works it out for itself, and no two sites share an image.
    """
    number = re.search(r"\d+$", site)
    if number is None or not 1 <= int(number[0]) <= shards:
        raise ValueError(f"site {site!r}: its name must end in a number from 1 to {shards}")
    mine = order(len(labels))[TEST:].tensor_split(shards)[int(number[0]) - 1]
    return images[mine], labels[mine]


def order(count: int) -> Tensor:
    """The same shuffled positions on every machine."""
    return torch.from_numpy(np.random.default_rng(0).permutation(count))
