"""The Pareto front: the points that no other is at least as good as in everything and better in something."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, ...]


def front(points: Sequence[Point]) -> list[int]:
    """Places of the points that are not dominated, where less is better in every coordinate."""
    return [place for place, point in enumerate(points) if not any(_dominates(other, point) for other in points)]


def _dominates(other: Point, point: Point) -> bool:
    return other != point and all(theirs <= ours for theirs, ours in zip(other, point, strict=True))
