"""Trained on what scikit-learn ships, drawn again by many hands and pens so that other people's digits classify."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from bentos import plots, scores
from bentos.contract import Data, Recipe, Split, Tolerance
from bentos.digits import idx, strokes
from bentos.digits.model import MODEL
from bentos.digits.network import Network

DRAWINGS = 90_000  # in the training set, all hands and pens together
EPOCHS = 4
BATCH = 128
PEAK_LEARNING_RATE = 4e-3
CHUNK = 512  # digits drawn at once


def load(options: Mapping[str, str]) -> Data:
    """Scikit-learn's digits, or MNIST's files where `mnist-dir` says; ValueError names the file and its fault."""
    if folder := options.get("mnist-dir"):
        train, held_out = (_mnist(Path(folder), part) for part in idx.FILES)
        return Data(train, held_out, "MNIST, Y. LeCun, C. Cortes and C. Burges, from its IDX files")
    return _sklearn()


def _mnist(folder: Path, part: str) -> Split:
    images, labels = idx.pair(folder, part)
    return Split(strokes.frame(images.astype(np.float32) / 255), labels.astype(np.int64))


def _sklearn() -> Data:
    """1797 digits of 8 × 8 counts, a fifth of each held out, drawn at 28 × 28 with pens of all widths."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    counts, digits = load_digits(return_X_y=True)
    with _seeded(0) as random:
        outlines = strokes.frame(strokes.unfold(counts.reshape(-1, 8, 8) / 16))
        drawn = strokes.redraw(strokes.distances(outlines[:, 0]), random)
    split = train_test_split(drawn, digits.astype(np.int64), test_size=0.2, stratify=digits, random_state=0)
    source = "sklearn.datasets.load_digits: 1797 digits of E. Alpaydin and C. Kaynak, Optical Recognition, UCI, 1998"
    return Data(Split(split[0], split[2]), Split(split[1], split[3]), source)


def fit(data: Data, seed: int, progress: Callable[[Iterator[Any], str], Iterator[Any]]) -> Network:
    """The network after EPOCHS over all drawings, in eval mode; the same seed gives the same weights."""
    with _seeded(seed) as random:
        images, digits = drawings(data.train, random, progress)
        network = Network()
        steps = [batch for _ in range(EPOCHS) for batch in torch.randperm(len(images), generator=random).split(BATCH)]
        optimizer = torch.optim.AdamW(network.parameters(), PEAK_LEARNING_RATE, weight_decay=0.02)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, total_steps=len(steps), pct_start=0.2)
        for batch in progress(iter(steps), f"batches of {BATCH}"):
            loss = F.cross_entropy(network(augment(images[batch], random)), digits[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
        return network.eval()


@contextmanager
def _seeded(seed: int) -> Iterator[torch.Generator]:
    """One thread, as sums depend on their order; for a network this small, more are no faster."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield torch.Generator().manual_seed(seed)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def drawings(
    train: Split, random: torch.Generator, progress: Callable[[Iterator[Any], str], Iterator[Any]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The digits as they are, and drawn by other hands, DRAWINGS or a little more. (m, 1, 28, 28) and (m,)"""
    sevens = train.inputs[train.targets == 7]
    originals = np.concatenate([train.inputs, strokes.unbar(sevens[:, 0])[:, None]])
    digits = torch.from_numpy(np.concatenate([train.targets, np.full(len(sevens), 7)]))
    images, hands = [torch.from_numpy(originals)], -(-DRAWINGS // len(digits))
    rows = torch.arange(len(digits)).split(CHUNK)
    for chunk in progress(iter(rows), f"× {CHUNK} digits, each drawn by {hands} hands"):
        fields, ones = strokes.distances(originals[chunk, 0]), digits[chunk] == 1
        for _ in range(hands):
            images.append(torch.from_numpy(strokes.redraw(fields, random, strokes.other_hands(ones, random))))
    order = torch.cat([torch.arange(len(digits)), *(chunk.repeat(hands) for chunk in rows)])
    return torch.cat(images), digits[order]


def augment(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Shifted by a pixel at most, paled and noisy, other for each batch. (n, 1, 28, 28) → (n, 1, 28, 28)"""
    n = len(images)
    shift = torch.randint(-1, 2, (2,), generator=random).tolist()
    paleness = 0.3 * torch.rand(n, 1, 1, 1, generator=random)
    grain = 0.08 * torch.rand(n, 1, 1, 1, generator=random) ** 2
    noise = grain * torch.randn(images.shape, generator=random)
    return (torch.roll(images, shift, (2, 3)) * (1 - paleness) + noise).clamp(0, 1)


RECIPE = Recipe(
    framework="pytorch",
    load=load,
    fit=fit,
    tolerances={
        "onnx": Tolerance(difference=1e-4),
        "optimized": Tolerance(difference=1e-4),
        "int8": Tolerance(metric_loss=0.005),
    },
    score=scores.classification,
    floor=0.99,
    options={"mnist-dir": "folder of MNIST's IDX files (train-images-idx3-ubyte[.gz] and so on) to train on instead"},
    report=plots.confusion(MODEL.labels),
)
