"""What is seen of the service after each slice of the load, and what becomes of it over time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import psutil
from scipy.stats import theilslopes

from loadtest.openloop.loads import Shot
from loadtest.promises import Promise
from loadtest.service.process import Service

WARM_UP = 0.1  # of all slices: caches and allocators fill
MEMORY_GROWTH = 0.01
LATENCY_GROWTH = 0.1
ENOUGH = 6  # slices for a line through them


@dataclass(frozen=True)
class Sample:
    """One slice: seconds since the start, the workers' memory and files once its clients have left, its latencies."""

    at: float
    memory: int
    files: int
    p50: float
    p99: float
    requests: int
    failed: int


def sample(at: float, service: Service, shot: Shot) -> Sample:
    """Latencies in ms, memory (RSS of all workers) in bytes."""
    memory = files = 0
    for worker in psutil.Process(service.process.pid).children():
        with contextlib.suppress(psutil.Error):
            memory += worker.memory_info().rss
            files += worker.num_fds()
    p50, p99 = (1e3 * shot.quantile(share) for share in (0.5, 0.99))
    return Sample(at, memory, files, p50, p99, len(shot.latency), len(shot.latency) - shot.answered + shot.wrong)


def judge(samples: list[Sample]) -> list[Promise]:
    """After the warm-up. Growth is that of a straight line through the samples, from end to end."""
    warm = warmed_up(samples)
    memory, latency = (grown(warm, name) for name in ("memory", "p50"))
    files = warm[-1].files - warm[0].files
    failed = sum(each.failed for each in samples)
    return [
        Promise("growth of memory", f"≤ {MEMORY_GROWTH:.0%}", f"{memory:+.2%}", memory <= MEMORY_GROWTH),
        Promise("more file descriptors", "≤ 0", f"{files:+d}", files <= 0),
        Promise("growth of median latency", f"≤ {LATENCY_GROWTH:.0%}", f"{latency:+.1%}", latency <= LATENCY_GROWTH),
        Promise("requests failed", "0", f"{failed:,} of {sum(s.requests for s in samples):,}", failed == 0),
    ]  # fmt: skip


def grown(samples: list[Sample], name: str) -> float:
    """What the line through a figure rises by over all samples, as a share of its median; inf for fewer than ENOUGH."""
    if len(samples) < ENOUGH:
        return float("inf")
    slope, _ = line(samples, name)
    return float(slope * (samples[-1].at - samples[0].at) / np.median([getattr(each, name) for each in samples]))


def line(samples: list[Sample], name: str) -> tuple[float, float]:
    """A figure's slope a second, and where its line begins at 0 s.

    The line of Theil (1950) and Sen (1968), the median of the slopes between all pairs: in a slice in which the machine
    did something else, a latency is a hundred times the others'.
    """
    found = theilslopes([getattr(each, name) for each in samples], [each.at for each in samples])
    return float(found.slope), float(found.intercept)


def warmed_up(samples: list[Sample]) -> list[Sample]:
    return samples[max(1, round(len(samples) * WARM_UP)) :]
