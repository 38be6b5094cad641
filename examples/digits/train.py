"""One turn of training on handwritten digits: weights in, weights out."""

from math import inf
from time import monotonic

import torch
from data import judged_on, load, site_part, test_part
from net import Net, score
from torch import Tensor
from torch.nn.functional import cross_entropy

from tasuki import Result, Scores, Turn

BATCH = 16


def train(turn: Turn) -> Result:
    torch.set_num_threads(1)  # so that no bit depends on how many cores the site has
    everything = load(turn.data)
    test = [tensor.to(turn.device) for tensor in test_part(*everything)]
    images, labels = site_part(*everything, site=turn.site, shards=turn.params.get("shards", 3))
    images, labels = images.to(turn.device), labels.to(turn.device)

    net = Net().to(turn.device)
    net.load_state_dict(turn.weights())
    received = score(net, *test)
    fit(net, images, labels, turn)
    trained = score(net, *test)

    print(
        f"round {turn.round + 1} of {turn.rounds}: {len(labels)} images, accuracy "
        f"{received['accuracy']:.1%} received, {trained['accuracy']:.1%} trained",
        flush=True,
    )
    before = {f"received_{name}": value for name, value in received.items()}
    return turn.result(net.state_dict(), metrics={**before, **trained}, samples=len(labels))


def evaluate(turn: Turn) -> Scores:
    torch.set_num_threads(1)
    images, labels = judged_on(*load(turn.data), split=turn.split)
    net = Net().to(turn.device)
    net.load_state_dict(turn.weights())
    metrics = score(net, images.to(turn.device), labels.to(turn.device))
    return turn.scores(metrics, samples=len(labels))


def fit(net: Net, images: Tensor, labels: Tensor, turn: Turn) -> None:
    """Train for the turn's epochs, or for as many seconds as it has."""
    until = monotonic() + (turn.budget.seconds or inf)
    shuffle = torch.Generator().manual_seed(turn.seed)  # a repeated turn repeats itself
    optimizer = torch.optim.SGD(net.parameters(), lr=turn.params["lr"], momentum=0.9)
    net.train()
    for epoch in range(round(turn.budget.epochs or turn.params["epochs"])):
        losses = []
        for batch in torch.randperm(len(labels), generator=shuffle).split(BATCH):
            optimizer.zero_grad()
            loss = cross_entropy(net(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if monotonic() >= until:
                break
        turn.log(loss=sum(losses) / len(losses), epoch=epoch + 1)
        if monotonic() >= until:
            break
