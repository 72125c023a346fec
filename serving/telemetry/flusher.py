"""When the metrics of a busy form are binned: in steps so short that no request waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import thread_time
from typing import Protocol

import numpy as np

from serving.telemetry.metrics import Recorder


class DriftBuffer(Protocol):
    """What a DriftMonitor is to a flusher."""

    @property
    def full(self) -> bool:
        """Whether it holds as many rows as it may before they are binned."""

    def add(self, inputs: Sequence[np.ndarray], outputs: list[np.ndarray]) -> None:
        """Take the rows of one answered call."""

    def leave_out(self, inputs: Sequence[np.ndarray]) -> None:
        """Count rows that are kept out: a load test's."""

    def bin(self) -> None:
        """Count what it holds into the reference's bins."""

    def flush(self) -> None:
        """Write the counts to where all workers share them."""


class MetricsFlusher:
    """Sees to it that one form's recorder and watch hold no more than a step until they are written."""

    def __init__(self, recorder: Recorder, watch: DriftBuffer) -> None:
        self._recorder, self._watch = recorder, watch
        self._loop = asyncio.get_running_loop()
        self._due = False

    def observe(self, inputs: Sequence[np.ndarray], outputs: list[np.ndarray], watched: bool = True) -> None:
        """Hold a batch, in the thread that computed it; what is full is binned once its answers are written."""
        if watched:
            self._watch.add(inputs, outputs)
        else:
            self._watch.leave_out(inputs)
        if not self._due and (self._watch.full or self._recorder.full):
            self._due = True
            self._loop.call_soon_threadsafe(self._step)

    def _step(self) -> None:
        """Bin one of the two: requests come before the other."""
        started = thread_time()
        self._due = False
        if self._watch.full:
            self._watch.bin()
        else:
            self._recorder.bin()
        self._recorder.families.recording.inc(thread_time() - started)

    def count(self) -> None:
        """Write what was answered and what failed, for it is lost with a worker that is killed."""
        if self._recorder.holds:
            started = thread_time()
            self._recorder.flush()
            self._recorder.families.recording.inc(thread_time() - started)

    def flush(self) -> None:
        """Bring the metrics up to now."""
        started = thread_time()
        self._recorder.flush()
        self._watch.flush()
        self._recorder.families.recording.inc(thread_time() - started)
