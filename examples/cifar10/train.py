"""One turn of training on CIFAR-10, as a function: weights in, weights out."""

from collections.abc import Iterator
from itertools import islice
from math import ceil, inf
from time import monotonic

import torch
from data import load, site_split, source
from net import Net, accuracy
from torch import Tensor
from torch.nn.functional import cross_entropy

from tasuki import Result, Turn

BATCH = 32
LOG_EVERY = 25  # steps


def train(turn: Turn) -> Result:
    torch.set_num_threads(1)  # so that no bit depends on how many cores the site has
    download = turn.params.get("download", False)
    images, labels = site_split(
        *load(turn.data, train=True, download=download),
        site=turn.site,
        shards=turn.params.get("shards", 3),
        alpha=turn.params.get("alpha"),
    )
    images, labels = images.to(turn.device), labels.to(turn.device)
    test = [tensor.to(turn.device) for tensor in load(turn.data, train=False)]

    net = Net().to(turn.device)
    net.load_state_dict(turn.weights())
    received = accuracy(net, *test)
    loss = fit(net, images, labels, turn)
    trained = accuracy(net, *test)

    print(
        f"round {turn.round + 1} of {turn.rounds}: {source(turn.data)} accuracy "
        f"{received:.1%} received, {trained:.1%} trained",
        flush=True,
    )
    return turn.result(
        net.state_dict(),
        metrics={"accuracy": trained, "received_accuracy": received, "loss": loss},
        samples=len(labels),
    )


def fit(net: Net, images: Tensor, labels: Tensor, turn: Turn) -> float:
    """Train the network for as long as this turn lasts; return the running loss at its end."""
    until = monotonic() + (turn.budget.seconds or inf)
    order = torch.Generator().manual_seed(turn.seed)  # a repeated turn repeats itself
    optimizer = torch.optim.SGD(net.parameters(), lr=turn.params["lr"], momentum=0.9)
    epochs = turn.budget.epochs or turn.params["epochs"]
    steps = turn.budget.steps or round(epochs * ceil(len(labels) / BATCH))
    running = 0.0
    net.train()
    for step, batch in enumerate(islice(shuffled(len(labels), order), steps), start=1):
        optimizer.zero_grad()
        loss = cross_entropy(net(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        running += (loss.item() - running) / min(step, LOG_EVERY)
        if step % LOG_EVERY == 0:
            turn.log(loss=running, step=step, steps=steps)
        if monotonic() >= until:
            break
    return running


def shuffled(count: int, order: torch.Generator) -> Iterator[Tensor]:
    """Batches of positions, epoch after epoch, each epoch in a new order."""
    while True:
        yield from torch.randperm(count, generator=order).split(BATCH)
