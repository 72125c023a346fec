"""Golden rows: a few held-out rows with the trained form's outputs, which every start runs where it will answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bentos.certificate import Difference, Golden, file_sha256
from bentos.comparison import labels_differing, row_gaps
from bentos.contract import Arrays

NAME = "golden.npz"
ROWS = 32
MAX_BYTES = 256 * 1024
SLACK = 2.0  # times the largest difference that held-out rows had, where a recipe sets no tolerance of difference
SMALLEST = 1e-6  # a tolerance below this would be one of rounding


def write(
    folder: Path, inputs: Arrays, outputs: Arrays, difference: Difference, tolerance: float | None = None
) -> Golden:
    """Write evenly spaced rows to folder/golden.npz, as many as fit 256 KiB, 32 at most; how they are to be judged.

    The tolerance is the one given, else that of the difference, else twice the largest difference on held-out rows.
    """
    file, n_rows = folder / NAME, min(ROWS, len(next(iter(inputs.values()))))
    while n_rows and _write(file, inputs, outputs, n_rows) > MAX_BYTES:
        n_rows //= 2
    if tolerance is None:
        tolerance = max(SLACK * difference.max, SMALLEST) if difference.tolerance is None else difference.tolerance
    return Golden(
        name=NAME,
        sha256=file_sha256(file) if n_rows else "",
        rows=n_rows,
        tolerance=tolerance,
        relative=difference.relative,
        labels_must_equal=difference.labels_must_equal,
    )


def _write(file: Path, inputs: Arrays, outputs: Arrays, n_rows: int) -> int:
    total = len(next(iter(inputs.values())))
    places = np.linspace(0, total - 1, n_rows).astype(int)
    named = {f"input:{name}": array for name, array in inputs.items()}
    named |= {f"output:{name}": array for name, array in outputs.items()}
    np.savez_compressed(file, **{name: array[places] for name, array in named.items()})
    return file.stat().st_size


def read(file: Path) -> tuple[Arrays, Arrays]:
    """Inputs and the trained form's outputs, by tensor name."""
    with np.load(file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    sides: tuple[Arrays, Arrays] = {}, {}
    for name, array in arrays.items():
        side, _, tensor = name.partition(":")
        sides[side == "output"][tensor] = array
    return sides


def mismatch(outputs: Arrays, expected: Arrays, golden: Golden) -> str:
    """What is above the tolerance, in words; empty if nothing is."""
    gap = float(row_gaps(outputs, expected, golden.relative).max())
    if not gap <= golden.tolerance:
        kind = "relative difference" if golden.relative else "difference"
        return f"max {kind} from what is certified is {gap:.3g}, the tolerance {golden.tolerance:.3g}"
    differing = labels_differing(outputs, expected) if golden.labels_must_equal else 0
    return f"{differing} of {golden.rows} labels differ from those certified" if differing else ""
