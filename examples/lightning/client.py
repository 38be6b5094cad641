"""One site's training with PyTorch Lightning.

In a script for NVFlare the import of flare would be `import nvflare.client.lightning as flare`;
nothing else differs.
"""

import lightning
import torch
from model import Digits
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import tasuki.flare.lightning as flare

SITES = 3
TEST = 360  # images that no site trains on


def data(site: str) -> tuple[DataLoader, DataLoader]:
    """This site's third of the images, and what everybody measures on."""
    digits = load_digits()
    images = torch.tensor(digits.data / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    part = slice(TEST + int(site[-1]) - 1, None, SITES)  # site-2 takes the second of every three
    train = TensorDataset(images[part], labels[part])
    test = TensorDataset(images[:TEST], labels[:TEST])
    return DataLoader(train, batch_size=16, shuffle=True), DataLoader(test, batch_size=TEST)


def main() -> None:
    torch.set_num_threads(1)  # so that no bit depends on how many cores the site has
    flare.init()
    train, test = data(flare.get_site_name())
    module = Digits()
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    flare.patch(trainer)

    while flare.is_running():
        trainer.validate(module, test, verbose=False)  # of the received weights
        trainer.fit(module, train, test)  # receives, trains, sends


if __name__ == "__main__":
    main()
