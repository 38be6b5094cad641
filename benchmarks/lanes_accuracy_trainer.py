"""What the sites of `lanes_accuracy.py` do: steps on images of their own, scores on others of them.

In the data folder there is a file for each site, with what it has.
"""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from tasuki import Result, Scores, Turn

torch.set_num_threads(1)  # so that no bit depends on how many cores there are


class Net(nn.Module):
    """Ten scores for an image of so many numbers; without batch norm, whose means a merge ages."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(numbers, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.fc2(relu(self.fc1(images)))
        return scores


def fashion_mnist() -> Net:
    return Net(28 * 28)


def photo10() -> Net:
    return Net(6 * 8 * 8)


NETS = {"fashion_mnist": fashion_mnist, "photo10": photo10}


def train(turn: Turn) -> Result:
    """As many steps at every site, however many images it has: so turns last equally long."""
    has = own(turn.data, turn.site)
    images, labels = has["images"], has["labels"]
    net = NETS[turn.params["data"]]()
    net.load_state_dict(turn.weights())
    draws = torch.Generator().manual_seed(turn.seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=turn.params["lr"], momentum=0.9)
    for _ in range(turn.params["steps"]):
        batch = torch.randint(len(labels), (turn.params["batch"],), generator=draws)
        optimizer.zero_grad()
        cross_entropy(net(images[batch]), labels[batch]).backward()
        optimizer.step()
    return turn.result(net.state_dict(), samples=len(labels))


def evaluate(turn: Turn) -> Scores:
    """On the images that this site does not train on."""
    has = own(turn.data, turn.site)
    net = NETS[turn.params["data"]]()
    net.load_state_dict(turn.weights())
    share = accuracy(net, has["judged_images"], has["judged_labels"])
    return turn.scores({"accuracy": share}, samples=len(has["judged_labels"]))


@torch.no_grad()
def accuracy(net: Net, images: Tensor, labels: Tensor) -> float:
    """The share of the images that the network names rightly."""
    return (net(images).argmax(dim=1) == labels).double().mean().item()


@functools.cache  # one process has the turns of all sites
def own(folder: str, site: str) -> dict[str, Tensor]:
    return load_file(Path(folder) / f"{site}.safetensors")
