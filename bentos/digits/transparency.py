"""What a person sees of a picture that is transparent somewhere: its digit may be what is there, or what is not."""

from __future__ import annotations

import numpy as np

MIN_CONTRAST = 0.1  # greys that differ by less are one ink
MAX_EDGE_SPREAD = 0.15  # of the greys along the edge of one paper or one ink
MIN_FADE = 0.3  # correlation of grey and nearness to the edge where a smooth drawing lost its paper
MIN_CARD_FILL = 0.8  # of its bounding box that a picture with a transparent surrounding fills


def fill_paper(luminance: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Grey values, the transparent ones those of the paper that is missing. (h, w) twice in [0, 1] → (h, w) in [0, 1]

    One ink, or one ground with a digit cut out of it, is its own shape.
    """
    if alpha.min() == 1:
        return luminance
    solid = alpha > float(alpha.max()) / 2
    if not solid.any() or np.ptp(luminance[solid]) < MIN_CONTRAST:
        return alpha
    paper = _missing_paper(luminance, solid)
    if paper is None:
        return alpha
    values: np.ndarray = luminance * alpha + paper * (1 - alpha)
    return values


def _missing_paper(luminance: np.ndarray, solid: np.ndarray) -> float | None:
    """The grey of the transparent part, told by the pixels beside it; None where they tell nothing."""
    n_open = _open_neighbours(solid)
    rim = luminance[solid & (n_open > 0)]
    if not rim.size:
        return float(np.median(luminance[solid]))
    fade = _fade(luminance, n_open, solid)
    if abs(fade) > MIN_FADE:
        return float(np.quantile(rim, 0.98 if fade > 0 else 0.02))
    edge = float(np.median(rim))
    if _fills_its_box(solid):
        return edge  # a card, or a ground of which little is missing
    if np.ptp(np.quantile(rim, (0.1, 0.9))) > MAX_EDGE_SPREAD:
        return None
    return float(edge < 0.5)  # a drawing in one ink that kept the paper in its loops


def _open_neighbours(solid: np.ndarray) -> np.ndarray:
    """How many of the eight around each pixel are transparent; beyond the picture none is. (h, w) → (h, w) int8"""
    framed = np.pad(~solid, 1).astype(np.int8)
    rows = framed[:-2] + framed[1:-1] + framed[2:]
    counts: np.ndarray = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return counts


def _fade(luminance: np.ndarray, n_open: np.ndarray, solid: np.ndarray) -> float:
    """Whether solid pixels grow lighter towards what is transparent: correlation over neighbours, in [-1, 1]."""
    product = nearer = lighter = 1e-6
    for axis in (0, 1):
        both = np.logical_and(*_adjacent(solid, axis))
        steps = np.subtract(*_adjacent(n_open, axis))[both].astype(np.float32)
        changes = np.subtract(*_adjacent(luminance, axis))[both] * (steps != 0)
        product += float(steps @ changes)
        nearer += float(steps @ steps)
        lighter += float(changes @ changes)
    return float(product / np.sqrt(nearer * lighter))


def _adjacent(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    return (values[1:], values[:-1]) if axis == 0 else (values[:, 1:], values[:, :-1])


def _fills_its_box(solid: np.ndarray) -> bool:
    height, width = (np.ptp(np.flatnonzero(solid.any(axis))) + 1 for axis in (1, 0))
    return bool(solid.sum() > MIN_CARD_FILL * height * width)
