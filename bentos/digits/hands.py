"""Habits of writing that scikit-learn's digits lack, as strokes: looped 2s, open and hooked 9s, and so on.

A habit is a digit, what is special about it, and the way of the pen, drawn by eye. Points are "x,y" in tenths of the
digit's height, y downwards; a stroke is a smooth curve through its points. A corner is where one stroke ends and the
next begins: points of equal coordinates stay together.
"""

from __future__ import annotations

import numpy as np
import torch

from bentos.digits.ink import BOX, SIZE
from bentos.digits.strokes import FINE

HABITS: tuple[tuple[int, str, tuple[str, ...]], ...] = (
    (0, "oval", ("4,0 1.2,1.5 0.3,5 1.2,8.5 3.5,10 6,8.5 7,5 6.2,1.5 4,0",)),
    (0, "round, its ends crossed", ("5.5,1 3,0.2 0.8,2.5 0.3,6 2,9.5 5,9.5 7,6.5 6.8,2.5 4.5,0.3 3,1.2",)),
    (0, "open at the top", ("3,0.5 0.8,3 0.3,6.5 2,9.7 5,9.7 7,6.5 6.6,2.5 4.6,0",)),
    (1, "flag and foot", ("1,2.5 3.5,0", "3.5,0 3.5,5 3.5,10", "0.7,10 3.5,10 6.3,10")),
    (1, "long flag, leaning foot", ("0.5,3.3 2.5,1.8 4,0", "4,0 3.7,5 3.2,9.7", "0.5,9.8 3.2,9.7 6.5,9.4")),
    (1, "flag", ("1.8,2 3.5,0", "3.5,0 3.5,5 3.5,10")),
    (1, "long flag", ("1,3.4 2.6,1.8 4,0", "4,0 3.8,5 3.5,10")),
    (1, "stroke", ("3.5,0 3.5,5 3.5,10",)),
    (1, "bent stroke", ("4.2,0 3.6,5 3.6,10",)),
    (2, "corner at the foot", ("0.5,2.5 1.8,0.4 4.2,0 6,1.8 5.2,4.6 2.8,7.5 0.4,10", "0.4,10 3.5,9.9 7,9.8")),
    (2, "small loop", ("0.6,2.4 2,0.4 4.5,0 6,2 5,5 2.8,8 1.2,9.6 0.5,9 1.3,8.1 3,8.7 5,9.8 7.2,9.3",)),
    (2, "round loop", ("0.8,2.2 2.5,0.2 5,0.5 5.8,2.8 4.8,5.8 2.8,8.8 1,9.8 0,8.6 0.8,7.2 2.6,7.2 4.5,8.8 6.8,10",)),
    (2, "flat loop, long tail", ("0.8,1.5 3,0 5.5,0.8 5.6,3 3.6,6 0.8,8.6 0,8.2 1.5,7.2 4,7.4 8,7.6",)),
    (2, "slender loop", ("1.2,2 2.6,0.2 4.8,0.3 5.4,2.2 4,5.6 2,8.8 1,9.8 0.6,9.2 1.6,8.4 3.4,8.6 5.4,9.4 7,8.8",)),
    (2, "loop without a head", ("4.4,0 4.4,2.5 3.8,5.5 2.6,8.4 1.2,9.6 0.4,8.4 1.4,7 3.2,7.4 4.8,8.8 6.6,8.6",)),
    (2, "wide head, large loop", ("0.2,1.6 2.5,0.3 5.5,0.6 6.6,3 5,6.4 2.5,9 0.6,9.4 0.6,7.6 2.5,6.8 4.6,8 6,9.8",)),
    (2, "head curled in", ("1.6,3 0.8,1.6 2.4,0 5,0.4 5.8,2.6 4.4,5.6 2.2,8 0.6,9.4 1.6,8.4 4,9 6.8,9.8",)),
    (2, "edged head", ("0.8,0.6 3,0.4 5.8,0.3", "5.8,0.3 4.4,4 2.4,7.4 0.6,9.8", "0.6,9.8 3.5,9.3 7,9.4")),
    (2, "flat, long tail", ("1,2 2.6,0.2 4.6,0.6 4.6,2.8 2.6,6 0.4,8.4", "0.4,8.4 3.5,7.8 7.6,7.2")),
    (2, "hollow back", ("1,2.4 2.5,0.2 5,0.8 5.6,3.6 5,6.6 3,9 0.6,9.8 0.4,8.4 2.6,7.6 5,8.6 6.4,10",)),
    (3, "two bows", ("0.8,1.2 3,0 5.6,1 5.4,3.6 2.8,4.8", "2.8,4.8 5.6,5.4 6.3,7.6 4.2,10 1.6,9.9 0.3,8.6")),
    (3, "loop at the waist", ("0.8,1.5 3,0 5.4,1.2 4.8,3.8 2.8,5 3,4.2 5.2,5 6,7.6 4,10 1.5,9.8 0,8.6",)),
    (3, "edged head", ("0.8,0.3 3,0.2 5.8,0.2", "5.8,0.2 2.8,4.2", "2.8,4.2 5.4,5 6.2,7.4 4,10 1.5,9.8 0,9")),
    (3, "narrow, upright", ("1.8,1.4 3.2,0 4.8,1.2 4,3.6 3,4.6", "3,4.6 4.8,5.6 5,8 3.4,10 1.8,9.4")),
    (3, "small lower bow", ("0.8,1.6 3,0 5.2,1 4.6,3 2.6,4.6", "2.6,4.6 4.6,5.2 5.2,7.4 3.8,9.4 2,10")),
    (4, "open", ("1.2,0.4 0.8,3 0.6,5.4 3,6 6.4,5.4", "5.2,0 5,5 4.8,10")),
    (4, "open, one corner", ("1.4,0.5 0.4,5.6", "0.4,5.6 3.5,5.6 6.8,5.3", "5.4,0 5,5 4.4,10")),
    (4, "closed", ("4.8,0 2.4,3.2 0.2,6.6", "0.2,6.6 3.5,6.6 7,6.4", "4.8,0 4.8,5 4.8,10")),
    (4, "bowl", ("1,0.6 0.6,3.2 2.2,4.8 4.4,3.8 5.6,1", "5.6,0.3 5.4,5 5,10")),
    (5, "hat", ("6,0.2 3.6,0.2 1.6,0.4", "1.6,0.4 1.2,2.4 1,4.4", "1,4.4 3.5,3.7 5.8,5.4 5.6,8.2 3.2,10 0.4,9.2")),
    (5, "one line", ("6,0.3 3,0.2 1.4,1.4 1.4,3.6 3.6,4.6 5.6,6.2 4.8,9 2.6,10 0.4,9.2",)),
    (5, "hat apart", ("1.6,1 1.4,3 1.2,4.6 3.6,4 5.6,5.6 5.2,8.6 2.8,10 0.4,9.2", "1.8,0.8 4,0.5 7,0")),
    (5, "belly closed", ("6,0.2 1.8,0.6", "1.8,0.6 1.2,4.4", "1.2,4.4 4,4 5.6,6 4.6,9 2.2,9.8 0.6,8.4 1.6,7")),
    (6, "small loop", ("4.4,0 2.2,2.6 0.8,6 1,8.8 2.8,10 4.8,8.8 4.8,6.6 3,5.8 1,7.6",)),
    (6, "round loop", ("4.8,0.2 2.2,2.2 0.5,5.8 0.9,9 3.4,10 5.8,8.4 5.8,5.8 3.4,4.8 0.8,6.8",)),
    (6, "stem bent in", ("3,0 1.6,3.2 0.8,7 1.6,9.6 3.8,9.8 5.6,8 5,5.8 3.2,6 2.2,8 2.8,9.6",)),
    (6, "loop left open", ("1.6,0.2 0.8,3.4 0.6,7 2,9.8 4.8,9.6 6.4,7.6 5.6,5.4 4,6.2 3.4,8",)),
    (6, "straight stem", ("3.4,0 2.2,3.2 1.2,6.8 1.4,9.4 3.2,10 5.2,8.2 4.8,6.4 3.2,6.6 1.6,8.6",)),
    (6, "pointed loop", ("2.6,0 1.2,3.6 0.4,7.6 1.4,9.8 3.6,9.2 5.2,7 4.8,5.2 3.2,5.8 1.6,8.8",)),
    (6, "pointed loop, leaning stem", ("4.6,0 2.6,2.5 1,5.8 0.8,8.4 2,9.8 4.2,8.8 5.6,6.6 5,5.4 3.4,6.2 1.6,8.8",)),
    (7, "plain", ("0.5,0.6 3,0.4 6,0.2", "6,0.2 4.6,3.6 3.4,7 2.8,10")),
    (7, "serif", ("0.5,2.4 0.6,0.6", "0.6,0.6 3,0.6 6,0.3", "6,0.3 4.8,3.6 3.4,7 2.4,10")),
    (7, "curved", ("0.4,1.6 1.6,0.4 4,1 6,0.4", "6,0.4 5,3 4.6,6.5 4.6,10")),
    (7, "round shoulder", ("0.4,1.2 2.6,0.2 5.2,0.4 5.8,2 4.8,5 3.6,8 3,10",)),
    (7, "barred", ("0.5,0.6 6,0.3", "6,0.3 4.4,5 2.6,10", "1.8,5.2 3.8,5 6.2,4.8")),
    (8, "crossed", ("5.4,1.4 3.4,0 1.2,1.2 1.6,3.4 4,5.2 5.4,7.6 3.6,10 1.2,9.2 1,7 3.4,4.8 5.4,2.8 5.4,1.4",)),
    (8, "open at the top", ("6.2,1 4,0.2 1.4,1.2 1.6,3.4 4,5.2 5,7.6 3.4,10 1.2,9.2 1.2,7.2 3.4,5 6,2.6 6.8,1.4",)),
    (8, "two rings", ("3.4,0 1.4,1 1.4,3.6 3.4,4.7 5.4,3.6 5.4,1 3.4,0", "3.4,4.7 1,6 1,9 3.4,10 6,9 6,6 3.4,4.7")),
    (8, "narrow foot", ("6,0.6 3,0.2 0.8,1.6 2,3.8 4,5.6 4.2,8.4 2.8,10 1.4,8.6 2.4,6 4.6,3.6 6.4,1.6",)),
    (8, "open, leaning", ("6.6,1 4,0.4 1.4,1.8 2,3.8 3.8,5.8 3.8,8.4 2.4,10 1.2,8.8 2.4,6.2 4.8,3.8 7,0.6",)),
    (9, "oval, straight stem", ("5.6,1.2 3.4,0 1,1.4 0.8,4 3,5.2 5.2,3.6 5.6,1.2", "5.6,1.2 5.4,5 5.2,10")),
    (9, "oval, bent stem", ("5.4,1.6 3.4,0 1,1.6 1,4.2 3.2,5 5.2,3.2 5.4,1.6 5.2,5 4.2,8 2.8,10",)),
    (9, "open at the top", ("3.6,0.2 1.6,0.8 0.4,2.8 1.2,4.6 3.4,4.4 5.4,2.4", "5.8,0.6 5.3,5 4.6,10")),
    (9, "open, slanted", ("5,0 2.2,1 0.6,3.4 1.4,4.8 3.6,4.2 5.4,2.6 4.8,5.6 3.6,8 2.4,10",)),
    (9, "hooked", ("5.2,1.2 3.4,0 1.2,1.6 1.4,4.2 3.6,4.6 5.2,2.6 5.6,5 5,8.4 3,10 0.8,9",)),
    (9, "open and hooked", ("5.6,0.4 2.8,0.6 0.9,2.6 1.8,4.3 4,3.8 5.5,2.4 5.4,5.4 4.4,8.6 2.6,9.9 0.8,9",)),
    (9, "large bowl, short stem", ("5.8,1.2 3.4,0 0.8,2.4 0.4,5.6 2.4,7.4 4.8,5.6 5.8,1.2", "5.8,1.2 5.6,5 6.2,9.8")),
    (9, "wide bowl, stem apart", ("6,0.8 3,0.2 0.4,2.2 0.6,5 3.2,5.6 6,3.4", "6.2,0.4 6,4 6.6,9.6")),
    (9, "small bowl, long stem", ("4.6,1.2 3,0 1.8,1.2 2.2,3 4,3 4.6,1.2", "4.6,1.2 4.8,5 4.6,10")),
    (9, "edged", ("5.2,0.4 1.6,1", "1.6,1 1,4", "1,4 3,4.4 5.2,3.4", "5.2,0.4 5,5 4.8,10")),
)
SPACING = 0.3  # between the points of a stroke that ink is measured from, in tenths of the height
SHAKE = 0.35  # standard deviation of a point, in tenths of the height


def write(n: int, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits of all habits in turn, each point shaken: distances as `strokes.distances` has them, and labels.

    → (n, 2, 56, 56) in pixels, (n,) int64
    """
    habits = [[strokes for of, _, strokes in HABITS if of == digit] for digit in range(10)]
    labels = torch.arange(n) % 10
    fields = [_distances(habits[i % 10][i // 10 % len(habits[i % 10])], random) for i in range(n)]
    return torch.stack(fields)[:, None].repeat(1, 2, 1, 1), labels


def _distances(strokes: tuple[str, ...], random: torch.Generator) -> torch.Tensor:
    """How far each point of the raster is from the nearest stroke, in pixels. → (56, 56)"""
    ways = [[tuple(map(float, point.split(","))) for point in stroke.split()] for stroke in strokes]
    shaken = {p: torch.tensor(p) + SHAKE * torch.randn(2, generator=random) for way in ways for p in dict.fromkeys(way)}
    line = torch.cat([_curve(torch.stack([shaken[point] for point in way])) for way in ways])
    low, high = line.amin(0), line.amax(0)
    line = (line - (low + high) / 2) * BOX / (high - low).max() + SIZE / 2
    side = (torch.arange(SIZE * FINE) + 0.5) / FINE
    raster = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1).view(-1, 2)
    return torch.cdist(raster, line).amin(1).view(SIZE * FINE, SIZE * FINE)


def _curve(points: torch.Tensor) -> torch.Tensor:
    """Points along a Catmull-Rom spline, evenly by length. (k, 2) → (m, 2)"""
    padded = torch.cat([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    at = torch.linspace(0, len(points) - 1, 12 * len(points))
    i = at.long().clamp(max=len(points) - 2)
    t = (at - i)[:, None]
    a, b, c, d = (padded[i + k] for k in range(4))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    far = torch.cat([torch.zeros(1), (curve[1:] - curve[:-1]).norm(dim=1).cumsum(0)]).numpy()
    even = np.arange(0, far[-1], SPACING)
    return torch.from_numpy(np.stack([np.interp(even, far, axis) for axis in curve.numpy().T], 1).astype(np.float32))
