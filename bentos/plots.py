"""Plots that recipes share, for the author's eyes: matplotlib, imported when one is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bentos.contract import Arrays, Data, class_probabilities


def confusion(labels: Sequence[str]) -> Callable[[Data, Arrays, Path], None]:
    """A report that draws `confusion.png`: how many held-out rows of each class were given each label."""

    def report(data: Data, outputs: Arrays, folder: Path) -> None:
        counts = np.zeros((len(labels), len(labels)), int)
        np.add.at(counts, (data.held_out.targets, class_probabilities(outputs).argmax(1)), 1)
        _draw(counts, labels, folder / "confusion.png")

    return report


def _draw(counts: np.ndarray, labels: Sequence[str], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    axes.set(xlabel="predicted", ylabel="true", xticks=range(len(labels)), yticks=range(len(labels)))
    axes.set_xticklabels(labels, rotation=45, ha="right")
    axes.set_yticklabels(labels)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(
            column, row, str(count), ha="center", va="center", color="white" if count > counts.max() / 2 else "black"
        )
    figure.savefig(path, dpi=120)
