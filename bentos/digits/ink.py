"""Grey pictures → digits as MNIST has them. Training data and served pictures both go through `centre`."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIZE = 28  # pixels a side of what the network takes
BOX = 20  # the digit's longest side within it
FAINT_INK = 0.1  # ink below this does not stretch the digit's box
SAME_GREY = 1 / 255  # greys no further apart are one paper
MIN_CONTRAST = 0.02  # of black to white: five of 255 grey levels


def centre(ink: np.ndarray) -> np.ndarray | None:
    """The digit in a 20×20 box, its centre of mass in the middle. (h, w) in [0, 1] → (28, 28), None without ink."""
    rows, columns = (np.flatnonzero((ink > FAINT_INK).any(axis)) for axis in (1, 0))
    if not rows.size:
        return None
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    longest = max(digit.shape)
    if (
        ink.shape == (SIZE, SIZE)
        and BOX - 2 <= longest <= BOX
        and np.abs(_mass_centre(ink) - (SIZE - 0.5) / 2).max() < 1
    ):
        return ink  # it is so already, and resampling would only blur it
    if not BOX - 2 <= longest <= BOX:
        digit = _resize(digit, BOX / longest)
    middle = np.rint((SIZE - 1) / 2 - _mass_centre(digit)).astype(int)
    top, left = np.clip(middle, 0, SIZE - np.array(digit.shape))
    frame = np.zeros((SIZE, SIZE), np.float32)
    frame[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return frame


def _mass_centre(ink: np.ndarray) -> np.ndarray:
    rows, columns = ink.sum(1), ink.sum(0)
    return np.array([rows @ np.arange(rows.size), columns @ np.arange(columns.size)]) / rows.sum()  # type: ignore[no-any-return]


def _resize(digit: np.ndarray, scale: float) -> np.ndarray:
    """Scaled with antialiasing; hairlines, which that pales, are made bright again."""
    height, width = (max(1, round(side * scale)) for side in digit.shape)
    picture = Image.fromarray(np.ascontiguousarray(digit, np.float32))
    small = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC)).clip(0, 1)
    inked = small[small > FAINT_INK]
    bright = _quantile(inked, 0.8) if inked.size else max(float(small.max()), 1e-6)
    return (small * max(1.0, 0.75 / bright)).clip(0, 1)


def _quantile(values: np.ndarray, share: float) -> float:
    """np.quantile, at a tenth of its time for as few values as a digit has pixels."""
    place = share * (values.size - 1)
    at = int(place)
    after = min(at + 1, values.size - 1)
    ordered = np.partition(values, (at, after))
    return float(ordered[at] + (ordered[after] - ordered[at]) * (place - at))


def extract(grey: np.ndarray) -> np.ndarray | None:
    """The ink, light on dark, whatever the paper. (h, w) in [0, 1] of either polarity → the same in [0, 1] or None.

    The paper is the colour of the picture's edge, or a smooth surface where the light is uneven; ink is what differs
    from it by more than the paper's own noise. None where nothing does.
    """
    grey = _crop_frame(grey)
    edge = _ring(grey)
    paper = _commonest_grey(edge)
    depth = grey - paper
    noise = _noise(edge - paper)
    if np.mean(np.abs(depth) < SAME_GREY) < 0.25:
        depth = grey - _surface(grey)
        noise = _noise(depth)
    ink = np.maximum(depth if (depth**3).sum() > 0 else -depth, 0)
    darkest = float(ink.max())
    if darkest < max(MIN_CONTRAST, 6 * noise):
        return None
    floor = 3 * noise
    full = float(np.quantile(ink[ink > darkest / 2], 0.9)) if noise else darkest
    ink = ((ink - floor) / (full - floor)).clip(0, 1).astype(np.float32)
    return ink if max(ink.shape) <= 2 * SIZE else _remove_specks(ink)


def _commonest_grey(greys: np.ndarray) -> float:
    """The middle of the greys that most share."""
    bins = (greys * 15.99).astype(np.int64)
    return float(np.median(greys[np.abs(bins - np.bincount(bins).argmax()) <= 1]))


def _noise(noise: np.ndarray) -> float:
    """Standard deviation by the quarter nearest to nought, which no ink is among."""
    return float(np.quantile(np.abs(noise), 0.25)) / 0.319


def _crop_frame(grey: np.ndarray) -> np.ndarray:
    """Without a drawn border: rings of one colour round a ring of another."""
    for _ in range(min(grey.shape) // 12):
        outer, inner = _ring(grey), _ring(grey[1:-1, 1:-1])
        if np.ptp(outer) > 0.1 or np.mean(np.abs(inner - np.median(outer)) > 0.3) < 0.9:
            return grey
        grey = grey[1:-1, 1:-1]
    return grey


def _ring(grey: np.ndarray) -> np.ndarray:
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _surface(grey: np.ndarray) -> np.ndarray:
    """The paper under uneven light: a parabolic surface through most of the picture, ink being the outliers."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, side, dtype=np.float32) for side in grey.shape), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    step = max(1, max(grey.shape) // 48)
    samples, values = terms[::step, ::step].reshape(-1, 6), grey[::step, ::step].reshape(-1)
    weights = np.ones_like(values)
    for _ in range(8):
        weighted = samples.T * weights
        fitted = np.linalg.solve(weighted @ samples + 1e-4 * np.eye(6, dtype=np.float32), weighted @ values)
        residual = np.abs(values - samples @ fitted)
        weights = 1 / (1 + (residual / (2 * max(float(np.median(residual)), 1e-3))) ** 2)
    surface: np.ndarray = terms @ fitted
    return surface


def _remove_specks(ink: np.ndarray) -> np.ndarray:
    """Only the strokes that weigh a twentieth of the heaviest or more: dust would stretch the digit's box."""
    step = -(-max(ink.shape) // 64)
    padded = np.pad(ink, [(0, -side % step) for side in ink.shape])
    blocks = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step).max((1, 3))
    labels = _label_components(blocks > 0.3)
    mass = np.bincount(labels.ravel(), blocks.ravel())
    mass[0] = 0
    mass[_desk_labels(labels, mass)] = 0
    stays = _dilate(mass[labels] >= max(float(mass.max()), 1e-6) / 20)
    whole = np.repeat(np.repeat(stays, step, 0), step, 1)[: ink.shape[0], : ink.shape[1]]
    return np.where(whole, ink, 0)


def _desk_labels(labels: np.ndarray, mass: np.ndarray) -> list[int]:
    """What runs along a side is the desk beyond the paper, if there is something else within."""
    sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    within = np.setdiff1d(labels, _ring(labels))
    long = {int(i) for side in sides for i in np.unique(side[side > 0]) if np.mean(side == i) > 0.6}
    return [i for i in long if within.size and mass[within].max() > mass[i] / 20]


def _label_components(mask: np.ndarray) -> np.ndarray:
    """Number what hangs together, eight neighbours each. (h, w) bool → (h, w) int, 0 outside"""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        spread = np.where(mask, _dilate(labels), 0)
        if (spread == labels).all():
            return labels
        labels = spread


def _dilate(values: np.ndarray) -> np.ndarray:
    """The largest of each 3×3 neighbourhood."""
    framed = np.pad(values, 1)
    rows = np.maximum(np.maximum(framed[:-2], framed[1:-1]), framed[2:])
    largest: np.ndarray = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return largest
