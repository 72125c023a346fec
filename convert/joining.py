"""Whether rows may be joined: where the batch stands, and whether rows together are answered as they are alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx

from bentos.contract import Arrays
from convert import graph as graphs
from convert.probe import Probe, Sizes

ROWS = 5  # that are run together and alone
MAX_MAGNITUDE = 1e300  # so that the difference of two is a number
STRANGE = 8.0  # how much larger than usual the values of neighbours are that a row must not notice
SHARE_OF_SPREAD = 1e-3  # how far a row's answer may move, of what answers differ by from row to row
NOISE = 1e-5  # and of the value itself, as sums are taken in another order
MOST_PLACES = 64
DYNAMIC = ("DynamicQuantize", "Integer")  # in the name of an operator whose scale is that of all rows together


@dataclass(frozen=True)
class Batch:
    """Where the batch stands: input → dimension, output → dimension. Empty, with the reason, if rows are not joined."""

    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    reason: str = ""
    gap: float = 0.0  # the largest difference between rows together and alone


def find_batch(probe: Probe, unjoinable: str = "") -> Batch:
    """The batch of a model that has answered. `unjoinable` is a reason, known before, why rows may not be joined."""
    for places in candidates(probe):
        probe.places = places
        if (outputs := output_axes(probe, places)) is None:
            continue
        batch = Batch(places, outputs, unjoinable)
        return batch if unjoinable else together_and_alone(probe, batch)
    probe.places = {}
    return Batch({}, {}, unjoinable or "no open dimension of its inputs is one that all of its outputs have as well")


def candidates(probe: Probe) -> Iterator[dict[str, int]]:
    """Where the batch may stand in the inputs, the likeliest first; an input with open dimensions has it in one."""
    options: list[list[int | None]] = []
    for dims in probe.dims.values():
        likely = {a: (not probe.looks_like_batch(str(d)), a) for a, d in enumerate(dims) if isinstance(d, str)}
        options.append(sorted(likely, key=likely.__getitem__) or [None])  # type: ignore[arg-type]
    for axes in itertools.islice(itertools.product(*options), MOST_PLACES):
        places = {name: axis for name, axis in zip(probe.dims, axes, strict=True) if axis is not None}
        symbols = {probe.dims[name][axis] for name, axis in places.items()}
        every = [(name, axis) for name, dims in probe.dims.items() for axis, dim in enumerate(dims) if dim in symbols]
        if places and every == list(places.items()):
            yield places


def symbols(probe: Probe, places: Mapping[str, int]) -> set[str]:
    """The open dimensions that are the batch."""
    return {str(probe.dims[name][axis]) for name, axis in places.items()}


def sized(probe: Probe, places: Mapping[str, int], n_rows: int) -> Sizes:
    """The sizes of the model's first answer, but for the batch."""
    return probe.sizes | dict.fromkeys(symbols(probe, places), n_rows)


def output_axes(probe: Probe, places: Mapping[str, int]) -> dict[str, int] | None:
    """Where the outputs have the batch that the inputs have at these places; None where one has it not."""
    counts = (ROWS, ROWS - 2)
    few, many = (probe.attempt(sized(probe, places, n_rows)) for n_rows in reversed(counts))
    if few is None or many is None:
        return None
    axes = {}
    for name in many:
        pairs = list(zip(many[name].shape, few[name].shape, strict=False))
        fitting = [axis for axis, pair in enumerate(pairs) if pair == counts]
        if len(fitting) != 1 or many[name].ndim != few[name].ndim:
            return None
        axes[name] = fitting[0]
    return axes


def together_and_alone(probe: Probe, batch: Batch) -> Batch:
    """The same batch, or none with the reason: rows are run together and alone, then beside much larger ones."""
    largest = 0.0
    for strange in (False, True):
        inputs = probe.draw(sized(probe, batch.inputs, ROWS))
        if strange:
            inputs = {n: _strange(a, batch.inputs[n]) if n in batch.inputs else a for n, a in inputs.items()}
        together = probe.answer(inputs)
        alone = [probe.answer(row(inputs, batch.inputs, place)) for place in range(ROWS)]
        if together is None or any(outputs is None for outputs in alone):
            if strange:
                continue  # values that nobody sends
            return Batch({}, {}, f"rows are not answered alone as they are together: {probe.last_error}")
        for name, axis in batch.outputs.items():
            joined = np.concatenate([outputs[name] for outputs in alone if outputs is not None], axis)
            gap, allowed = largest_gap(together[name], joined, axis)
            if not allowed:
                beside = "beside much larger ones" if strange else "with the rows beside it"
                return Batch({}, {}, f"a row's {name} changes by {gap:.2g} {beside}")
            largest = max(largest, gap)
    return replace(batch, gap=largest)


def _strange(values: np.ndarray, axis: int) -> np.ndarray:
    """All rows but the first far larger than usual, where they are numbers that may be."""
    if values.dtype.kind != "f":
        return values
    scale = np.full(values.shape[axis], STRANGE)
    scale[0] = 1.0
    scaled: np.ndarray = values * scale.reshape([-1 if place == axis else 1 for place in range(values.ndim)])
    return scaled.astype(values.dtype)


def row(arrays: Arrays, places: Mapping[str, int], place: int) -> Arrays:
    """One row of a batch, along the dimension that is the batch in each array."""
    return {n: np.take(a, [place], places[n]) if n in places else a for n, a in arrays.items()}


def largest_gap(together: np.ndarray, alone: np.ndarray, axis: int) -> tuple[float, bool]:
    """How far rows together are from rows alone, and whether that is as near as sums in another order are.

    Texts and whole numbers must be equal, and so must the largest of a row's columns where it is larger by more than
    what moved.
    """
    if together.shape != alone.shape:
        return np.inf, False
    if together.dtype.kind != "f":
        return (0.0, True) if (together == alone).all() else (np.inf, False)
    a, b = (np.moveaxis(x.astype(np.float64), axis, 0).reshape(x.shape[axis], -1) for x in (together, alone))
    if (np.isfinite(a) != np.isfinite(b)).any():
        return np.inf, False
    a, b = (np.clip(np.nan_to_num(x), -MAX_MAGNITUDE, MAX_MAGNITUDE) for x in (a, b))
    moved, level = np.abs(a - b), np.abs(b).max(0)
    allowed = SHARE_OF_SPREAD * (b.max(0) - b.min(0)) + NOISE * level + NOISE / 10 * level.max(initial=0.0) + 1e-9
    near = bool((moved <= allowed).all())
    if together.ndim == 2 and a.shape[1] > 1:
        ordered = np.sort(b, 1)
        clear = ordered[:, -1] - ordered[:, -2] > 2 * moved.max(1)
        near = near and bool((a.argmax(1) == b.argmax(1))[clear].all())
    return float(moved.max(initial=0.0)), near


def dynamic_scale(model: onnx.ModelProto) -> str:
    """Why the rows of a graph may never be joined, whatever a trial says: their numbers are scaled together."""
    names = sorted({n.op_type for n in graphs.nodes(model) if any(word in n.op_type for word in DYNAMIC)})
    return f"{', '.join(names)} scales the numbers of all rows of a batch together" if names else ""
