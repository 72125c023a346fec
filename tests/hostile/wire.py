"""HTTP as bytes on a socket: sends what no client library would, and reads what comes back to its last byte."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httptools

Piece = bytes | float  # what is sent, or seconds of silence
HANG_UP = float("inf")  # as a piece: nothing more is sent, and said so (FIN)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close without TIME_WAIT, or a storm runs out of ports


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def error(self) -> str:
        """The words of an error; empty where the body is not `{"error": "…"}`."""
        try:
            return str(json.loads(self.body)["error"])
        except (ValueError, KeyError, TypeError):
            return ""


@dataclass
class Exchange:
    """What came of one connection. `end`: answered, closed (by the server, in order), reset, silent, garbled."""

    answers: list[Answer]
    end: str

    @property
    def status(self) -> int:
        """Of the last answer; 0 where there was none."""
        return self.answers[-1].status if self.answers else 0


class Garbled(Exception):
    """What came is not of its protocol."""


class Reader:
    """httptools' callbacks → answers; interim ones (100 Continue) are left out."""

    def __init__(self, head: bool) -> None:
        self.answers: list[Answer] = []
        self._head = head
        self._answer = Answer()
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        if self._head:  # its content-length is of a body that is not sent
            self.on_message_complete()

    def on_body(self, body: bytes) -> None:
        self._answer.body += body

    def on_message_complete(self) -> None:
        if self._answer.status >= 200:
            self.answers.append(self._answer)
        self._answer = Answer()


async def exchange(
    port: int, pieces: Sequence[Piece], answers: int = 1, head: bool = False, seconds: float = 120.0, reader: Any = None
) -> Exchange:
    """Send the pieces to 127.0.0.1 and read until so many answers are there or the server closes."""
    reader = reader or Reader(head)
    stream, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sending = asyncio.create_task(_send(writer, pieces))
    try:
        async with asyncio.timeout(seconds):
            end = await _read(stream, reader, answers)
    except TimeoutError:
        end = "silent"
    finally:
        sending.cancel()
        writer.transport.abort()
    return Exchange(reader.answers, end)


async def _send(writer: asyncio.StreamWriter, pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        if piece == HANG_UP:
            writer.write_eof()
        elif isinstance(piece, bytes):
            writer.write(piece)
            await writer.drain()
        else:
            await asyncio.sleep(piece)


async def _read(stream: asyncio.StreamReader, reader: Any, answers: int) -> str:
    while len(reader.answers) < answers:
        try:
            data = await stream.read(2**16)
        except ConnectionError:
            return "reset"
        if not data:
            return "closed"
        try:
            reader.feed(data)
        except (httptools.HttpParserError, Garbled):
            return "garbled"
    return "answered"


def ask(port: int, pieces: Sequence[Piece], answers: int = 1, head: bool = False, seconds: float = 120.0) -> Exchange:
    """The same, for who waits."""
    found: Exchange = asyncio.run(exchange(port, pieces, answers, head, seconds))
    return found
