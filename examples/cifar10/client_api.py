"""One site's training on CIFAR-10, written for NVFlare's Client API.

In an NVFlare script the next line would be `import nvflare.client as flare`; nothing else differs.
"""

from collections.abc import Iterator
from math import inf
from time import monotonic

import torch
from data import load, site_split, source
from net import Net, accuracy
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

import tasuki.flare as flare

DATASET_PATH = "/data"  # holds cifar-10-batches-py, if you have it
SITES = 3
EPOCHS = 3
BATCH_SIZE = 32
LEARNING_RATE = 0.005


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    flare.init()
    site = flare.get_site_name()

    train_set = site_split(*load(DATASET_PATH, train=True), site=site, shards=SITES)
    test_set = [tensor.to(device) for tensor in load(DATASET_PATH, train=False)]
    loader = DataLoader(TensorDataset(*train_set), batch_size=BATCH_SIZE, shuffle=True)

    net = Net()
    criterion = nn.CrossEntropyLoss()

    while flare.is_running():
        input_model = flare.receive()
        if input_model is None:
            break

        net.load_state_dict(input_model.params)
        net.to(device)
        received = accuracy(net, *test_set)

        optimizer = optim.SGD(net.parameters(), lr=LEARNING_RATE, momentum=0.9)
        net.train()
        steps = 0
        for images, labels in batches(loader):
            optimizer.zero_grad()
            loss = criterion(net(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            steps += 1

        trained = accuracy(net, *test_set)
        print(
            f"round {input_model.current_round + 1} of {input_model.total_rounds}: "
            f"{source(DATASET_PATH)} accuracy {received:.1%} received, {trained:.1%} trained",
            flush=True,
        )

        output_model = flare.FLModel(
            params=net.cpu().state_dict(),
            metrics={"accuracy": trained, "received_accuracy": received},
            meta={"NUM_STEPS_CURRENT_ROUND": steps},
        )
        flare.send(output_model)


def batches(loader: DataLoader) -> Iterator[list[torch.Tensor]]:
    """This turn's epochs, or what the run's `[budget] seconds` leave time for."""
    seconds = flare.get_config().get("budget", {}).get("seconds")  # NVFlare has none
    until = monotonic() + (seconds or inf)
    for _ in range(EPOCHS):
        for batch in loader:
            yield batch
            if monotonic() >= until:
                return


if __name__ == "__main__":
    main()
