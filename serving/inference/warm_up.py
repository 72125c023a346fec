"""The first calls of a session: the engine allocates, what a call costs is learnt, and how many rows fit one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from bentos.contract import Signature, Tensor
from serving.errors import EngineError
from serving.inference.sessions import Batch, Refused, Session, check_outputs
from serving.inference.shapes import cost_of

MAX_BATCH_BYTES = 2**30  # of one tensor
MAX_CALL_SECONDS = 4.0  # of one call: what larger batches cost, requests will tell
TEXT_BYTES = 64  # what an element of BYTES is taken for
MAX_TRIAL_ELEMENTS = 2**24
TRIAL_SIZES = (1, 8, 32)  # of open dimensions, where nothing is known of them


@dataclass(frozen=True)
class WarmUp:
    """What the first calls showed."""

    timings: tuple[tuple[int, float], ...]  # (cost, seconds) of each call but the first of a size
    answered: Batch | None  # inputs that the engine computed with; None where it did with none that were tried
    max_batch_size: int  # rows of one call


def warm_up(session: Session, signature: Signature, max_batch_size: int, calls: Sequence[Batch] = ()) -> WarmUp:
    """Run zeros through, three times at each batch size; certified `calls`, where zeros are refused or rows are not
    alike.

    The batch is lowered to rows that fit 1 GiB. EngineError names the tensor that is not what the signature says, or
    that no machine should be asked to hold.
    """
    if not signature.rows_alike:
        return _warm_up_shapes(session, signature, max_batch_size, calls or _calls_of_zeros(signature))
    most = min(max_batch_size, most_rows(signature))
    one_row: Batch = [_zeros((1, *t.sizes[1:]), t) for t in signature.inputs]
    try:
        session.run(one_row)
    except Refused:  # zeros are not what every model computes with
        if not calls:
            raise
        one_row = _rows(signature, calls[0], 1)
    timings: list[tuple[int, float]] = []
    for n_rows in sorted({min(n_rows, most) for n_rows in (1, 2, 8, most)}):
        if timings and timings[-1][1] / timings[-1][0] * n_rows > MAX_CALL_SECONDS and n_rows > 2:
            break  # a heavy model would keep the others waiting for minutes
        batch = [np.repeat(array, n_rows, 0) for array in one_row]
        timings += [(n_rows, seconds) for seconds in _run(session, signature, batch, n_rows)]
    return WarmUp(tuple(timings), one_row, most)


def most_rows(signature: Signature) -> int:
    """How many rows alike fit 1 GiB in every tensor. EngineError where not even one does"""
    sizes = {t: math.prod(t.sizes[1:]) * t.dtype.itemsize for t in (*signature.inputs, *signature.outputs)}
    largest = max(sizes, key=lambda tensor: sizes[tensor])
    if sizes[largest] > MAX_BATCH_BYTES:
        raise EngineError(
            f"{largest.name} of shape {list(largest.shape)} takes {sizes[largest] / 2**30:,.1f} GiB for one row;"
            " 1 GiB is the limit"
        )
    return MAX_BATCH_BYTES // max(1, sizes[largest])


def _run(session: Session, signature: Signature, batch: Batch, n_rows: int) -> list[float]:
    """The seconds of two calls, after one in which the engine allocates."""
    check_outputs(session.run(batch), signature, n_rows)
    seconds = []
    for _ in range(2):
        started = perf_counter()
        session.run(batch)
        seconds.append(perf_counter() - started)
    return seconds


def _warm_up_shapes(session: Session, signature: Signature, max_batch_size: int, calls: Sequence[Batch]) -> WarmUp:
    timings: list[tuple[int, float]] = []
    answered: Batch | None = None
    most = max_batch_size
    for call in calls[:3]:
        try:
            one = call if not signature.batched else _rows(signature, call, 1)
            most = min(most, _most_rows(session.run(one), one, signature))
            for n_rows in sorted({1, min(2, most), min(8, most)}) if signature.batched else (1,):
                batch = _rows(signature, one, n_rows) if signature.batched else one
                timings += [(cost_of(batch), seconds) for seconds in _run(session, signature, batch, n_rows)]
            answered = one
        except Refused:  # of zeros, or of sizes that it does not take: what it does take, clients know
            continue
    return WarmUp(tuple(timings), answered, most if signature.batched else 1)


def _most_rows(outputs: Sequence[np.ndarray], inputs: Batch, signature: Signature) -> int:
    if not signature.batched:
        return 1
    size = max(a.size * (TEXT_BYTES if a.dtype == object else a.itemsize) for a in (*outputs, *inputs))
    if size > MAX_BATCH_BYTES:
        raise EngineError(f"a tensor takes {size / 2**30:,.1f} GiB for one row; 1 GiB is the limit")
    return MAX_BATCH_BYTES // max(1, size)


def _rows(signature: Signature, call: Batch, n_rows: int) -> list[np.ndarray]:
    """The call's first row, so many times."""
    return [
        array if axis is None else np.repeat(np.take(array, [0], axis), n_rows, axis)
        for array, axis in zip(call, signature.input_axes, strict=True)
    ]


def _zeros(shape: tuple[int, ...], tensor: Tensor) -> np.ndarray:
    return np.full(shape, "", object) if tensor.dtype == object else np.zeros(shape, tensor.dtype)


def _calls_of_zeros(signature: Signature) -> list[Batch]:
    """Calls of several sizes that may or may not be the model's, none of them large."""
    calls: list[Batch] = []
    for size in TRIAL_SIZES:
        shapes = [tensor.shape_of({}, 1, size) for tensor in signature.inputs]
        if all(math.prod(shape) <= MAX_TRIAL_ELEMENTS for shape in shapes):
            calls.append([_zeros(shape, tensor) for shape, tensor in zip(shapes, signature.inputs, strict=True)])
    return calls
