"""A process and all that it started: what they use, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Any

import psutil


def of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Empty once the process has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        return [root, *root.children(recursive=True)]
    return []


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    return float(sum(times.user + times.system for times in _each(process, "cpu_times")))


def memory_bytes(process: subprocess.Popen[bytes]) -> int:
    """On Linux shared pages count once (PSS)."""
    return sum(getattr(memory, "pss", 0) or memory.rss for memory in _each(process, "memory_full_info"))


def _each(process: subprocess.Popen[bytes], what: str) -> list[Any]:
    found = []
    for each in of(process):
        with contextlib.suppress(psutil.Error):
            found.append(getattr(each, what)())
    return found


def kill(process: subprocess.Popen[bytes], started: Sequence[psutil.Process]) -> None:
    """The process, the rest of its group, and whoever of `started` has left it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for each in started:  # psutil never signals a process id that has been given to somebody else since
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
