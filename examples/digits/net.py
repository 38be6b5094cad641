"""A small convolutional network for 8x8 grey images."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, max_pool2d, relu


class Net(nn.Module):
    """Ten scores for one image; 13,706 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(32 * 2 * 2, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = max_pool2d(relu(self.conv1(x)), 2)
        x = max_pool2d(relu(self.conv2(x)), 2)
        return self.fc2(relu(self.fc1(x.flatten(start_dim=1))))


@torch.no_grad()
def score(net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """How well the network does: the share that it names rightly, and its loss."""
    net.eval()
    scores = net(images)
    return {
        "accuracy": int((scores.argmax(dim=1) == labels).sum()) / len(labels),
        "loss": cross_entropy(scores, labels).item(),
    }
