"""One site's training with the Trainer of transformers."""

import torch
from model import VOCABULARY, make
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

import tasuki.flare.hf as flare


class Sequences(Dataset):
    """PUT YOUR OWN DATA HERE: what this site has, say in flare.get_config()["data"].

    These count up from drawn numbers, other ones at each site. Models are chosen by "validation";
    "test" is for the end, as in `tasuki evaluate RUN --split test`.
    """

    def __init__(self, site: str, part: str) -> None:
        counts = {"train": 160, "validation": 40, "test": 40}
        if part not in counts:
            raise ValueError(f"there is no split {part!r}: this site has {', '.join(counts)}")
        draw = torch.Generator().manual_seed(sum(f"{site} {part}".encode()))
        starts = torch.randint(VOCABULARY, (counts[part], 1), generator=draw)
        self.tokens = (starts + 3 * torch.arange(16)) % VOCABULARY

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.tokens[index], "labels": self.tokens[index]}


def main() -> None:
    torch.set_num_threads(1)  # so that no bit depends on how many cores the site has
    flare.init()
    site = flare.get_site_name()
    trainer = Trainer(
        model=make(),
        args=TrainingArguments(
            output_dir=f"out/{site}",
            num_train_epochs=1,  # in each turn
            per_device_train_batch_size=8,
            learning_rate=1e-2,
            save_strategy="no",
            eval_strategy="epoch",
            logging_steps=10,
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Sequences(site, "train"),
        eval_dataset=Sequences(site, "validation"),
    )
    flare.patch(trainer)

    # Where all sites score the same weights (`[evaluate]` in run.toml), `evaluate` is all.
    while flare.is_running():
        held_out = Sequences(site, flare.get_config()["split"] or "validation")
        trainer.evaluate(held_out)  # of the received weights
        trainer.train()  # receives, trains, sends


if __name__ == "__main__":
    main()
