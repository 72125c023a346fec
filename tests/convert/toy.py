"""A small convolutional network with everything that optimisation folds and quantisation sees, and its recipe."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bentos import contract, folders, scores
from bentos.contract import Data, Image, Model, Recipe, Signature, Split, Tensor, Tolerance

torch.set_num_threads(1)  # the network is too small to share


class Network(nn.Module):
    """(n, 1, 8, 8) → (n, 2): is the upper half brighter?"""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(32, 2)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


def load(options: Mapping[str, str]) -> Data:
    random = np.random.default_rng(int(options.get("rows-seed", 0)))
    images = random.random((400, 1, 8, 8), np.float32)
    images[:200, :, :4] += 0.4
    labels = (np.arange(400) >= 200).astype(np.int64)
    order = random.permutation(400)
    images, labels = images[order], labels[order]
    return Data(Split(images[:300], labels[:300]), Split(images[300:], labels[300:]), "toy")


def fit(data: Data, seed: int, progress: Callable[[Iterator[Any], str], Iterator[Any]]) -> Network:
    torch.manual_seed(seed)
    network = Network().train()
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    inputs, targets = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.targets)
    for _ in progress(iter(range(80)), "step"):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()
    return network


def preprocess(data: bytes) -> tuple[np.ndarray, ...]:
    """64 bytes → (1, 8, 8) float32"""
    return (np.frombuffer(data, np.uint8).reshape(1, 8, 8).astype(np.float32) / 255,)


MODEL = Model(
    name="toy",
    title="Toy",
    doc="A toy.",
    verb="classify",
    payload=Image(),
    signature=Signature((Tensor("image", "FP32", (-1, 1, 8, 8)),), (Tensor("logits", "FP32", (-1, 2)),)),
    labels=("upper", "lower"),
    network="tests.convert.toy:Network",
    preprocess=preprocess,
    quantities=lambda inputs: {"brightness": inputs["image"].mean((1, 2, 3))},
)
RECIPE = Recipe(
    framework="pytorch",
    load=load,
    fit=fit,
    tolerances={
        "onnx": Tolerance(difference=1e-4, labels_equal=True),
        "optimized": Tolerance(difference=1e-4, labels_equal=True),
        "int8": Tolerance(metric_loss=0.02),
    },
    score=scores.classification,
    floor=0.9,
    options={"rows-seed": "draw other rows"},
)
PAYLOADS = [bytes(range(64)), bytes(range(64, 128))]


def install(patch: pytest.MonkeyPatch) -> None:
    """Where a folder bentos/toy would be."""
    patch.setattr(contract, "names", lambda: ["toy"])
    patch.setattr(contract, "model", lambda name: MODEL)
    patch.setattr(contract, "recipe", lambda name: RECIPE)
    patch.setattr(folders, "payloads", lambda model: PAYLOADS)
