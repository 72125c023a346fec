"""How people write digits: what each habit draws with the pen, so that no scan has to show it.

A habit is a share of the writers and two extremes of one way to write, between which each of them is: points from left
to right and from top to bottom in tenths, joined by a smooth curve; `/` is a corner, `|` lifts the pen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

POINTS = 80  # of a drawing, evenly along its strokes
STEPS = 24  # of each curve between two points, before they are spaced evenly
LIFT = "|"
CORNER = "/"

HABITS: dict[int, tuple[tuple[float, str, str], ...]] = {
    0: (
        (3, "5,0 3,2 2.5,5 3,8 5,10 7,8 7.5,5 7,2 5,0", "5,0 2,1.5 0,5 2,8.5 5,10 8,8.5 10,5 8,1.5 5,0"),
        (2, "5.5,0 3,1 1.5,4 2,8 4.5,10 7.5,8.5 8.5,5 8,2 6.5,1", "7.5,1.5 5,0 2,2 1.5,7 4.5,10 8,8 8.5,4 7,1 3.5,0.5"),
        (1, "4,1 6,0 8.5,3 8,7.5 5,10 2,8 1.5,4.5 3,1.5 6,2", "5,1.5 7,0.5 9,4 8,8 5,10 1.5,8 1,4 3.5,0 5.5,2.5"),
    ),
    1: (
        (6, "5,0 5,5 5,10", "5,0 5.3,5 5,10"),
        (1, "5.5,0 4.6,5 5,10", "4.5,0 5.4,5 5,10"),
        (1.5, "4,1.2 5,0 / 5,5 5,10", "2.5,3 5,0 / 5,5 5,10"),
        (1, "4,1 5,0 / 5,10 | 3.5,10 6.5,10", "2.5,3 5,0 / 5,10 | 1.5,10 8.5,9.8"),
    ),
    2: (
        (
            4,
            "1,2.5 4,0 7,2 5,6 2,9.3 1,9.7 1.6,8.8 4,9.2 8,9.5",
            "1,2.5 4,0 7,2 5,6 2,9.6 -0.3,9 1.5,6.6 4.5,8.8 9.5,9.6",
        ),
        (
            4,
            "1.5,1.5 4,0 6.5,2 4.5,6.5 2,9.8 0.5,9.2 1.5,8 4,9 8,9",
            "1,3 5,0 8,2.5 5.5,6.5 2,9.3 -0.5,8 2,6 5.5,8.5 10,8",
        ),
        (3, "1,2.5 4,0 7,2 5,6 1,10 / 5,9.9 9,9.8", "2,1.5 4.5,0 7,2.5 4.5,7 1,9.8 / 5,9.3 8.5,10"),
        (1, "1,2.5 4,0 7,2 5,6 2,9.5 / 3.5,9.4 5.5,9.8", "2,1.5 4.5,0 7.5,2.5 5.5,7 3,9.3 / 4,8.8 7,9.6"),
        (1, "1,1 4.5,0.3 7.5,0.5 / 4.5,5 1.5,9.5 / 8,9.5", "1,2 4.5,0 8,1.2 / 5.5,6 0.5,10 / 9,9.7"),
        (3, "1,1.5 3,0 5,2 4,6 1,9.5 0,8.7 2,7.5 6,8.3 10,8", "0,3 4,0.5 7,2 4,6 1,8.3 0.3,6.3 3.5,6 6.5,8.5 10,9.5"),
        (
            1.5,
            "3,3 2,1.5 4,0 6.5,2 5,6 2.5,9.3 1,9.8 2,8.5 4.5,9 7,10",
            "4,3 1,3 4,0 8,1 7,5 3,9 0.5,9.5 0,7.5 3,7 8,9.5",
        ),
    ),
    3: (
        (3, "1,1.5 4.5,0 7,2 6,4 3.5,4.8 / 6.5,5.5 8,7.5 5,10 0.5,8.7", "2,1 5,0 8,2 6,4.5 4,5 / 7,6 7.5,8.5 4,10 1,9"),
        (
            2,
            "1,1.5 4.5,0 7,2 5.5,4.3 3.8,5 3.4,4.6 4.5,4.6 7,6 7,9 4,10 1,8.8",
            "2,2 5,0 8,1.5 6,4.5 3,6 2,4.8 4.5,4.6 8,6 7.5,9 4,10 0.5,9.5",
        ),
        (1, "1,0.5 4,0.3 7.5,0 / 4,4.2 / 7,5.3 7.5,8 4.5,10 0.5,9", "1,1 4,0.5 8,0.2 / 4,4 / 6.5,4.5 8,7 5,9.5 0,9.8"),
        (
            1,
            "3,0.7 5,0 6.5,1.5 5.5,4 4,4.8 5.5,5.2 6.5,7 5,9.7 2.5,9.5",
            "1,2.2 2,0.3 6.5,0 7.5,3 5,5 7.5,6.5 7.5,9 3.5,10 0.5,8",
        ),
    ),
    4: (
        (
            3,
            "2.5,0 1.5,3 1.2,5.2 / 4.5,5.2 8,4.8 | 7.5,1 7,5 6.5,10",
            "1.5,1 1,3.5 1.5,6 / 5,6 9.5,5 | 8,0 6.5,5 5.5,10",
        ),
        (2, "2,0 1,4 3,5.8 6,5 7.5,3.5 | 7.7,0.5 7,5 6.5,10", "2,1 1.5,4.5 4,5.7 7,4 8,2 | 8.3,0 7.5,5 7,10"),
        (
            1.5,
            "6.5,0 4,3.5 1,6.5 / 5,6.4 9,6.3 | 6.7,0.3 6.5,5 6.5,10",
            "5,0 2.5,3 0.5,5.8 / 4,5.9 9.5,5.5 | 6.8,2.5 6.3,6 6,10",
        ),
        (
            1.5,
            "2.5,0 1.8,2.5 1,5 / 4,5 7.3,4.7 / 8,2.5 8,0 / 7.2,5 6.5,10",
            "1.5,0.5 1,3 1.5,5.6 / 4.5,5.6 7,4 / 7.5,2.5 8,0.5 / 7,5 6.3,10",
        ),
        (1, "6,10 6.5,5 7,0 / 4,3.2 0.5,6.3 / 4.5,6.3 9.5,6", "7,10 7,5 6,0 / 3,3 1,5.5 / 4.5,6 9,5"),
    ),
    5: (
        (
            3,
            "8,0.5 5,0.5 2.5,0.7 / 2,4.5 / 5,3.8 7.5,6.5 5.5,9.5 1,9.3",
            "9,0 6,0.5 3.5,0.5 / 2.5,4 / 5,4 7.5,5.5 6,9.5 1,10",
        ),
        (
            2,
            "2.8,0.7 2,4.5 / 5,3.8 7.8,6.3 5.5,9.8 1.5,9 | 2.8,0.7 5,0.5 8.5,0",
            "3,1.5 2.5,5 / 5,4.3 7,7 4.5,10 0.5,9.3 | 3.5,0.7 6,0.5 9.5,0.3",
        ),
        (2, "8,0.5 4.5,0.6 3,3 5,4.7 7.2,7 5.5,9.6 1.5,9.7", "8.5,0 5,0.3 2.5,3 4.5,5 6.5,7.5 4,10 1,8.8"),
        (
            1,
            "6.5,0.3 4.5,0.5 3,1 / 2.5,5 / 4.5,4.2 6.3,6 5.5,9 3,10",
            "9.5,0 6,1.2 3.5,1 / 1.5,5.5 / 4.5,5 7,7 5,9.6 0,8.8",
        ),
    ),
    6: (
        (3, "6.5,0 3.5,3 2,7 3.5,9.8 6.5,9.3 7,6.8 5,5.5 2.2,7.5", "7.5,0.5 3.5,2 1,6 3,10 8,9 8,5.5 5,4.5 1.5,7.5"),
        (2, "5.5,0 3.5,3.5 2.2,7.5 3.5,10 5.5,9 5.3,7.2 4,7 2.6,9", "7,0 4,3 2.3,7.2 4,9.8 7,8.8 7,7 5,6.5 2.7,8.5"),
        (2, "4,0 2.5,4 1.8,7.5 2.5,9.8 6,9.3 7.5,7.3 6,6.2 3.5,8.5", "3,0 1.5,4 0.8,8 3,10 7,9.5 9,7 7,5.5 3,8"),
        (1, "5,0 3.8,3 3,6.5 3.5,9.5 5.5,9.8 6.5,7.5 5,6.3 3.2,7", "4.5,0.3 2,4 1.5,8 4,10 8,8.5 8,6 5.5,5.7 4.5,7.5"),
    ),
    7: (
        (3, "1,1 4.5,0.8 8.5,0.5 / 6,5 4.3,10", "1,0.5 5,0.7 8,0.3 / 6.5,4 5.5,10"),
        (2, "1.2,2.3 1.4,0.8 / 5,0.8 8.5,0.5 / 6,5 4,10", "0.5,3 1.3,0.6 / 4.5,1 8.2,0.6 / 7,4 5,10"),
        (1.5, "1,1 4.5,0.8 8.5,0.5 / 6,5 4.3,10 | 3,5.5 8,5", "0.5,1.5 3.5,0.3 8,0.8 / 6.3,5 5,10 | 4,5 8.5,5.5"),
        (1.5, "2,1.3 4,0.3 7,1 7.2,3 5.5,6 4,10", "0.5,2.5 3,0 7,0.3 8,2.5 7,5.5 5.5,10"),
    ),
    8: (
        (
            3,
            "7,1.5 5,0 2.5,1.8 4.8,4.6 7.3,7.7 5,10 2.5,8 5,5 7.3,2.3 7,1.2",
            "8,2 5,0.3 2,2.3 5,5 7.5,8 4.5,10 1.5,8 4.5,5.2 8,2.5 8.5,0.5",
        ),
        (
            2,
            "5,0 3,1 3,3.3 5,4.6 7,3.3 7,1 5,0 | 5,4.6 2.5,6.2 2.5,8.8 5,10 7.5,8.8 7.5,6.2 5,4.6",
            "5,0.3 2,1.2 2,3.8 5,5 8,3.5 8,1 5,0.3 | 5,5.2 3,6.2 3,9 5,10 7,9 7,6.5 5,5.2",
        ),
        (
            1.5,
            "6.5,2.5 7,0.7 5,0 3.5,2 5,5 6.3,7.8 4.5,10 3.3,8 5,5 8,1.5",
            "5.5,0.5 2.5,1 3.5,4 6,6 7,8.8 4,10 2.5,7.5 5,5 7.5,2.8 7,0.3",
        ),
        (
            1,
            "5,4.8 3,3 4,0.3 6.5,0.5 6.8,3 5,4.8 2.7,7 3.5,9.8 6.5,9.7 7,7 5,4.8",
            "4.5,4.5 2,3 3,0.2 7,0.2 7.5,3 4.5,5 3.5,7.5 4,9.8 6,9.7 6.2,7 4.5,4.5",
        ),
    ),
    9: (
        (3, "7,1.8 4.8,0 2,2.3 3.5,5 6.3,3.8 7.2,1.5 / 6.7,5 6.3,10", "8,2 5,0 0.5,3 2,5.7 6,5 8.3,1.5 / 7.5,5 6.5,10"),
        (
            2,
            "7,1.8 4.8,0 2,2.3 3.5,5 6.3,3.8 7.2,1.5 / 7.2,6 5.8,9.5 2.5,9",
            "7,1.8 4.8,0 1.5,2.3 3,4.8 6.5,4 7.3,1.5 / 7.7,6.5 5,10 1,8.7",
        ),
        (
            2,
            "5,0.3 2.5,1.5 2,4.3 4.5,5 7,3 7.5,0.8 / 6.7,5 6,10",
            "5.5,0.8 2.5,2 1.5,4.8 4.5,5.3 7,3.5 8.3,0 / 7.3,5 6.7,10",
        ),
        (2, "6.3,1.3 5,0 3.6,1.2 4.2,2.8 6,2 6.5,1 / 6,5 5,10", "7,2 5,0.3 3,2 4.2,3.7 6.5,3 7,1 / 5.5,5.5 3.5,10"),
        (2, "6.5,1 4.5,0.3 2,3.5 3,5.5 6,3.5 7,0.5 / 6,5 4,10", "8.5,1 6,0 2,2.5 3,5 6.5,3.5 8.8,0.5 / 6,5 3.5,10"),
        (1, "7,1 4.5,0 2,2 3,4 6,3 7,1 7,5 6.5,10", "8,1.5 5.5,0 1,1.5 1.5,4.8 6.5,4.5 8,1.5 9,5 8.5,10"),
    ),
}


@dataclass(frozen=True)
class Habit:
    """One way to write a digit. `extremes` (2, k, 2): points in [-1, 1]; `curve` (POINTS, k): strokes from points."""

    share: float
    extremes: torch.Tensor
    curve: torch.Tensor


def habits(digit: int) -> list[Habit]:
    """All ways to write a digit; ValueError where a habit's extremes have not the same strokes."""
    return [habit(*texts) for texts in HABITS[digit]]


def habit(share: float, one: str, other: str) -> Habit:
    pieces = _pieces(one)
    if pieces != _pieces(other):
        raise ValueError(f"the strokes of {one!r} and {other!r} are not alike")
    extremes = np.stack([_points(one), _points(other)])
    return Habit(share, torch.from_numpy(extremes), torch.from_numpy(_curve(pieces, extremes.mean(0))))


def _points(text: str) -> np.ndarray:
    """Each point once, a corner's too. → (k, 2) float32 in [-1, 1]"""
    words = [word for word in text.split() if word not in (LIFT, CORNER)]
    return np.array([[float(number) / 5 - 1 for number in word.split(",")] for word in words], np.float32)


def _pieces(text: str) -> list[list[int]]:
    """The smooth pieces, each the numbers of its points; pieces that meet at a corner share its point."""
    pieces: list[list[int]] = [[]]
    n = 0
    for word in text.split():
        if word in (LIFT, CORNER):
            pieces.append([n - 1] if word == CORNER else [])
        else:
            pieces[-1].append(n)
            n += 1
    return pieces


def _curve(pieces: list[list[int]], points: np.ndarray) -> np.ndarray:
    """Catmull and Rom's (1974) spline as weights of its points, at even steps along all pieces. → (POINTS, k)"""
    fine = np.concatenate([_spline(piece, len(points)) for piece in pieces])
    starts = np.cumsum([STEPS * (len(piece) - 1) for piece in pieces])[:-1]
    path = fine @ points
    step = np.linalg.norm(np.diff(path, axis=0, prepend=path[:1]), axis=1)
    step[starts] = 0  # the pen is lifted
    along = np.cumsum(step)
    even = np.linspace(0, along[-1], POINTS)
    nearest: np.ndarray = fine[np.searchsorted(along, even).clip(0, len(fine) - 1)]
    return nearest.astype(np.float32)


def _spline(piece: list[int], k: int) -> np.ndarray:
    """STEPS rows of weights of all k points for each curve of a piece, whose ends have no bend."""
    ends = np.array([piece[0], *piece, piece[-1]])
    t = np.arange(STEPS)[:, None] / STEPS
    cubic = (
        np.concatenate([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1) / 2
    )  # (STEPS, 4)
    weights = np.zeros(((len(piece) - 1) * STEPS, k))
    for i in range(len(piece) - 1):
        for j in range(4):
            weights[i * STEPS : (i + 1) * STEPS, ends[i + j]] += cubic[:, j]
    return weights
