"""What other programs take of the machine while something is measured on it."""

from __future__ import annotations

import resource
from time import monotonic

import psutil

BUSY = 0.2  # cores: more than this taken by others, and the figures are theirs too


class Others:
    """Counts from its making."""

    def __init__(self) -> None:
        self._machine, self._clients, self._began = _machine_seconds(), _clients_seconds(), monotonic()

    def cores(self, measured: float) -> float:
        """Cores used by what is neither measured, which has used so many CPU seconds, nor a client that has ended."""
        ours = measured + _clients_seconds() - self._clients
        return max(0.0, (_machine_seconds() - self._machine - ours) / (monotonic() - self._began))


def warning(cores: float) -> str:
    """For a report in which others took so many cores at the most, in Markdown; empty where that is little."""
    said = f"**Other programs took up to {cores:.1f} cores: measure again on a quiet machine.**"
    return said if cores > BUSY else ""


def _machine_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice)


def _clients_seconds() -> float:
    """Of the load generators that have ended; what is measured still runs, and is not yet counted here."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
