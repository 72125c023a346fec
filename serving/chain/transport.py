"""How bodies get from stage to stage: in the HTTP message, or as a file of which the message holds only the name.

Who asks makes the files' names, and removes both the request's and the reply's whatever comes of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from serving.chain.message import apart
from serving.chain.settings import ChainSettings
from serving.chain.volume import Volume, checked, reply_to
from serving.errors import ClientGone, NotReady

log = logging.getLogger("bentoml.ekiben")
FILE = "ekiben-file"
Wire = tuple[dict[str, str], bytes]  # further headers, and the body of the HTTP message


class Transport(Protocol):
    """The asker's side: `asking` gives what goes on the wire, and while it lasts `answered` what came back."""

    def asking(self, body: bytes) -> AbstractAsyncContextManager[Wire]:
        """While the context lasts: the headers and the bytes that bring this body to the next stage."""

    async def answered(self, headers: Mapping[str, str], wire: bytes) -> bytes:
        """The body that a response's headers and bytes bring. ServingError where it cannot be read"""

    def complaint(self) -> str:
        """What is wrong with the way itself; empty if nothing is."""


class OverHttp:
    """Bodies in the HTTP messages themselves."""

    @asynccontextmanager
    async def asking(self, body: bytes) -> AsyncIterator[Wire]:
        """No headers; the body itself."""
        yield {}, body

    async def answered(self, headers: Mapping[str, str], wire: bytes) -> bytes:
        """The bytes themselves."""
        return wire

    def complaint(self) -> str:
        """Empty: there is nothing that could be missing."""
        return ""


class OverVolume:
    """Bodies as files of a volume."""

    def __init__(self, volume: Volume, limit: int) -> None:
        self._volume, self._limit = volume, limit

    @asynccontextmanager
    async def asking(self, body: bytes) -> AsyncIterator[Wire]:
        """The body in a file, and its name; both files are removed at the end. VolumeFull"""
        name = self._volume.new()
        try:
            await apart(len(body), self._volume.write, name, body)
            yield {FILE: name}, b""
        finally:
            self._volume.remove(name, reply_to(name))

    async def answered(self, headers: Mapping[str, str], wire: bytes) -> bytes:
        """What the file holds that the headers name. BadInput, TooLarge"""
        if FILE not in headers:  # an error, in the message itself
            return wire
        return await read(self._volume, reply_to(checked(headers[FILE])), self._limit)

    def complaint(self) -> str:
        """Of a volume without room for the largest body that is taken."""
        free = self._volume.free_bytes()
        return "" if free >= self._limit else f"{free} bytes are free, a body may have {self._limit}"


class Receiver:
    """The asked side of files: who is asked with one answers with one."""

    def __init__(self, volume: Volume | None, limit: int) -> None:
        self._volume, self._limit = volume, limit

    async def asked(self, file: str) -> bytes:
        """The body in the file of this name. BadInput, NotReady, TooLarge"""
        return await read(self._shared(), checked(file), self._limit)

    async def answer(self, file: str, body: bytes) -> Wire:
        """ClientGone where the request's file is gone, which means that nobody waits any more."""
        if not self._shared().size(checked(file)):
            raise ClientGone(f"the file {file} is gone")
        await apart(len(body), self._shared().write, reply_to(file), body)
        return {FILE: file}, b""

    def _shared(self) -> Volume:
        if self._volume is None:
            raise NotReady("asked with a file, and EKIBEN_CHAIN_VOLUME is not set here")
        return self._volume


async def read(volume: Volume, name: str, limit: int) -> bytes:
    """The bytes of a file on the volume, in a thread where they are many. NotReady, TooLarge as `Volume.read`"""
    return await apart(volume.size(name), volume.read, name, limit)


def opened(settings: ChainSettings) -> tuple[Transport, Receiver]:
    """Both sides, as the settings have it. NotReady where the volume cannot be written to."""
    volume = Volume(Path(settings.chain_volume)) if settings.chain_volume else None
    if volume is not None:
        sweep(volume, 2 * settings.chain_timeout_ms / 1e3)
    receiver = Receiver(volume, settings.max_body_bytes)
    if volume is None or settings.chain_transport == "http":
        return OverHttp(), receiver
    return OverVolume(volume, settings.max_body_bytes), receiver


def sweep(volume: Volume, seconds: float, again: bool = True) -> None:
    """Remove what nobody can wait for any more: now, and once what is there now has grown as old as that."""
    if swept := volume.sweep(seconds):
        log.info("%d files left over in the volume were removed", swept)
    if again:
        asyncio.get_running_loop().call_later(seconds, sweep, volume, seconds, False)
