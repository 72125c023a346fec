"""python -m loadtest.soak: an even load for a long time, and whether memory, file descriptors or latency grow.

Starts the service itself over the models in your BentoML store, pinned to all cores but the last, where the generator
is. It measures the capacity (closed loop, answered requests a second) and sends a share of it as Poisson arrivals, in
slices; after each, when its clients have left, the workers' memory (RSS) and open files are read. Growth is that of a
straight line through the samples after the warm-up, which is the first tenth.

  make models                                     # once
  python -m loadtest.soak --minutes 30            # prints the verdict; exit code 1 if a promise is broken
  python -m loadtest.soak --minutes 30 --write    # and writes table, verdict and plot into docs/reliability.md
  python -m loadtest.soak --minutes 1             # a look
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from scipy.stats import theilslopes

from loadtest import figures
from loadtest.documents import Progress, Promise, Section, command_line, conclude
from loadtest.machine import describe
from loadtest.measurement import ServicePool, Target
from loadtest.openloop import Load, LoadResult
from loadtest.service import ServiceProcess, run_command

CONNECTIONS = 32
SLICES = 180  # at most; none is shorter than MIN_SLICE_SECONDS seconds
MIN_SLICE_SECONDS = 2.0
FOLDER = Path("build/soak")
WARM_UP = 0.1  # of all slices: caches and allocators fill
MEMORY_GROWTH, LATENCY_GROWTH = 0.01, 0.1
ENOUGH = 6  # slices for a line through them


@dataclass(frozen=True)
class Sample:
    """One slice: seconds since the start, the workers' memory (bytes) and files once its clients have left, its
    latencies (ms)."""

    at: float
    memory: int
    files: int
    p50: float
    p99: float
    requests: int
    failed: int


def main(words: Sequence[str] | None = None) -> int:
    """The command: 0 where every promise is kept, 1 where one is broken. ServiceError where nothing was measured"""
    parser = command_line("loadtest.soak", __doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=30, help="how long (30)")
    add("--load", type=float, default=0.7, help="share of the capacity (0.7)")
    add("--model", default="digits", help="a model in the store (digits)")
    add("--form", default="onnx", help="its form (onnx)")
    add("--workers", type=int, help="EKIBEN_WORKERS (one for each core of the service)")
    add("--write", action="store_true", help="write into --doc, between <!-- soak --> marks")
    add("--doc", type=Path, default=Path("docs/reliability.md"), help="(docs/reliability.md)")
    options = parser.parse_args(words)
    if not 0 < options.load < 1:
        parser.error(f"--load {options.load:g} must lie between 0 and 1")
    if options.minutes < 0.4:
        parser.error(f"--minutes {options.minutes:g} must be at least 0.4: a line needs some samples")
    section = Section(options.doc, "soak").check() if options.write else None
    picture = (options.doc.parent if section else FOLDER) / "soak.png"
    with ServicePool(options.model, FOLDER / "serve.log") as pool:
        workers = options.workers or pool.cores.count
        target = pool.target({"EKIBEN_WORKERS": str(workers)}, options.form)
        capacity = target.capacity(loads=1)
        samples = soak(target, options.load * capacity, 60 * options.minutes)
    (FOLDER / "soak.json").write_text(json.dumps([asdict(each) for each in samples], indent=1))
    several = f"{workers} worker{'s' * (workers > 1)}"
    caption = f"{options.model}-{options.form}, {several}; {pool.cores}; {describe()}"
    draw(samples, caption, picture)
    load = f"{options.minutes:g} minutes at {options.load:.0%} of a capacity of {capacity:,.0f} requests/s"
    return conclude(judge(samples), load, caption, picture, section)


def soak(target: Target, rate: float, seconds: float) -> list[Sample]:
    """A sample after each slice. ServiceError"""
    each = max(MIN_SLICE_SECONDS, seconds / SLICES)
    started, samples = time.monotonic(), list[Sample]()
    with Progress(seconds) as progress:
        while time.monotonic() - started < seconds:
            load = Load(rate, CONNECTIONS, each, warmup=0.2, seed=len(samples))
            result = target.send(load)
            time.sleep(0.1)  # the service notices that its clients have left
            samples.append(now := sample(time.monotonic() - started, target.service, result))
            progress.tell(f"{now.memory / 2**20:.0f} MiB, {now.files} files, median {now.p50:.1f} ms", now.at)
    return samples


def sample(at: float, service: ServiceProcess, result: LoadResult) -> Sample:
    """What is seen of the workers after a slice."""
    memory = files = 0
    for worker in psutil.Process(service.process.pid).children():
        with contextlib.suppress(psutil.Error):
            memory += worker.memory_info().rss
            files += worker.num_fds()
    p50, p99 = (1e3 * result.quantile(share) for share in (0.5, 0.99))
    failed = len(result.due) - result.answered + result.wrong
    return Sample(at, memory, files, p50, p99, len(result.due), failed)


def judge(samples: list[Sample]) -> list[Promise]:
    """After the warm-up. Growth is that of a straight line through the samples, from end to end."""
    warm = after_warm_up(samples)
    memory, latency = (growth(warm, name) for name in ("memory", "p50"))
    files = warm[-1].files - warm[0].files
    failed = sum(each.failed for each in samples)
    return [
        Promise("growth of memory", f"≤ {MEMORY_GROWTH:.0%}", f"{memory:+.2%}", memory <= MEMORY_GROWTH),
        Promise("more file descriptors", "≤ 0", f"{files:+d}", files <= 0),
        Promise("growth of median latency", f"≤ {LATENCY_GROWTH:.0%}", f"{latency:+.1%}", latency <= LATENCY_GROWTH),
        Promise("requests failed", "0", f"{failed:,} of {sum(s.requests for s in samples):,}", failed == 0),
    ]


def growth(samples: list[Sample], name: str) -> float:
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
    fit = theilslopes([getattr(each, name) for each in samples], [each.at for each in samples])
    return float(fit.slope), float(fit.intercept)


def after_warm_up(samples: list[Sample]) -> list[Sample]:
    """All samples but the first tenth."""
    return samples[max(1, round(len(samples) * WARM_UP)) :]


def draw(samples: list[Sample], caption: str, path: Path) -> None:
    """Memory with its line, file descriptors and latency over the time of a soak."""
    at, warm = [each.at / 60 for each in samples], after_warm_up(samples)
    grid = {"nrows": 3, "sharex": True, "height_ratios": [2, 1, 2]}
    with figures.figure(path, "An even load for a long time", caption, (8.5, 7), **grid) as axes:
        memory = [each.memory / 2**20 for each in samples]
        axes[0].plot(at, memory, color=figures.BLUE, label="all workers")
        if len(warm) >= ENOUGH:
            slope, start = line(warm, "memory")
            rising = [(start + slope * each.at) / 2**20 for each in warm]
            label = "line after the warm-up"
            axes[0].plot([each.at / 60 for each in warm], rising, color=figures.RED, linestyle="--", label=label)
        middle = float(np.mean([each.memory / 2**20 for each in warm or samples]))
        axes[0].axhspan(middle * 0.995, middle * 1.005, color="#e6eef4", zorder=0, label="1 %")
        bounds = min(*memory, middle * 0.98) - 1, max(*memory, middle * 1.02) + 1
        axes[0].set(ylabel="memory, MiB", ylim=bounds)
        axes[1].plot(at, [each.files for each in samples], color=figures.BLUE, drawstyle="steps-mid")
        axes[1].set(ylabel="open files", ylim=(0, None))
        axes[2].plot(at, [each.p50 for each in samples], color=figures.BLUE, label="median")
        axes[2].plot(at, [each.p99 for each in samples], color=figures.RED, label="p99")
        axes[2].set(yscale="log", ylabel="latency, ms", xlabel="minutes")
        for axis in (axes[0], axes[2]):
            axis.legend(loc="upper right", ncols=3)


if __name__ == "__main__":
    run_command(main)
