"""The training set: the digits as they are, drawn by other hands and pens, and written with other habits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from bentos.contract import Split
from bentos.digits import hands, strokes

CHUNK = 512  # digits drawn at once

Drawings = tuple[torch.Tensor, torch.Tensor]  # (n, 1, 28, 28) float32 and (n,) int64
Progress = Callable[[Iterator[Any], str], Iterator[Any]]


def unbarred(train: Split) -> tuple[np.ndarray, torch.Tensor]:
    """The digits, and the sevens once more without their bars. → (n, 28, 28) and (n,) int64"""
    sevens = train.inputs[train.targets == 7][:, 0]
    images = np.concatenate([train.inputs[:, 0], strokes.unbar(sevens)])
    return images, torch.from_numpy(np.concatenate([train.targets, np.full(len(sevens), 7)]))


def redrawn(
    images: np.ndarray, digits: torch.Tensor, counts: tuple[int, int], random: torch.Generator, progress: Progress
) -> tuple[Drawings, Drawings]:
    """Drawn by other hands, and by the same with other pens: as many as `counts` says, or a little more, of each."""
    n_hands, n_pens = (-(-count // len(digits)) for count in counts)
    others: list[torch.Tensor] = []
    same: list[torch.Tensor] = []
    rows = torch.arange(len(digits)).split(CHUNK)
    for chunk in progress(iter(rows), f"× {CHUNK} digits, each drawn by {n_hands} hands"):
        fields, ones = strokes.distances(images[chunk]), digits[chunk] == 1
        others += [_draw(fields, random, strokes.other_hands(ones, random)) for _ in range(n_hands)]
        same += [_draw(fields, random) for _ in range(n_pens)]
    by_hand = torch.cat([digits[chunk].repeat(n_hands) for chunk in rows])
    by_pen = torch.cat([digits[chunk].repeat(n_pens) for chunk in rows])
    return (torch.cat(others), by_hand), (torch.cat(same), by_pen)


def written(count: int, n_hands: int, random: torch.Generator, progress: Progress) -> Drawings:
    """Shapes of all habits, each written by `n_hands`: `count` digits, or a few more."""
    images, labels = [], []
    shapes = -(-count // n_hands)
    chunks = [min(CHUNK, shapes - i) for i in range(0, shapes, CHUNK)]
    for n in progress(iter(chunks), f"× {CHUNK} written shapes, each by {n_hands} hands"):
        fields, digits = hands.write(n, random)
        unsqueezed = torch.zeros(n, dtype=torch.bool)
        images += [_draw(fields, random, strokes.other_hands(unsqueezed, random)) for _ in range(n_hands)]
        labels += [digits] * n_hands
    return torch.cat(images), torch.cat(labels)


def _draw(fields: torch.Tensor, random: torch.Generator, grid: torch.Tensor | None = None) -> torch.Tensor:
    return torch.from_numpy(strokes.redraw(fields, random, grid))
