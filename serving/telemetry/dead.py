"""What workers that are gone have counted: added up in one file a kind, so that no counter falls and no scrape slows.

Writes the files of prometheus_client, as its MmapedDict reads them: a test has it read them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict

LOCK = "scrape.lock"
KINDS = ("counter", "histogram", "summary")  # what adds up; a gauge says what is, and of the dead nothing is


@contextlib.contextmanager
def scraping(folder: Path) -> Iterator[None]:
    """Meanwhile no files are merged: between two of its steps what the dead have counted would be there twice."""
    with _opened(folder) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def merge_dead(folder: Path, pid: int, into: Path) -> bool:
    """Add what a process that has ended counted to the file of the dead in `into`. False while somebody scrapes.

    OSError where the disk is full; nothing is lost then.
    """
    with _opened(folder) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        for kind in KINDS:
            _merge(folder / f"{kind}_{pid}.db", into / f"{kind}_dead.db")
        for gauge in folder.glob(f"gauge_*_{pid}.db"):
            gauge.unlink()
    return True


def move_dead(folder: Path, into: Path) -> None:
    """Add the file of the dead of one folder to that of another. OSError"""
    for kind in KINDS:
        _merge(folder / f"{kind}_dead.db", into / f"{kind}_dead.db")


def _merge(file: Path, total: Path) -> None:
    if not file.exists():
        return
    values: dict[str, float] = defaultdict(float)
    for source in (total, file):
        if source.exists():
            for key, value, _, _ in MmapedDict.read_all_values_from_file(str(source)):  # type: ignore[no-untyped-call]
                values[key] += value
    new_file = total.with_suffix(".new")
    new_file.write_bytes(_as_file(values))
    new_file.replace(total)
    file.unlink()


def _as_file(values: dict[str, float]) -> bytes:
    """Bytes used, then of each value: the key's length, the key, padded to eight bytes, the value and a timestamp."""
    entries = []
    for key, value in values.items():
        name = key.encode()
        padded = name + b" " * (8 - (len(name) + 4) % 8)
        entries.append(struct.pack(f"i{len(padded)}sdd", len(name), padded, value, 0.0))
    data = b"".join(entries)
    return struct.pack("i4x", 8 + len(data)) + data


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
