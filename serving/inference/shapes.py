"""Requests whose rows are not all alike: which of them may share an engine call, and in which order they get theirs.

A dimension that is open, a batch that does not come first, an input without a batch: what can be joined is found by a
key. A signature of fixed rows needs none of this.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from itertools import chain, count

import numpy as np

from bentos.contract import Signature
from serving.errors import EngineError
from serving.inference.jobs import Job

MAX_SHARED_BYTES = 256  # of an input without a batch that is compared, so that requests with the same one are joined


def cost_of(inputs: Sequence[np.ndarray]) -> int:
    """What EngineTime is told of a call whose rows are not like all others: the elements of its inputs."""
    return sum(array.size for array in inputs)


class RowAxes:
    """Where the rows of a signature's tensors are: joins inputs along them, and cuts outputs up again."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._inputs, self._outputs = signature.input_axes, signature.output_axes

    def key(self, inputs: Sequence[np.ndarray]) -> Hashable:
        """What requests must have in common to be joined: all sizes but the batch's, and inputs without a batch."""
        if not self._signature.batched:
            return None
        return tuple(
            _value(array) if axis is None else array.shape[:axis] + array.shape[axis + 1 :]
            for array, axis in zip(inputs, self._inputs, strict=True)
        )

    def join(self, jobs: Sequence[Job]) -> list[np.ndarray]:
        """One array per input, of all the rows of jobs of one key."""
        columns = zip(*(job.inputs for job in jobs), strict=True)
        return [
            arrays[0] if axis is None else np.concatenate(arrays, axis)
            for arrays, axis in zip(columns, self._inputs, strict=True)
        ]

    def part(self, inputs: Sequence[np.ndarray], start: int, stop: int) -> list[np.ndarray]:
        """These rows of the inputs, and what has no batch as it is."""
        return _part(inputs, self._inputs, start, stop)

    def cut(self, outputs: Sequence[np.ndarray], start: int, stop: int) -> list[np.ndarray]:
        """These rows of the outputs, and what has no batch as it is."""
        return _part(outputs, self._outputs, start, stop)

    def append(self, parts: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
        """The outputs of one request that was computed in parts. EngineError where they do not fit each other"""
        try:
            return [
                arrays[0] if axis is None else np.concatenate(arrays, axis)
                for arrays, axis in zip(zip(*parts, strict=True), self._outputs, strict=True)
            ]
        except ValueError as error:
            raise EngineError(f"the outputs of parts of a request differ in shape: {error}") from None


def _value(array: np.ndarray) -> Hashable:
    if array.dtype == object:
        return array.shape, tuple(array.reshape(-1).tolist()) if array.size <= MAX_SHARED_BYTES // 8 else object()
    return array.shape, array.tobytes() if array.nbytes <= MAX_SHARED_BYTES else object()


def _part(arrays: Sequence[np.ndarray], axes: Sequence[int | None], start: int, stop: int) -> list[np.ndarray]:
    span = slice(start, stop)
    return [
        array if axis is None else array[(slice(None),) * axis + (span,)]
        for array, axis in zip(arrays, axes, strict=True)
    ]


class ShapeQueue:
    """Jobs by their key. The group whose first job has waited longest is next, so that no shape starves."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, deque[Job]] = {}
        self._heads: list[tuple[float, int, Hashable]] = []  # a heap: (arrival of its first job, tie-break, key)
        self._numbers = count()

    def __bool__(self) -> bool:
        return bool(self._groups)

    def __iter__(self) -> Iterator[Job]:
        return chain.from_iterable(self._groups.values())

    @property
    def n_groups(self) -> int:
        """How many shapes wait."""
        return len(self._groups)

    def append(self, job: Job) -> None:
        """Queue a job behind those of its shape."""
        group = self._groups.get(job.key)
        if group is None:
            group = self._groups[job.key] = deque()
            heapq.heappush(self._heads, (job.arrived, next(self._numbers), job.key))
        group.append(job)

    def next_group(self) -> tuple[Hashable, deque[Job]]:
        """The key and the jobs of the group that is next. What the caller leaves of it, it puts back."""
        _, _, key = heapq.heappop(self._heads)
        return key, self._groups[key]

    def put_back(self, key: Hashable) -> None:
        """The end of a turn of the group of this key."""
        if group := self._groups[key]:
            heapq.heappush(self._heads, (group[0].arrived, next(self._numbers), key))
        else:
            del self._groups[key]
