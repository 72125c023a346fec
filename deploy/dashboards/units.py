"""Figures in Grafana's units, as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

DURATIONS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
SHORT = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
BINARY = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))


def shown(value: float, unit: str) -> str:
    """`0.25` percentunit → `25 %`; `0.0042` s → `4.2 ms`; `3e9` bytes → `2.79 GiB`"""
    if isnan(value):
        return "–"
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        return scaled(value, DURATIONS, " ")
    if unit == "bytes":
        return scaled(value, BINARY, " ")
    suffix = {"reqps": " req/s", "ops": "/s", "Bps": "B/s"}.get(unit, "")
    return scaled(value, SHORT, "") + suffix


def scaled(value: float, steps: Sequence[tuple[float, str]], gap: str) -> str:
    """The value in the largest step that leaves at least 1 of it, with three digits."""
    size, name = next((step for step in steps if abs(value) >= step[0]), steps[-1])
    if not value:
        return "0"
    return f"{rounded(value / size)}{gap}{name}".rstrip()


def rounded(value: float) -> str:
    """To three digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
