"""The machine that figures come from: its name, who runs on which core, and what other programs take of it."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import psutil

BUSY_CORES = 0.2  # taken by other programs: above this the figures are theirs too


@dataclass(frozen=True)
class Cores:
    """Core numbers. Both are empty where the system cannot pin, both the same where there is one core."""

    service: tuple[int, ...]
    generator: tuple[int, ...]

    @classmethod
    def split(cls) -> Cores:
        """The generator on the last core, the service on the others."""
        if not hasattr(os, "sched_getaffinity"):
            return cls((), ())
        cores = tuple(sorted(os.sched_getaffinity(0)))
        return cls(cores[:-1], cores[-1:]) if len(cores) > 1 else cls(cores, cores)

    @property
    def count(self) -> int:
        """Cores that the service may use."""
        return len(self.service) or os.cpu_count() or 1

    def __str__(self) -> str:
        if not self.service:
            return f"service and generator share {self.count} cores: this system cannot pin them apart"
        if self.service == self.generator:
            return "service and generator share the only core: each slows the other down"
        named = [
            f"core {cores[0]}" if len(cores) == 1 else f"cores {', '.join(map(str, cores))} ({len(cores)})"
            for cores in (self.service, self.generator)
        ]
        return f"service pinned to {named[0]}, generator to {named[1]}"

    def pin(self) -> None:
        """Bind the calling process, and all that it starts, to the service's cores."""
        if self.service:
            os.sched_setaffinity(0, self.service)


def processor() -> str:
    """Its model; the architecture where the system does not say."""
    cpu = Path("/proc/cpuinfo")
    models = [line for line in cpu.read_text().splitlines() if line.startswith("model name")] if cpu.exists() else []
    return models[0].partition(":")[2].strip() if models else platform.machine()


def describe() -> str:
    """Processor, cores and Python in one line."""
    return f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


class BackgroundLoad:
    """What programs that are neither measured nor load generators take, from its construction on."""

    def __init__(self) -> None:
        self._machine, self._clients, self._began = _machine_seconds(), client_seconds(), monotonic()

    def cores(self, measured_seconds: float) -> float:
        """Cores in use, less the CPU seconds of what is measured and of the generators that have ended."""
        ours = measured_seconds + client_seconds() - self._clients
        return max(0.0, (_machine_seconds() - self._machine - ours) / (monotonic() - self._began))


def busy_warning(cores: float) -> str:
    """Markdown for a report during which other programs took at most so many cores; empty where that is little."""
    text = f"**Other programs took up to {cores:.1f} cores: measure again on a quiet machine.**"
    return text if cores > BUSY_CORES else ""


def _machine_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice)


def client_seconds() -> float:
    """CPU of the load generators that have ended. What is measured still runs, and is not counted here yet."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
