"""Fashion-MNIST, and how sites come to have very different parts of it."""

import functools
import gzip
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
FILES = {True: "train", False: "t10k"}


Labelled = tuple[Tensor, Tensor]


@functools.cache  # a trainer's process has many turns
def load(path: str | None, *, train: bool) -> Labelled:
    """Images (uint8, N x 28 x 28) and their labels (int64, 0..9).

    Args:
        path: a folder with the four `.gz` files, or one for torchvision's FashionMNIST;
            by default the folder of Debian's package.
        train: the 60,000 training images or the 10,000 test images.
    """
    folder = Path(path) if path else DEBIAN
    part = FILES[train]
    if (folder / f"{part}-images-idx3-ubyte.gz").is_file():
        images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    else:
        images, labels = from_torchvision(folder, train=train)
    return torch.from_numpy(images), torch.from_numpy(labels).long()


def read_idx(file: Path) -> np.ndarray:
    """An array in the idx format: two zero bytes, type, number of dimensions, sizes, values."""
    raw = gzip.decompress(file.read_bytes())
    dimensions = raw[3]
    sizes = np.frombuffer(raw, ">u4", count=dimensions, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(sizes).copy()


def from_torchvision(folder: Path, *, train: bool) -> tuple[np.ndarray, np.ndarray]:
    try:
        from torchvision.datasets import FashionMNIST

        dataset = FashionMNIST(folder, train=train)
    except (ImportError, RuntimeError):
        raise FileNotFoundError(
            f"no Fashion-MNIST in {folder}: apt-get install dataset-fashion-mnist"
        ) from None
    return dataset.data.numpy(), dataset.targets.numpy()


def held_out(images: Tensor, labels: Tensor) -> tuple[Labelled, Labelled]:
    """A site's part in two: to train on, and the tenth of it on which the site judges models."""
    tenth = len(labels) // 10
    return (images[tenth:], labels[tenth:]), (images[:tenth], labels[:tenth])


def site_split(
    images: Tensor, labels: Tensor, *, site: str, shards: int, alpha: float, seed: int = 0
) -> Labelled:
    """The part of the training set that belongs to one site, `site-2` the second."""
    number = re.search(r"\d+$", site)
    if number is None or not 1 <= int(number[0]) <= shards:
        raise ValueError(f"site {site!r}: its name must end in a number from 1 to {shards}")
    parts = dirichlet_split(labels.numpy(), shards=shards, alpha=alpha, seed=seed)
    mine = torch.from_numpy(parts[int(number[0]) - 1])
    return images[mine], labels[mine]


def dirichlet_split(
    labels: np.ndarray, *, shards: int, alpha: float, seed: int, least: int = 64
) -> list[np.ndarray]:
    """Divide the samples among the sites with label skew; each sample goes to exactly one.

    The shares of each class are drawn from Dirichlet(alpha): at 100 the sites are nearly alike,
    at 0.1 most of a class lies at one site. A site left with fewer than `least` samples takes
    the missing ones from the largest. A pure function: each site works it out for itself.
    """
    rng = np.random.default_rng(seed)
    pieces = []
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        shares = rng.dirichlet([alpha] * shards)
        pieces.append(np.split(of_class, (shares.cumsum()[:-1] * len(of_class)).astype(int)))
    parts = [rng.permutation(np.concatenate(part)) for part in zip(*pieces, strict=True)]
    for i, part in enumerate(parts):
        if (missing := least - len(part)) > 0:
            largest = max(range(shards), key=lambda j: len(parts[j]))
            parts[i] = np.concatenate([part, parts[largest][:missing]])
            parts[largest] = parts[largest][missing:]
    return parts
