"""Golden rows: a few held-out rows with the trained form's outputs, which every start runs where it will answer.

They are one engine call, of as many rows; or, of a model without a recipe, several calls of whatever shapes it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bentos.certificate import Difference, Golden, file_sha256
from bentos.comparison import labels_differing, largest_gap
from bentos.contract import Arrays

NAME = "golden.npz"
ROWS = 32
MAX_BYTES = 256 * 1024
SLACK = 2.0  # times the largest difference that held-out rows had, where a recipe sets no tolerance of difference
Call = tuple[Arrays, Arrays]  # inputs and outputs of one engine call
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


def write_calls(folder: Path, calls: Sequence[Call], tolerance: float, relative: bool = False) -> Golden:
    """Write whole calls, (inputs, outputs) each, to folder/golden.npz: as many of the first as fit 256 KiB."""
    file, n_calls = folder / NAME, min(ROWS, len(calls))
    while n_calls and _save(file, calls[:n_calls]) > MAX_BYTES:
        n_calls -= 1
    return Golden(NAME, file_sha256(file) if n_calls else "", n_calls, tolerance, relative)


def _write(file: Path, inputs: Arrays, outputs: Arrays, n_rows: int) -> int:
    total = len(next(iter(inputs.values())))
    places = np.linspace(0, total - 1, n_rows).astype(int)
    sides = [{name: array[places] for name, array in arrays.items()} for arrays in (inputs, outputs)]
    return _save(file, [(sides[0], sides[1])])


def _save(file: Path, calls: Sequence[Call]) -> int:
    named: Arrays = {}
    for place, call in enumerate(calls):
        for side, arrays in zip(("input", "output"), call, strict=True):
            side += f"@{place}" if place else ""
            named |= {f"{side}:{name}": packed(array) for name, array in arrays.items()}
    np.savez_compressed(file, **named)  # type: ignore[arg-type]
    return file.stat().st_size


def packed(array: np.ndarray) -> np.ndarray:
    """Texts as UTF-8, which files hold without pickle, each with a byte more, as NumPy drops zeros at the end."""
    if array.dtype != object:
        return array
    return np.array([str(value).encode() + b"." for value in array.reshape(-1)], np.bytes_).reshape(array.shape)


def unpacked(array: np.ndarray) -> np.ndarray:
    """Texts as they were packed; any other array as it is."""
    if array.dtype.kind != "S":
        return array
    values = np.empty(array.size, object)
    values[:] = [value[:-1].decode() for value in array.reshape(-1).tolist()]
    return values.reshape(array.shape)


def read(file: Path) -> Call:
    """Inputs and the trained form's outputs of the first call, by tensor name."""
    return read_calls(file)[0]


def read_calls(file: Path) -> list[Call]:
    """(inputs, outputs) of each call, by tensor name."""
    with np.load(file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    calls: dict[str, Call] = {}
    for key, array in arrays.items():
        side, _, tensor = key.partition(":")
        side, _, place = side.partition("@")
        calls.setdefault(place, ({}, {}))[side == "output"][tensor] = unpacked(array)
    return list(calls.values())


def mismatch(outputs: Arrays, expected: Arrays, golden: Golden) -> str:
    """What is above the tolerance, in words; empty if nothing is."""
    gap = largest_gap(outputs, expected, golden.relative)
    if not gap <= golden.tolerance:
        kind = "relative difference" if golden.relative else "difference"
        return f"max {kind} from what is certified is {gap:.3g}, the tolerance {golden.tolerance:.3g}"
    differing = labels_differing(outputs, expected) if golden.labels_must_equal else 0
    return f"{differing} of {golden.rows} labels differ from those certified" if differing else ""
