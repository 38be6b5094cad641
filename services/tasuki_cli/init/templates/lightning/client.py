"""One site's training with PyTorch Lightning."""

import lightning
import torch
from model import FEATURES, Net
from torch.utils.data import DataLoader, TensorDataset

import tasuki.flare.lightning as flare


def data(site: str) -> tuple[DataLoader, DataLoader]:
    """PUT YOUR OWN DATA HERE: what this site has, say in flare.get_config()["data"].

    These numbers are drawn, other ones at each site.
    """
    draw = torch.Generator().manual_seed(sum(site.encode()))
    x = torch.randn(400, FEATURES, generator=draw)
    y = (x[:, 0] - 2 * x[:, 1] > 0).long()
    train, test = TensorDataset(x[:300], y[:300]), TensorDataset(x[300:], y[300:])
    return DataLoader(train, batch_size=16, shuffle=True), DataLoader(test, batch_size=100)


def main() -> None:
    torch.set_num_threads(1)  # so that no bit depends on how many cores the site has
    flare.init()
    train, test = data(flare.get_site_name())
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
        trainer.validate(module, test, verbose=False)  # of the received weights
        trainer.fit(module, train, test)  # receives, trains, sends


if __name__ == "__main__":
    main()
