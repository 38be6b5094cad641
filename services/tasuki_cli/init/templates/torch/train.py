"""One turn of training at one site: weights in, weights out."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tasuki import Result, Scores, Turn

FEATURES, CLASSES = 4, 2


class Net(nn.Module):
    """PUT YOUR OWN NETWORK HERE. `[weights] initial` makes the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), nn.Linear(16, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def data(turn: Turn, part: str) -> tuple[Tensor, Tensor]:
    """PUT YOUR OWN DATA HERE: what this site has, say in the folder that turn.data names.

    These numbers are drawn, other ones at each site. Models are chosen by "validation"; "test" is
    for the end, as in `tasuki evaluate RUN --split test`.
    """
    parts = {"train": slice(300), "validation": slice(300, 400), "test": slice(400, 500)}
    if part not in parts:
        raise ValueError(f"there is no split {part!r}: this site has {', '.join(parts)}")
    draw = torch.Generator().manual_seed(sum(turn.site.encode()))
    x = torch.randn(500, FEATURES, generator=draw)
    y = (x[:, 0] - 2 * x[:, 1] > 0).long()
    return x[parts[part]].to(turn.device), y[parts[part]].to(turn.device)


def train(turn: Turn) -> Result:
    torch.set_num_threads(1)  # so that no bit depends on how many cores the site has
    x_train, y_train = data(turn, "train")
    x_held, y_held = data(turn, "validation")

    net = Net().to(turn.device)
    net.load_state_dict(turn.weights())
    received = accuracy(net, x_held, y_held)

    optimizer = torch.optim.SGD(net.parameters(), lr=turn.params["lr"], momentum=0.9)
    net.train()
    for epoch in range(turn.params["epochs"]):
        # The generators of Python, NumPy and torch are seeded for the turn: it can be repeated.
        for batch in torch.randperm(len(x_train)).split(16):
            optimizer.zero_grad()
            loss = cross_entropy(net(x_train[batch]), y_train[batch])
            loss.backward()
            optimizer.step()
        turn.log(loss=loss, epoch=epoch + 1, epochs=turn.params["epochs"])  # shown while it trains

    metrics = {"accuracy": accuracy(net, x_held, y_held), "received_accuracy": received}
    return turn.result(net.state_dict(), metrics=metrics, samples=len(x_train))


def evaluate(turn: Turn) -> Scores:
    """Where all sites score the same weights, which `[evaluate]` in run.toml asks for."""
    torch.set_num_threads(1)
    x, y = data(turn, turn.split or "validation")
    net = Net().to(turn.device)
    net.load_state_dict(turn.weights())
    return turn.scores({"accuracy": accuracy(net, x, y)}, samples=len(x))


@torch.no_grad()
def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    net.eval()
    return float((net(x).argmax(dim=1) == y).float().mean())
