"""One site's training with PyTorch Lightning."""

import lightning
import torch
from model import FEATURES, Net
from torch.utils.data import DataLoader, TensorDataset

import tasuki.flare.lightning as flare


def data(site: str, part: str) -> DataLoader:
    """PUT YOUR OWN DATA HERE: what this site has, say in flare.get_config()["data"].

    These numbers are drawn, other ones at each site. Models are chosen by "validation"; "test" is
    for the end, as in `tasuki evaluate RUN --split test`.
    """
    parts = {"train": slice(300), "validation": slice(300, 400), "test": slice(400, 500)}
    if part not in parts:
        raise ValueError(f"there is no split {part!r}: this site has {', '.join(parts)}")
    draw = torch.Generator().manual_seed(sum(site.encode()))
    x = torch.randn(500, FEATURES, generator=draw)
    y = (x[:, 0] - 2 * x[:, 1] > 0).long()
    held = TensorDataset(x[parts[part]], y[parts[part]])
    if part == "train":
        return DataLoader(held, batch_size=16, shuffle=True)
    return DataLoader(held, batch_size=100)


def main() -> None:
    torch.set_num_threads(1)  # so that no bit depends on how many cores the site has
    flare.init()
    site = flare.get_site_name()
    train, validation = data(site, "train"), data(site, "validation")
    module = Net()
    trainer = lightning.Trainer(
        max_epochs=2,  # in each turn
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    flare.patch(trainer)

    # Where all sites score the same weights (`[evaluate]` in run.toml), `validate` is all.
    while flare.is_running():
        held_out = data(site, flare.get_config()["split"] or "validation")
        trainer.validate(module, held_out, verbose=False)  # of the received weights
        trainer.fit(module, train, validation)  # receives, trains, sends


if __name__ == "__main__":
    main()
