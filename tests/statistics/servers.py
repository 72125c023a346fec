"""Servers and machines that are simulated: what a load would have measured of them, as a Run."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np

from loadtest.measurement import Limit, Run, figures
from loadtest.openloop import UNANSWERED, Load, LoadResult


def measured(due: np.ndarray, latency: np.ndarray, limit: Limit, seconds: float = 2.0, patience: float = np.inf) -> Run:
    """The run of requests that were due at these seconds and answered after these latencies, if within the patience."""
    zero, retry, done = np.zeros(len(due)), np.zeros(len(due), bool), due + latency
    came = done <= seconds + patience
    status, done = np.where(came, 200, UNANSWERED), np.where(came, done, np.inf)
    result = LoadResult(seconds, seconds, due, zero, due, done, status, retry)
    return figures(Load(len(due) / seconds, 1, seconds), limit, result, Counter(), 0.0, 0)


def in_order(due: np.ndarray, each: float) -> np.ndarray:
    """Latencies at a server that takes `each` seconds for every request, one after the other."""
    place = np.arange(len(due))
    return np.maximum.accumulate(due - place * each) + (place + 1) * each - due


def served(load: Load, limit: Limit, capacity: float) -> Run:
    """A load on a server that answers so many requests a second, all in the same time. A closed loop gets them all."""
    if not load.rate:
        return measured(np.linspace(0, 1, round(capacity), endpoint=False), np.full(round(capacity), 1e-3), limit, 1.0)
    due = load.arrivals()
    latency, kept = in_order(due, 1 / capacity), due >= load.warmup
    return measured(due[kept] - load.warmup, latency[kept], limit, load.seconds, load.patience)


class Pool:
    """In place of services under a tuner: whatever the settings, a server of this capacity."""

    cores = SimpleNamespace(count=1)

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity

    def target(self, settings: dict[str, str], form: str) -> Any:
        return SimpleNamespace(run=self.run)

    def run(self, load: Load, limit: Limit) -> Run:
        return served(load, limit, self.capacity)
