"""Digits written by many hands that no data set has to show: habits, with slant, pen and pressure of each writer.

Where strokes.py draws scans again, this draws what scans of 8 × 8 counts cannot hold: loops, hooks, open tops.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from bentos.digits.habits import POINTS, habits
from bentos.digits.ink import BOX, SIZE
from bentos.digits.strokes import bends, frame, uniform

MARGIN = 1.4  # bends reach so far beyond the box of the points
CHUNK = 8  # drawings at once, whose distances stay in a core's cache


def write(digit: int, n: int, random: torch.Generator) -> np.ndarray:
    """A digit by n writers, centred as served pictures are. → (n, 1, 28, 28) float32 in [0, 1], light on dark"""
    lines = _slant(_lines(digit, n, random), digit == 1, random)
    pen = 0.7 + 1.5 * torch.rand(n, generator=random) ** 1.3  # half its width, in pixels
    softness = uniform((n,), 0.7, 1.5, random)
    pressure = 1 + 0.12 * torch.randn(n, 1, 5, generator=random)
    along = F.interpolate(pressure, size=POINTS, mode="linear", align_corners=True)[:, 0].clamp(0.6, 1.5)
    chunks = zip(*(part.split(CHUNK) for part in (lines, pen, softness, along)), strict=True)
    return frame(torch.cat([_draw_ink(*chunk) for chunk in chunks]).numpy())


def _lines(digit: int, n: int, random: torch.Generator) -> torch.Tensor:
    """Points along the strokes. → (n, POINTS, 2) in [-1, 1] or a little beyond"""
    ways = habits(digit)
    shares = torch.tensor([way.share for way in ways], dtype=torch.float32)
    way_of = torch.multinomial(shares, n, replacement=True, generator=random)
    lines = torch.empty(n, POINTS, 2)
    for i, way in enumerate(ways):
        rows = torch.nonzero(way_of == i)[:, 0]
        points = torch.lerp(way.extremes[0], way.extremes[1], uniform((len(rows), 1, 1), -0.2, 1.2, random))
        sloppiness = uniform((len(rows), 1, 1), 0.02, 0.12, random)
        lines[rows] = way.curve @ (points + sloppiness * torch.randn(points.shape, generator=random))
    return lines


def _slant(lines: torch.Tensor, plain: bool, random: torch.Generator) -> torch.Tensor:
    """Bent, stretched, slanted and turned; a plain stroke leans most. (n, POINTS, 2) → (n, POINTS, 2)"""
    n = len(lines)
    bent = lines + _sample(lines, bends(n, 3, 0.16, random)) + _sample(lines, bends(n, 6, 0.05, random))
    turn = uniform((n,), -0.25, 0.25, random)  # radians
    slant = uniform((n,), -0.3, 0.9, random) if plain else 0.15 + 0.25 * torch.randn(n, generator=random)
    stretch = torch.exp(-0.05 + 0.25 * torch.randn(n, generator=random))
    cos, sin = torch.cos(turn), torch.sin(turn)
    rows = torch.stack([cos * stretch, -cos * slant - sin, sin * stretch, cos - sin * slant], -1).view(n, 2, 2)
    return bent @ rows.transpose(1, 2)


def _sample(lines: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
    """A field of displacements at points. (n, POINTS, 2), (n, h, w, 2) → (n, POINTS, 2)"""
    at = F.grid_sample(field.permute(0, 3, 1, 2), lines[:, None] / MARGIN, padding_mode="border", align_corners=True)
    return at[:, :, 0].transpose(1, 2)


def _draw_ink(lines: torch.Tensor, pen: torch.Tensor, softness: torch.Tensor, pressure: torch.Tensor) -> torch.Tensor:
    """Ink along points, fitting BOX. (n, POINTS, 2), (n,), (n,), (n, POINTS) → (n, 28, 28) in [0, 1]"""
    low, high = lines.amin(1, keepdim=True), lines.amax(1, keepdim=True)
    scale = (BOX - 2 * pen - 0.8 * softness)[:, None, None] / (high - low).amax(2, keepdim=True)
    width = (pen[:, None] * pressure).clamp_min(0.3)[..., None]
    spots = ((lines - (low + high) / 2) * scale + (SIZE - 1) / 2) / width
    # |pixel / width − spot|² as one product of matrices
    terms = torch.cat([1 / width**2, -2 * spots / width, spots.square().sum(2, keepdim=True)], 2)  # (n, POINTS, 4)
    v, u = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    pixels = torch.stack([u * u + v * v, u, v, torch.ones_like(u)]).reshape(4, -1).float()  # (4, 784)
    half_widths = (terms @ pixels).amin(1).clamp_min(0).sqrt()
    return (0.5 + (1 - half_widths) * (pen / softness)[:, None]).clamp(0, 1).view(-1, SIZE, SIZE)
