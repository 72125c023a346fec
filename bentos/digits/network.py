"""A small convolutional network: three convolutions, one hidden layer."""

from __future__ import annotations

import torch
from torch import nn


class Network(nn.Module):
    """Grey digits, light on dark, centred as MNIST is. (n, 1, 28, 28) float32 in [0, 1] → logits (n, 10)"""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2, bias=False),  # (n, 16, 14, 14)
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),  # (n, 32, 14, 14)
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (n, 32, 7, 7)
            nn.Conv2d(32, 48, 3, bias=False),  # (n, 48, 5, 5)
            nn.BatchNorm2d(48),
            nn.ReLU(),
        )
        self.classify = nn.Sequential(
            nn.Flatten(),  # (n, 1200)
            nn.Dropout(0.15),
            nn.Linear(1200, 64),
            nn.ReLU(),
            nn.Dropout(0.15),
            nn.Linear(64, 10),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.features(image)
        logits: torch.Tensor = self.classify(features)
        return logits
