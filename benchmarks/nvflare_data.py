"""Small data in place of what NVFlare's scripts download: scikit-learn's handwritten digits.

`nvflare_scripts.py` copies this file beside a script as `small_data.py`. It makes a script's files
when it is run: `python small_data.py mednist`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
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


def higgs(path: str = "higgs.csv") -> None:
    """A label and 64 numbers a line: whether a digit is even."""
    found = load_digits()
    np.savetxt(path, np.column_stack([found.target % 2, found.data / 16]), delimiter=",", fmt="%g")


def npy(folder: str = "mnist") -> None:
    """The four files of hello-jax."""
    Path(folder).mkdir()
    (train, train_labels), (test, test_labels) = mnist()
    for name, images, labels in (("train", train, train_labels), ("test", test, test_labels)):
        np.save(f"{folder}/{name}_images.npy", images[..., None])
        np.save(f"{folder}/{name}_labels.npy", labels)


def mednist(folder: str = "MedNIST") -> None:
    """Six classes of images, a folder each."""
    from PIL import Image

    images, labels = digits(150)
    for kind in range(6):
        place = Path(folder, f"class-{kind}")
        place.mkdir(parents=True)
        for at, image in enumerate(images[labels == kind][:8]):
            Image.fromarray(image).save(place / f"{at:03}.jpeg")


SENTENCES = tuple(
    {"input": f"What comes after {n}?", "output": f"After {n} comes {n + 1}."} for n in range(840)
)


def dolly(folder: str = "dolly") -> None:
    """Questions and answers, as the tutorials for language models read them."""
    Path(folder).mkdir()
    for name, part in (("training", SENTENCES[8:]), ("validation", SENTENCES[:8])):
        lines = "".join(json.dumps(each) + "\n" for each in part)
        Path(folder, f"{name}.jsonl").write_text(lines)


def llama(folder: str = "tiny", dtype: str = "float32") -> None:
    """A language model of two small layers, with a tokenizer of the words above."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    words = _tokenizer()
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(folder)
    words.save_pretrained(folder)


def _tokenizer() -> Any:  # Any: transformers is not installed where Tasuki is checked
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    text = " ".join(part for each in SENTENCES for part in each.values())
    known = sorted({word for word, _ in pre_tokenizers.Whitespace().pre_tokenize_str(text)})
    vocabulary = {word: at for at, word in enumerate(["<pad>", "<eos>", "<unk>", *known])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106 - a word
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=512, **special)


if __name__ == "__main__":
    for what in sys.argv[1:]:
        {"higgs": higgs, "npy": npy, "mednist": mednist, "dolly": dolly, "llama": llama}[what]()
