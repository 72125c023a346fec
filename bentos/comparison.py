"""How far a form's outputs are from those of the trained form, row by row."""

from __future__ import annotations

import numpy as np

from bentos.contract import Arrays, class_probabilities

CLASSES = {"label", "logits", "probabilities"}  # outputs that a class is told by


def row_gaps(outputs: Arrays, expected: Arrays, relative: bool) -> np.ndarray:
    """The largest |output − expected| of each row, or of |expected|, over all outputs of floats. → (n,) float64

    NaN where one of them is NaN, so that no tolerance accepts it; 0 where both are, or the same infinity. ValueError
    where the shapes differ.
    """
    floats = [name for name, array in expected.items() if array.dtype.kind == "f"]
    n_rows = len(next(iter(expected.values())))
    gaps = [_row_gaps(outputs[name], expected[name], relative) for name in floats]
    largest: np.ndarray = np.max([np.zeros(n_rows), *gaps], axis=0)
    return largest


def largest_gap(outputs: Arrays, expected: Arrays, relative: bool) -> float:
    """As `row_gaps`, the largest of all, for outputs of any shape. ValueError where the shapes differ."""
    floats = [name for name, array in expected.items() if array.dtype.kind == "f"]
    gaps = [_gaps(outputs[name], expected[name], relative) for name in floats]
    return float(np.max([gap.max(initial=0.0) for gap in gaps], initial=0.0))


def _row_gaps(output: np.ndarray, expected: np.ndarray, relative: bool) -> np.ndarray:
    gap = _gaps(output, expected, relative)
    largest: np.ndarray = gap.reshape(len(gap), -1).max(1)
    return largest


def _gaps(output: np.ndarray, expected: np.ndarray, relative: bool) -> np.ndarray:
    if output.shape != expected.shape:
        raise ValueError(f"it gives {list(output.shape)} where the trained form gives {list(expected.shape)}")
    actual, wide = output.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        gap = np.abs(actual - wide)
        if relative:
            gap = gap / np.maximum(np.abs(wide), np.finfo(np.float32).tiny)
    return np.where((actual == wide) | (np.isnan(actual) & np.isnan(wide)), 0.0, gap)


def classes(outputs: Arrays) -> np.ndarray | None:
    """The class of each row, (n,) whole numbers; None for a regressor."""
    if not CLASSES & set(outputs):
        return None
    return outputs["label"] if "label" in outputs else class_probabilities(outputs).argmax(1)


def labels_differing(outputs: Arrays, expected: Arrays) -> int:
    """Rows whose class is another one; 0 for regressors."""
    own, trained = classes(outputs), classes(expected)
    return 0 if own is None or trained is None else int((own != trained).sum())
