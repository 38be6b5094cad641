"""Small data in place of what NVFlare's scripts download: scikit-learn's handwritten digits.

`nvflare_scripts.py` copies this file beside a script as `small_data.py`. It makes a script's files
when it is run: `python small_data.py mednist`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

TRAIN, TEST = 64, 32


def digits(count: int, *, skip: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images of 32x32 bytes, and their labels."""
    found = load_digits()
    part = slice(skip, skip + count)
    grey = (found.images[part] * 255 / 16).astype(np.uint8)
    return grey.repeat(4, axis=1).repeat(4, axis=2), found.target[part]


class CIFAR10:
    """Takes what torchvision's takes."""

    def __init__(
        self,
        root: object = None,
        train: bool = True,
        download: bool = False,
        transform: Callable[[Any], Any] = lambda image: image,
    ) -> None:
        self._images, self.targets = digits(TRAIN) if train else digits(TEST, skip=TRAIN)
        self._transform = transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        image = Image.fromarray(self._images[index]).convert("RGB")
        return self._transform(image), int(self.targets[index])


def mnist() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """What `tf.keras.datasets.mnist.load_data` gives: 28x28 pixels."""
    (train, train_labels), (test, test_labels) = digits(TRAIN), digits(TEST, skip=TRAIN)
    return (train[:, 2:30, 2:30], train_labels), (test[:, 2:30, 2:30], test_labels)
