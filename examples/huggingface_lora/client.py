"""One site's fine-tuning with the Trainer of transformers and LoRA of PEFT.

In a script for NVFlare the import of flare would be `import nvflare.client.hf as flare`; nothing
else differs.
"""

import importlib.util
from pathlib import Path

import torch
from model import model
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

import tasuki.flare.hf as flare

TEXTS = ["argparse", "textwrap", "tarfile"]  # modules of Python: site-2 reads the second one
LENGTH = 64
BLOCKS = 160


class Blocks(Dataset):
    """Pieces of a text, byte by byte."""

    def __init__(self, text: bytes) -> None:
        count = min(BLOCKS, len(text) // LENGTH)
        self.blocks = torch.tensor(list(text[: count * LENGTH])).reshape(count, LENGTH)

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.blocks[index], "labels": self.blocks[index]}


def text_of(module: str) -> bytes:
    """The source of a module of Python's own: text that every machine has."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_bytes()


def main() -> None:
    torch.set_num_threads(1)  # so that no bit depends on how many cores the site has
    flare.init()
    site = flare.get_site_name()
    trainer = Trainer(
        model=model(),
        args=TrainingArguments(
            output_dir=f"out/{site}",
            num_train_epochs=1,
            per_device_train_batch_size=8,
            learning_rate=1e-2,
            use_cpu=True,
            save_strategy="no",
            eval_strategy="epoch",
            logging_steps=5,
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Blocks(text_of(TEXTS[int(site[-1]) - 1])),
        eval_dataset=Blocks(text_of("pdb")),  # what everybody measures on
    )
    flare.patch(trainer)

    while flare.is_running():
        trainer.evaluate()  # of the received weights
        trainer.train()  # receives, trains, sends


if __name__ == "__main__":
    main()
