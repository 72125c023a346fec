"""What an overload must leave intact, held against what was told."""

from __future__ import annotations

import numpy as np

from loadtest.overload.storm import Phase, Told
from loadtest.promises import Promise

GOODPUT = 0.9  # of the capacity
TOLD_SECONDS = 0.05  # for who is turned away
RECOVERY_SECONDS = 2.0
MEMORY_GROWTH = 0.02
SETTLING = 1.0  # seconds at the beginning of the overload that fill the queues
BIN = 0.1
TURNED_AWAY = (429, 503)


def judge(
    told: Told, phases: list[Phase], capacity: float, deadline: float, memory: list[tuple[float, float]]
) -> list[Promise]:
    """`phases` are calm, overload and calm; `deadline` in seconds; `memory` is (seconds since the start, bytes)."""
    begins = phases[0].seconds
    ends = begins + phases[1].seconds
    storm = (told.due >= begins + SETTLING) & (told.due < ends)
    good = told.done[told.status == 200]
    goodput = ((good >= begins + SETTLING) & (good < ends)).sum() / (phases[1].seconds - SETTLING) / capacity
    answered = told.seconds[storm & (told.status == 200)]
    away = storm & np.isin(told.status, TURNED_AWAY)
    refusals = told.seconds[away]
    neither = int((storm & ~np.isin(told.status, (200, *TURNED_AWAY))).sum())
    mute = int((away & ~told.retry).sum())
    back = recovery(told, begins, ends)
    growth = grown(memory, begins + SETTLING, ends)
    worst = float(answered.max()) if len(answered) else float("inf")
    p99 = quantile(refusals, 0.99)
    return [
        Promise("goodput", f"≥ {GOODPUT:.0%} of the capacity", f"{goodput:.0%}", goodput >= GOODPUT),
        Promise("slowest answer", f"≤ {deadline * 1e3:.0f} ms", f"{worst * 1e3:.0f} ms", worst <= deadline),
        Promise(
            "turned away, p99", f"≤ {TOLD_SECONDS * 1e3:.0f} ms", f"{p99 * 1e3:.0f} ms", p99 <= TOLD_SECONDS
        ),
        Promise("neither answered nor turned away", "0", f"{neither:,}", neither == 0),
        Promise("turned away without Retry-After", "0", f"{mute:,}", mute == 0),
        Promise("growth of memory", f"≤ {MEMORY_GROWTH:.0%}", f"{growth:+.1%}", growth <= MEMORY_GROWTH),
        Promise("recovery", f"≤ {RECOVERY_SECONDS:g} s", f"{back:.1f} s", back <= RECOVERY_SECONDS),
    ]  # fmt: skip


def quantile(values: np.ndarray, share: float) -> float:
    return float(np.quantile(values, share, method="inverted_cdf")) if len(values) else 0.0


def recovery(told: Told, begins: float, ends: float) -> float:
    """Seconds from the overload's end until all are answered again, within twice the calm's p99 or 10 ms more."""
    calm = told.seconds[(told.due < begins) & (told.due > begins / 2)]
    usual = quantile(calm, 0.99)
    after = told.due >= ends
    bad = after & ((told.status != 200) | (told.seconds > max(2 * usual, usual + 0.01)))
    # Now and then a request is slow in the calm as well: one of a hundred, in each tenth of a second.
    bins = ((told.due[after] - ends) / BIN).astype(int)
    share = np.bincount(bins, weights=bad[after]) / np.maximum(1, np.bincount(bins))
    slow = np.flatnonzero(share > 0.05)
    return 0.0 if not len(slow) else float((_first_calm(slow) + 1) * BIN)


def _first_calm(slow: np.ndarray) -> int:
    """The last of the bad bins that follow each other with gaps of less than half a second."""
    last = -1
    for place in slow:
        if place - last > 5:
            break
        last = int(place)
    return last


def grown(memory: list[tuple[float, float]], begins: float, ends: float) -> float:
    """The last quarter of the overload's memory against its first, as a share."""
    held = [size for at, size in memory if begins <= at < ends]
    quarter = max(1, len(held) // 4)
    return float(np.mean(held[-quarter:]) / np.mean(held[:quarter]) - 1) if held else 0.0
