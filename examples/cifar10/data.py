"""The images: CIFAR-10 where it can be had, otherwise photo10.

photo10 stands in for CIFAR-10 on a machine without the internet. It has the same shape (ten
classes of 32x32 colour images) and it is real: crops of ten photographs that ship inside the
scikit-image and scikit-learn wheels. But it is *texture recognition of ten photographs*, not
object recognition; its accuracies say nothing about CIFAR-10.
"""

import re
import socket
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CACHE = Path.home() / ".cache" / "tasuki"  # where a download goes if the site names no folder
DOWNLOAD_TIMEOUT_S = 5  # of silence, not of the whole download

PHOTOS = {  # in the order of their labels; each lies inside an installed wheel
    "astronaut": "skimage/data/astronaut.png",
    "coffee": "skimage/data/coffee.png",
    "cat": "skimage/data/chelsea.png",
    "rocket": "skimage/data/rocket.jpg",
    "retina": "skimage/data/retina.jpg",
    "tissue": "skimage/data/ihc.png",
    "galaxies": "skimage/data/hubble_deep_field.jpg",
    "motorcycle": "skimage/data/motorcycle_left.png",
    "temple": "sklearn/datasets/images/china.jpg",
    "flower": "sklearn/datasets/images/flower.jpg",
}
SIDE = 32
TRAIN_COLUMNS = 0.7  # train crops lie left of this line, test crops right of it
CROPS_PER_PHOTO = {"train": 1000, "test": 200}


def load(path: str | None, *, train: bool, download: bool = False) -> tuple[Tensor, Tensor]:
    """Images (float32, N x 3 x 32 x 32, within -1..1) and their labels (int64, 0..9).

    Args:
        path: the folder that holds `cifar-10-batches-py`, if the site has it.
        train: the training set or the test set.
        download: whether CIFAR-10 may be fetched from the internet.
    """
    if download and cifar10_folder(path) is None:
        download_cifar10(path)
    folder = cifar10_folder(path)
    if folder is None:
        say_once("CIFAR-10 is not here: using photo10 (textures of ten photographs, not objects).")
    images, labels = photo10(train=train) if folder is None else cifar10(folder, train=train)
    return torch.from_numpy(images).float().div(127.5).sub(1), torch.from_numpy(labels)


def source(path: str | None) -> str:
    """What `load` reads at this site: "CIFAR-10" or "photo10"."""
    return "photo10" if cifar10_folder(path) is None else "CIFAR-10"


def site_split(
    images: Tensor,
    labels: Tensor,
    *,
    site: str,
    shards: int,
    seed: int = 0,
    alpha: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The part of the training set that belongs to one site.

    A pure function of its arguments: each site works out its own shard, `site-2` the second one,
    and no two sites share an image. Without `alpha` every shard has the same mixture of classes;
    with it, each class is divided by a Dirichlet(alpha) draw: the smaller, the more skewed.
    """
    number = re.search(r"\d+$", site)
    if number is None or not 1 <= int(number[0]) <= shards:
        raise ValueError(f"site {site!r}: its name must end in a number from 1 to {shards}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    if alpha is None:
        parts = np.array_split(order, shards)
    else:
        parts = dirichlet_split(order, labels.numpy()[order], shards=shards, alpha=alpha, rng=rng)
    mine = torch.from_numpy(parts[int(number[0]) - 1])
    if len(mine) == 0:
        raise ValueError(f"site {site!r} gets no images at alpha = {alpha}: raise alpha")
    return images[mine], labels[mine]


def dirichlet_split(
    order: np.ndarray, labels: np.ndarray, *, shards: int, alpha: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """Divide the positions in `order`, class by class, in proportions drawn from Dirichlet."""
    pieces = []
    for label in np.unique(labels):
        of_class = order[labels == label]
        shares = rng.dirichlet([alpha] * shards)
        pieces.append(np.split(of_class, (shares.cumsum()[:-1] * len(of_class)).astype(int)))
    return [np.concatenate(part) for part in zip(*pieces, strict=True)]


# --- CIFAR-10 ---


def cifar10_folder(path: str | None) -> Path | None:
    places = [CACHE] if path is None else [Path(path), CACHE]
    return next((place for place in places if (place / "cifar-10-batches-py").is_dir()), None)


def cifar10(folder: Path, *, train: bool) -> tuple[np.ndarray, np.ndarray]:
    from torchvision.datasets import CIFAR10  # here, because photo10 does without torchvision

    dataset = CIFAR10(folder, train=train)
    return dataset.data.transpose(0, 3, 1, 2), np.array(dataset.targets)


def download_cifar10(path: str | None) -> None:
    """Try to fetch CIFAR-10; say so in one line if that fails."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    try:
        from torchvision.datasets import CIFAR10

        CIFAR10(path or CACHE, download=True)
    except (ImportError, OSError, RuntimeError) as error:
        say_once(f"CIFAR-10 could not be downloaded ({error}).")
    finally:
        socket.setdefaulttimeout(before)


@cache
def say_once(line: str) -> None:
    print(line, flush=True)


# --- photo10 ---


def photo10(*, train: bool) -> tuple[np.ndarray, np.ndarray]:
    """Crops (uint8, N x 3 x 32 x 32) and labels; the same ones on every machine.

    No pixel of a train crop is in a test crop: they come from different columns.
    """
    part = "train" if train else "test"
    count = CROPS_PER_PHOTO[part]
    images = []
    for label, file in enumerate(PHOTOS.values()):
        photo = read_photo(file)
        border = int(photo.shape[1] * TRAIN_COLUMNS)
        half = photo[:, :border] if train else photo[:, border:]
        images.append(crops(half, count=count, rng=np.random.default_rng([label, train])))
    return np.concatenate(images), np.repeat(np.arange(len(PHOTOS)), count)


def crops(photo: np.ndarray, *, count: int, rng: np.random.Generator) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(photo, (SIDE, SIDE), axis=(0, 1))
    rows, columns = windows.shape[:2]
    return windows[rng.integers(rows, size=count), rng.integers(columns, size=count)]


def read_photo(file: str) -> np.ndarray:
    """Read a picture out of an installed wheel, without importing the package."""
    package, _, inside = file.partition("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f'photo10 needs pictures of {package}: pip install ".[examples]" in the repository'
        )
    with Image.open(Path(spec.origin).parent / inside) as picture:
        return np.asarray(picture.convert("RGB"))
