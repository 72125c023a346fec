"""Trained on what scikit-learn ships, drawn again by many hands and pens, and on written habits that it lacks.

So other people's digits classify. No digit of MNIST is trained on, unless `--mnist-dir` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from bentos import plots, scores
from bentos.contract import Data, Recipe, Split, Tolerance
from bentos.digits import drawings, idx, strokes
from bentos.digits.drawings import Progress
from bentos.digits.model import MODEL
from bentos.digits.network import Network

BY_OTHER_HANDS = 28_000  # of the training digits redrawn, as by other writers
BY_OTHER_PENS = 9_000  # … and as they are
WRITTEN = 21_600  # with the habits of hands.py
HANDS_PER_HABIT = 12  # that write each of its shapes
EPOCHS = 3
LAST = 0.4  # of an epoch more, of the training digits mostly
PEN_REPEATS = 2  # of each of BY_OTHER_PENS among the last
WRITTEN_SHARE = 0.2  # of WRITTEN among the last
BATCH = 192
PEAK_LEARNING_RATE = 4e-3


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


def fit(data: Data, seed: int, progress: Progress) -> Network:
    """The network after EPOCHS over all drawings and the last ones, in eval mode; the same seed, the same weights."""
    with _seeded(seed) as random:
        images, digits, steps = _schedule(data.train, random, progress)
        network = Network()
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(network.parameters(), PEAK_LEARNING_RATE, weight_decay=0.02, fused=True)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, total_steps=len(steps), pct_start=0.2)
        for batch in progress(iter(steps), f"batches of {BATCH}"):
            inputs = augment(images[batch], random).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(network(inputs), digits[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return network.eval()


def _schedule(
    train: Split, random: torch.Generator, progress: Progress
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """All drawings, their digits, and which of them each batch has.

    The last ones are mostly the training digits themselves, so that other habits do not cost those that they have.
    """
    originals, digits = drawings.unbarred(train)
    others, pens = drawings.redrawn(originals, digits, (BY_OTHER_HANDS, BY_OTHER_PENS), random, progress)
    habits = drawings.written(WRITTEN, HANDS_PER_HABIT, random, progress)
    parts = [others, habits, pens, (torch.from_numpy(originals)[:, None], digits)]
    images, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    order = [torch.randperm(len(images), generator=random) for _ in range(EPOCHS)]
    redrawn, written, real = torch.arange(len(images)).split(
        [len(others[1]), len(habits[1]), len(pens[1]) + len(digits)]
    )
    few = written[torch.rand(len(written), generator=random) < WRITTEN_SHARE]
    last = torch.cat([redrawn, few, real.repeat(PEN_REPEATS)])
    order.append(last[torch.randperm(len(last), generator=random)][: int(LAST * len(images))])
    return images, labels, [batch for rows in order for batch in rows.split(BATCH)]


@contextmanager
def _seeded(seed: int) -> Iterator[torch.Generator]:
    """One thread, as sums depend on their order; for a network this small, more are no faster."""
    memory: Any = torch.utils.deterministic
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = memory.fill_uninitialized_memory
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # a sixth of the time, and nothing is read that was not written
    try:
        yield torch.Generator().manual_seed(seed)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        memory.fill_uninitialized_memory = filled


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
