"""The network of PyTorch's CIFAR-10 tutorial: two convolutions, three linear layers."""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu


class Net(nn.Module):
    """Ten scores for a 32x32 colour image; 62,006 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, kernel_size=5)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = max_pool2d(relu(self.conv1(x)), 2)
        x = max_pool2d(relu(self.conv2(x)), 2)
        x = relu(self.fc1(x.flatten(start_dim=1)))
        return self.fc3(relu(self.fc2(x)))


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of the images that the network names rightly."""
    net.eval()
    hits = sum(
        int((net(x).argmax(dim=1) == y).sum())
        for x, y in zip(images.split(500), labels.split(500), strict=True)
    )
    return hits / len(labels)
