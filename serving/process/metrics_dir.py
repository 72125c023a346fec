"""Room for the workers' metrics: files that are mapped into memory, where a full disk is no error but SIGBUS."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

# A worker's files grow to about a megabyte.
BYTES_PER_WORKER = 4 * 2**20
MEMORY = Path("/dev/shm")  # noqa: S108 (a folder is made in it, of a name that nobody can guess)
PREFIX = "ekiben-metrics-"
OWNER = "owner.lock"
_owned: dict[Path, int] = {}  # folders of this process, and the locks that say so


class NoSpace(Exception):
    """Neither the folder nor its stand-ins have room; the message names them."""


def choose(folder: Path, n_workers: int) -> Path:
    """The folder that BentoML has chosen, or one of our own: for one among the temporary files, which nobody would
    sweep, or where its disk is full. What services that were killed have left there is removed first. NoSpace
    """
    needed = (n_workers + 1) * BYTES_PER_WORKER  # one is renewed at a time
    temporary = Path(tempfile.gettempdir())
    _sweep(temporary)
    _sweep(MEMORY)
    if folder.parent == temporary:
        with contextlib.suppress(OSError):
            folder.rmdir()
    elif free_bytes(folder) >= needed:
        return folder
    return own_folder(needed, (temporary, MEMORY), f"{folder} and ")


def own_folder(needed: int, parents: tuple[Path, ...], words: str = "") -> Path:
    """A new folder in the first of these with room. NoSpace"""
    for parent in parents:
        if free_bytes(parent) >= needed:
            with contextlib.suppress(OSError):
                folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
                _owned[folder] = _lock(folder / OWNER)
                return folder
    names = " and ".join(map(str, parents))
    raise NoSpace(f"no room for metrics: {words}{names} have less than {needed >> 20} MiB left")


def remove(folder: Path) -> None:
    """Remove a folder that is this process's own."""
    if (lock := _owned.pop(folder, None)) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody holds the lock, or it is another user's
            lock = _lock(folder / OWNER)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _lock(file: Path) -> int:
    """The lock's descriptor, held until it is closed or this process has ended. OSError where somebody holds it"""
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


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
