"""A small residual network with torchvision's names: ``module:function`` for the export and the workload."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, channels_in: int, channels: int, down: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=2 if down else 1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride=2, bias=False), nn.BatchNorm2d(channels))
            if down
            else None
        )

    def forward(self, x: Any) -> Any:
        skip = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += skip
        return self.relu(x)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(16, 16, False), Block(16, 16, False))
        self.layer2 = nn.Sequential(Block(16, 32, True), Block(32, 32, False))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def make(plain_norms: bool = False) -> tuple[Any, Any]:
    """The network and four images. ``plain_norms``: as PyTorch initialises them, which makes all folded biases equal (zero)."""
    torch.manual_seed(1)
    network = Network()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not plain_norms:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return network.eval(), torch.randn(4, 3, 32, 32)


def make_plain() -> tuple[Any, Any]:
    return make(plain_norms=True)


class Unfoldable(nn.Module):
    """The convolution's output is read a second time, by a function that no hook sees."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        return self.bn(x) + torch.sigmoid(x)


def make_unfoldable() -> tuple[Any, Any]:
    torch.manual_seed(1)
    module = Unfoldable()
    module.bn.running_mean.fill_(0.5)
    return module.eval(), torch.randn(2, 3, 8, 8)
