"""Room for the workers' metrics: files that are mapped into memory, where a full disk is no error but SIGBUS."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

# A worker's files grow to about a megabyte; dead workers' stay, so that counters never fall.
NEEDED = 64 * 2**20
MEMORY = Path("/dev/shm")  # noqa: S108 (a folder is made in it, of a name that nobody can guess)


class NoSpace(Exception):
    """Neither the folder nor its stand-ins have room; the message names them."""


def choose(folder: Path) -> Path:
    """The folder, or where its disk is full one in memory or among the temporary files. NoSpace"""
    if free_bytes(folder) >= NEEDED:
        return folder
    stand_ins = [parent for parent in (MEMORY, Path(tempfile.gettempdir())) if free_bytes(parent) >= NEEDED]
    for parent in stand_ins:
        with contextlib.suppress(OSError):
            return Path(tempfile.mkdtemp(prefix="ekiben-metrics-", dir=parent))
    raise NoSpace(
        f"no room for metrics: {folder}, {MEMORY} and {tempfile.gettempdir()} have less than {NEEDED >> 20} MiB left"
    )


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written; 0 where there is no such folder."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def preallocate() -> None:
    """Have the disk set aside what this process's metrics take, so that it may fill up later. OSError"""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None or not hasattr(os, "posix_fallocate"):
        return
    for file in Path(folder).glob(f"*_{os.getpid()}.db"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
