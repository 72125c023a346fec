"""Who runs where: the generator on the last core, the service on the others."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Cores:
    """Core numbers; both are empty where the system cannot pin, both the same where there is one core."""

    service: tuple[int, ...]
    generator: tuple[int, ...]

    @classmethod
    def split(cls) -> Cores:
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
        return f"service pinned to {_named(self.service)}, generator to {_named(self.generator)}"

    def pin(self) -> None:
        """Bind the calling process, and all that it starts, to the service's cores."""
        if self.service:
            os.sched_setaffinity(0, self.service)


def _named(cores: tuple[int, ...]) -> str:
    return f"core {cores[0]}" if len(cores) == 1 else f"cores {', '.join(map(str, cores))} ({len(cores)})"
