"""What the container, or whatever control group this process is in, may take: Linux's cgroups, version 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def memory_limit() -> int | None:
    """Bytes that the group and those above it may take, the least of them; None where nothing limits them."""
    limits = [*_numbers("", "memory.max"), *_numbers("memory", "memory.limit_in_bytes")]
    return min((limit for (limit,) in limits if limit < 2**60), default=None)  # version 1 says 2**63 for none


def cpu_limit() -> float | None:
    """Processors' worth of time, the least quota of the group and those above it; None where there is none."""
    quotas = [*_numbers("", "cpu.max"), *_numbers("cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")]
    return min((quota / period for quota, period in quotas if quota > 0 and period > 0), default=None)


def _numbers(controller: str, *files: str) -> Iterator[tuple[int, ...]]:
    """What stands in the files of each folder that this process belongs to, where they are all numbers."""
    for folder in _folders(controller):
        try:
            yield tuple(int(word) for file in files for word in (folder / file).read_text().split())
        except (OSError, ValueError):  # no such file, or "max"
            continue


def _folders(controller: str) -> Iterator[Path]:
    """The folder of this process's group and of each above it; in a container the mount's root is its own group."""
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:
        lines = []
    mount = ROOT / controller
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            yield from (mount / step for step in ("", *_ancestors(path)))
            return
    yield mount


def _ancestors(path: str) -> list[str]:
    """`/a/b` → `a`, `a/b`"""
    names = [name for name in path.split("/") if name not in ("", "..")]
    return ["/".join(names[: i + 1]) for i in range(len(names))]
