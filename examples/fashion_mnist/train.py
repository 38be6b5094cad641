"""One turn of training on Fashion-MNIST, as a function: weights in, weights out."""

from math import inf
from time import monotonic

import torch
from data import held_out, load, site_split
from net import Net, accuracy
from torch.nn.functional import cross_entropy

from tasuki import Result, Scores, Turn

BATCH = 64
LOG_EVERY = 25  # steps


torch.set_num_threads(1)  # so that no bit depends on how many cores the site has


def train(turn: Turn) -> Result:
    (images, labels), judged = held_out(*own(turn))
    images, labels = images.to(turn.device), labels.to(turn.device)
    judged = [tensor.to(turn.device) for tensor in judged]

    net = Net().to(turn.device)
    net.load_state_dict(turn.weights())
    received = accuracy(net, *judged)
    loss = fit(net, images, labels, turn)
    trained = accuracy(net, *judged)

    print(
        f"round {turn.round + 1} of {turn.rounds}: {len(labels):,} images, "
        f"accuracy {received:.1%} received, {trained:.1%} trained",
        flush=True,
    )
    return turn.result(
        net.state_dict(),
        metrics={"accuracy": trained, "received_accuracy": received, "loss": loss},
        samples=len(labels),
    )


def evaluate(turn: Turn) -> Scores:
    match turn.split:
        case "" | "validation":
            _, (images, labels) = held_out(*own(turn))
        case "test":
            images, labels = load(turn.data, train=False)
        case split:
            raise ValueError(f"there is no split {split!r} here: write validation, or test")
    net = Net().to(turn.device)
    net.load_state_dict(turn.weights())
    share = accuracy(net, images.to(turn.device), labels.to(turn.device))
    return turn.scores({"accuracy": share}, samples=len(labels))


def own(turn: Turn) -> tuple[torch.Tensor, torch.Tensor]:
    """The images and labels that this site has."""
    return site_split(
        *load(turn.data, train=True),
        site=turn.site,
        shards=turn.params["shards"],
        alpha=turn.params["alpha"],
        seed=turn.params["draw"],
    )


def fit(net: Net, images: torch.Tensor, labels: torch.Tensor, turn: Turn) -> float:
    """Train the network for this turn's steps or seconds; return the running loss at the end.

    Every site trains for the same number of steps, however much data it has: a large site that
    trained for longer would pull the model further towards its own classes.
    """
    until = monotonic() + (turn.budget.seconds or inf)
    order = torch.Generator().manual_seed(turn.seed)  # a repeated turn repeats itself
    optimizer = torch.optim.SGD(net.parameters(), lr=turn.params["lr"], momentum=0.9)
    running = 0.0
    net.train()
    for step in range(1, (turn.budget.steps or turn.params["steps"]) + 1):
        batch = torch.randint(len(labels), (BATCH,), generator=order)
        optimizer.zero_grad()
        loss = cross_entropy(net(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        running += (loss.item() - running) / min(step, LOG_EVERY)
        if step % LOG_EVERY == 0:
            turn.log(loss=running, step=step)
        if monotonic() >= until:
            break
    return running
