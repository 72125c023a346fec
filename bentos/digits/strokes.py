"""Digits drawn again by other hands and other pens: the variety of the training set.

A picture gives two distances for every point: to the middle of its strokes as their edges tell, and to their skeleton.
Where a mixture of both is below a pen's half width there is ink; with the plane bent before, it is another writer's.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch.nn import functional as F

from bentos.digits.ink import SIZE, centre

FINE = 2  # distances are measured on a raster this much finer than the picture's
CANVAS = 40  # pixels a side of what is drawn, the digit being 28 of them, before it is centred
MARGIN = 1.4  # the picture's side over its digit's
CLOCKWISE = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))  # neighbours from the north on


def unfold(counts: np.ndarray, steps: int = 40) -> np.ndarray:
    """Smooth outlines with as much ink in each block as was counted. (n, 8, 8) in [0, 1] → (n, 80, 80), framed"""
    target = torch.from_numpy(np.pad(counts, [(0, 0), (1, 1), (1, 1)]).astype(np.float32))[:, None]
    level = target * 4 - 2
    for _ in range(steps):
        level = (level + 2 * (target - F.avg_pool2d(_outline(level, 4), 4))).clamp(-6, 6)
    return _outline(level, 8)[:, 0].numpy()


def _outline(level: torch.Tensor, finer: int) -> torch.Tensor:
    finer_rows = _bicubic(level.shape[-1], level.shape[-1] * finer, align_corners=False)
    return torch.sigmoid(3 * (finer_rows @ level @ finer_rows.T))


def _bicubic(size: int, larger: int, align_corners: bool) -> torch.Tensor:
    """What bicubic interpolation is as a matrix, which is several times faster on little squares. (larger, size)"""
    unit = torch.eye(size)[None, None]
    return F.interpolate(unit, size=(larger, size), mode="bicubic", align_corners=align_corners)[0, 0]


def distances(images: np.ndarray) -> torch.Tensor:
    """From the middle of the strokes, by edge and by skeleton, in pixels. (n, 28, 28) → (n, 2, 56, 56)"""
    fine = F.interpolate(torch.from_numpy(images)[:, None], scale_factor=FINE, mode="bicubic")[:, 0].numpy()
    shapes = fine > 0.5
    fields = np.empty((len(images), 2, *fine.shape[1:]), np.float32)
    for field, shape, line in zip(fields, shapes, thin(shapes), strict=True):
        inside = distance_transform_edt(shape)
        half_width = inside[line].mean() if line.any() else 1.0
        field[0] = distance_transform_edt(~shape) - inside + half_width
        field[1] = distance_transform_edt(~line)
    return torch.from_numpy(fields / FINE)


def thin(shapes: np.ndarray) -> np.ndarray:
    """Strokes to lines of one pixel, by Zhang and Suen (1984). (n, h, w) bool → (n, h, w) bool"""
    lines = np.pad(shapes, [(0, 0), (1, 1), (1, 1)]).view(np.uint8)
    _, height, width = shapes.shape
    inner = lines[:, 1:-1, 1:-1]
    around = [lines[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width] for down, right in CLOCKWISE]
    stays = _stays()
    while True:
        before = inner.sum()
        for half in stays:
            inner &= half[sum(neighbour << place for place, neighbour in enumerate(around))]
        if inner.sum() == before:
            return inner.astype(bool)


@cache
def _stays() -> np.ndarray:
    """Whether a pixel stays, 1 or 0, in each half of a step, by its neighbours as bits. (2, 256) uint8"""
    around = [(np.arange(256) >> place & 1).astype(bool) for place in range(8)]
    north, east, south, west = around[::2]
    count = np.sum(around, 0)
    turns = np.sum([~a & b for a, b in zip(around, around[1:] + around[:1], strict=True)], 0)
    spared = [a & b & (c | d) for a, b, c, d in ((east, south, north, west), (north, west, east, south))]
    return 1 - np.array([(count >= 2) & (count <= 6) & (turns == 1) & ~half for half in spared]).astype(np.uint8)


def unbar(sevens: np.ndarray) -> np.ndarray:
    """Sevens as many write them: what crosses the stem at half height is gone. (n, 28, 28) → (n, 28, 28)"""
    return np.stack([_unbar(seven) for seven in sevens]) if len(sevens) else sevens


def _unbar(seven: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero((seven > 0.5).any(1)).tolist()
    height = max(rows[-1] - rows[0], 1) if rows else 1
    clear = [row for row in rows if 0.24 < (row - rows[0]) / height < 0.36 or 0.76 < (row - rows[0]) / height < 0.92]
    stem = [_rightmost(seven, row) for row in clear]  # above and below where a bar would be
    if len(stem) < 4:
        return seven
    at, middle, width = np.transpose(stem)
    y, x = np.ogrid[:SIZE, :SIZE]
    off = np.abs(x - np.polyval(np.polyfit(at, middle, 1), y))
    crossed = (y > rows[0] + 0.3 * height) & (y < rows[0] + 0.8 * height)
    return np.where(crossed, seven * (np.median(width) / 2 + 1.5 - off).clip(0, 1), seven).astype(np.float32)


def _rightmost(image: np.ndarray, row: int) -> tuple[float, float, float]:
    """The last stroke that a row crosses: its row, middle and width."""
    inked = np.flatnonzero(image[row] > 0.5)
    stroke = np.split(inked, np.flatnonzero(np.diff(inked) > 1) + 1)[-1] if inked.size else np.zeros(1)
    return float(row), float(stroke.mean()), float(stroke.size)


def redraw(fields: torch.Tensor, random: torch.Generator, hands: torch.Tensor | None = None) -> np.ndarray:
    """Each digit with another pen and, with `hands`, by other hands. (n, 2, 56, 56) → (n, 1, 28, 28)"""
    n, same = len(fields), hands is None
    grid = _upright(n) if hands is None else hands
    bent = F.grid_sample(fields, grid, mode="bilinear", padding_mode="border", align_corners=False)
    pen = uniform((n, 1, 1), *((0.9, 1.8) if same else (0.5, 2.0)), random)  # half its width, in pixels of the picture
    evenness = uniform((n, 1, 1), 0, 0.15 if same else 1, random)
    softness = uniform((n, 1, 1), 0.5, 1.6, random)
    ink = (0.5 + (pen - torch.lerp(bent[:, 0], bent[:, 1], evenness)) / softness).clamp(0, 1)
    return frame(ink.numpy())


def frame(pictures: np.ndarray) -> np.ndarray:
    """Centred as served pictures are; what lost its ink is black. (n, h, w) → (n, 1, 28, 28)"""
    blank = np.zeros((SIZE, SIZE), np.float32)
    digits = (centre(picture) for picture in pictures)
    return np.stack([blank if digit is None else digit for digit in digits])[:, None]


def other_hands(ones: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Where each point of the canvas lies in the picture: turned, slanted, stretched, bent. (n,) → (n, 40, 40, 2)"""
    n = len(ones)
    turn = uniform((n,), -0.3, 0.3, random)  # radians
    slant = uniform((n,), -0.45, 0.7, random)
    stretch = torch.exp(0.1 + 0.2 * torch.randn(n, generator=random))
    # Many write a one as a plain stroke: squeezed, its flag and foot are gone.
    plain = ones & (torch.rand(n, generator=random) < 0.7)
    stretch = torch.where(plain, stretch * uniform((n,), 0.15, 0.8, random), stretch)
    cos, sin = torch.cos(turn), torch.sin(turn)
    rows = torch.stack([cos / stretch, (sin + slant) / stretch, -sin, cos], -1).view(n, 2, 2)
    grid = _upright(n) @ rows.transpose(1, 2)[:, None]
    return grid + bends(n, 3, 0.16, random) + bends(n, 6, 0.06, random)


def _upright(n: int) -> torch.Tensor:
    """The canvas laid on the picture as it is. (n, 40, 40, 2)"""
    identity = torch.eye(2, 3).repeat(n, 1, 1) * (SIZE / CANVAS * MARGIN)
    return F.affine_grid(identity, [n, 1, CANVAS, CANVAS], align_corners=False)


def bends(n: int, knots: int, strongest: float, random: torch.Generator) -> torch.Tensor:
    """Smooth displacements, of `knots` independent ones a side. (n, 40, 40, 2)"""
    strengths = uniform((n, 1, 1, 1), 0, strongest, random)
    coarse = torch.randn(n, 2, knots, knots, generator=random) * strengths
    smooth = _bicubic(knots, CANVAS, align_corners=True)
    return (smooth @ coarse @ smooth.T).permute(0, 2, 3, 1)


def uniform(shape: tuple[int, ...], low: float, high: float, random: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(shape, generator=random)
