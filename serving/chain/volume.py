"""A folder that stages share: each request and each reply is a file of its own, whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
import uuid
from pathlib import Path

from serving.errors import BadInput, NotReady, ServingError, TooLarge

NAME = re.compile(r"[0-9a-f]{32}")
OURS = re.compile(r"\.?[0-9a-f]{32}(\.reply)?")


class VolumeFull(ServingError):
    """The volume has no room for a request, or for its reply."""

    status = 507
    reason = "volume_full"
    headers = ((b"retry-after", b"1"),)


class Volume:
    """The files of one shared folder, by names that only it makes."""

    def __init__(self, folder: Path) -> None:
        """NotReady where the folder cannot be written to."""
        if not os.access(folder, os.W_OK | os.X_OK):
            raise NotReady(f"EKIBEN_CHAIN_VOLUME={folder} must be a folder that this service may write to")
        self._folder = folder

    def new(self) -> str:
        """The name of a file that is not there yet."""
        return uuid.uuid4().hex

    def write(self, name: str, data: bytes) -> None:
        """Under its name the file is whole from its first moment: written under another, then renamed. VolumeFull"""
        try:
            self._write(self._folder / f".{name}", self._folder / name, data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise VolumeFull(f"the volume that the stages share is full: no room for {len(data)} bytes") from None

    def _write(self, unfinished: Path, finished: Path, data: bytes) -> None:
        # O_EXCL: a name that is taken is an error, never a second request in the same file.
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
            unfinished.rename(finished)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise

    def free_bytes(self) -> int:
        """What this user may still write."""
        filesystem = os.statvfs(self._folder)
        return filesystem.f_bavail * filesystem.f_frsize

    def read(self, name: str, limit: int) -> bytes:
        """NotReady where the file is not there, TooLarge where it is over `limit` bytes."""
        try:
            with open(os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            raise NotReady(
                f"no file {name} in EKIBEN_CHAIN_VOLUME={self._folder} ({error.strerror}): do the stages share it?"
            ) from None
        if len(data) > limit:
            raise TooLarge(f"the file is over {limit} bytes, the most that are taken", "EKIBEN_MAX_BODY_BYTES")
        return data

    def size(self, name: str) -> int:
        """Bytes; 0 where it is not there, which reading tells in words."""
        with contextlib.suppress(OSError):
            return (self._folder / name).lstat().st_size
        return 0

    def remove(self, *names: str) -> None:
        """Remove files, those that are there."""
        for name in names:
            (self._folder / name).unlink(missing_ok=True)

    def sweep(self, seconds: float) -> int:
        """Remove what was left by stages that died, which is older than any request under way; how many files."""
        swept = 0
        for file in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another replica sweeps, too
                if OURS.fullmatch(file.name) and file.lstat().st_mtime < time.time() - seconds:
                    file.unlink()
                    swept += 1
        return swept


def checked(name: str) -> str:
    """A name that came by HTTP: never a path. BadInput"""
    if not NAME.fullmatch(name):
        raise BadInput(f"ekiben-file is {name[:60]!r}: it must be 32 hexadecimal digits")
    return name


def reply_to(name: str) -> str:
    """The name of the file that answers a file."""
    return f"{name}.reply"
