"""Bytes to requests: llhttp, and around it the limits and rules that it leaves to its user. No I/O.

All state is llhttp's and what it called back, so that it makes no difference how bytes are cut.
"""

from __future__ import annotations

import re
from typing import Protocol

import httptools

from serving.errors import BadInput, HeadTooLarge, NotImplementedMethod, ServingError, UnsupportedVersion
from serving.http.messages import METHODS, Request

# The target, and of each header line its name, its value and 4 bytes more; of trailers as much again.
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADER_LINES = 256
# Of a chunked body: sizes and line ends take 5 bytes for a byte at most, all else is extensions and trailers.
MAX_FRAMING_BYTES = 2 * MAX_HEAD_BYTES
MAX_FRAMING_PER_BYTE = 8
NO_REQUEST = "what was sent is no HTTP/1.1 request, or one whose length can be read in two ways"
REQUEST_LINE = re.compile(rb"^([A-Za-z0-9!#$%&'*+.^_`|~-]{1,40}) [^ ]+ HTTP/1[.][01]", re.MULTILINE)


class Sink(Protocol):
    """Who is told what was parsed."""

    def new_request(self, method: str, headers: dict[bytes, bytes]) -> Request:
        """The object that head and body are put into."""

    def head_received(self, request: Request, target: bytes) -> None:
        """A head is there. Sets the request's `body_limit`; may call `stop`."""

    def body_over_limit(self, request: Request) -> bool:
        """Whether more of the body may arrive than `body_limit` says, which is raised then."""

    def request_received(self, request: Request) -> None:
        """A request is whole."""

    def parsing_failed(self, request: Request | None, error: ServingError) -> None:
        """What comes cannot be read as requests, or not at this size; `request` is the one whose body was arriving."""


class RequestParser:
    """Parses what one client sends, and is deaf once it was stopped or has failed."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._llhttp = self._new_llhttp()
        self.deaf = False
        self.receiving = False  # a request has begun that is not whole
        self.incoming: Request | None = None  # the one whose body is arriving
        self._target = b""
        self._lines: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0  # of the target and the first `_counted` lines
        self._counted = 0
        self._in_head = False
        self._replaying = False  # llhttp reads a head that we wrote
        self._upgrading: Request | None = None
        self._progress = False  # whether anything was called back
        self._silent_bytes = 0  # taken without calling anything back
        self._framing_bytes = 0  # of the body that is arriving: what came beside it

    def _new_llhttp(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # What follows a request with `Connection: close` is nobody's, and no error.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def stop(self) -> None:
        """Read nothing more: what still comes belongs to no request that will be answered."""
        self.deaf = True
        self.receiving = self._in_head = False
        self.incoming = self._upgrading = None

    def feed(self, data: bytes | memoryview) -> None:
        """Parse; the sink is called back meanwhile."""
        self._progress = False
        head_bytes, n_lines = self._head_bytes, len(self._lines)
        arriving = self.incoming
        body_bytes = arriving.body_bytes if arriving is not None else 0
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._after_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserInvalidMethodError:
            self._fail(_as_method_error(bytes(data)))
        except httptools.HttpParserError as error:
            self._fail(_as_syntax_error(error))
        if self._progress:
            self._silent_bytes = 0
        elif self._head_bytes != head_bytes or len(self._lines) != n_lines:
            self._silent_bytes = 0
            self._fits()
        else:
            self._silent_bytes += len(data)
            if self._silent_bytes > MAX_HEAD_BYTES:
                self._fail(HeadTooLarge(f"a line of the request is over {MAX_HEAD_BYTES} bytes"))
        if arriving is not None and arriving is self.incoming:
            self._count_framing(arriving, len(data) - (arriving.body_bytes - body_bytes))

    def _fail(self, error: ServingError) -> None:
        if not self.deaf:
            request = self.incoming
            self.stop()
            self._sink.parsing_failed(request, error)

    def _after_upgrade(self, rest: bytes | memoryview) -> None:
        """Have the body of a request with an Upgrade header parsed as any other's.

        A server may ignore Upgrade (RFC 9110, 7.8), and this one speaks nothing else; but httptools would take what
        follows for another protocol. A new llhttp is told by a head of our own how the body is framed.
        """
        request, self._upgrading = self._upgrading, None
        self._progress = True
        if request is None:
            return
        lines = [b"POST / HTTP/1.1\r\n"]
        for name in (b"content-length", b"transfer-encoding"):
            if name in request.headers:
                lines.append(b"%b: %b\r\n" % (name, request.headers[name]))
        self._llhttp = self._new_llhttp()
        self._replaying = True
        self._llhttp.feed_data(b"".join([*lines, b"\r\n"]))
        self._replaying = False
        if rest and not self.deaf:
            self.feed(rest)

    # llhttp's calls

    def on_message_begin(self) -> None:
        """llhttp: a request begins."""
        self._progress = True
        if not self._replaying:
            self._target = b""
            self._lines = []
            self._head_bytes = self._counted = 0
            self._in_head = self.receiving = not self.deaf

    def on_url(self, target: bytes) -> None:
        """llhttp: a piece of the target."""
        if self._in_head:
            self._target += target
            self._head_bytes += len(target)

    def on_header(self, name: bytes, value: bytes) -> None:
        """llhttp: a field of the head or of the trailer."""
        if self._in_head:
            self._lines.append((name, value))
        elif not (self._replaying or self.deaf):
            self._on_trailer(name, value)

    def _on_trailer(self, name: bytes, value: bytes) -> None:
        """Trailers are counted and dropped."""
        self._head_bytes += len(name) + len(value) + 4
        if name.lower() == b"connection":  # llhttp would obey it
            self._fail(BadInput("a Connection field stands in the trailer, where it says nothing"))

    def _fits(self) -> bool:
        """Whether the head, or the trailer, is within its limits so far."""
        lines = self._lines
        if self._counted < len(lines):
            self._head_bytes += sum([len(name) + len(value) + 4 for name, value in lines[self._counted :]])
            self._counted = len(lines)
        if self._head_bytes <= MAX_HEAD_BYTES and self._counted <= MAX_HEADER_LINES:
            return True
        self._fail(
            HeadTooLarge(f"the request's head is over {MAX_HEAD_BYTES} bytes, or has over {MAX_HEADER_LINES} lines")
        )
        return False

    def _count_framing(self, request: Request, n_bytes: int) -> None:
        """Bound chunk extensions, of which llhttp tells nothing, by what they leave of all that is fed."""
        self._framing_bytes += n_bytes
        if self._framing_bytes > MAX_FRAMING_BYTES + MAX_FRAMING_PER_BYTE * request.body_bytes:
            self._fail(BadInput("the chunks of the body are mostly extensions"))

    def on_headers_complete(self) -> None:
        """llhttp: the head is there; its sizes are judged, and the sink is told."""
        self._progress = True
        if not self._in_head:
            return
        self._in_head = False
        if not self._fits():
            return
        lines = self._lines
        headers = {name.lower(): value for name, value in lines}
        if len(headers) < len(lines):
            headers = _join_repeated(lines)
        self._lines = []
        self._head_bytes = self._counted = self._framing_bytes = 0  # trailers are counted anew
        llhttp = self._llhttp
        self.incoming = request = self._sink.new_request(llhttp.get_method().decode(), headers)
        request.version = llhttp.get_http_version()
        request.keep_alive = llhttp.should_keep_alive()
        self._sink.head_received(request, self._target)
        if llhttp.should_upgrade() and not self.deaf:
            self._upgrading = request

    def on_body(self, body: bytes) -> None:
        """llhttp: a piece of the body, which is kept as far as its limit goes."""
        self._progress = True
        request = self.incoming
        if request is None:
            return
        request.body_bytes += len(body)
        if request.body_bytes > request.body_limit and not self._sink.body_over_limit(request):
            return
        if request.error is None:
            request.chunks.append(body)

    def on_chunk_header(self) -> None:
        """llhttp: a chunk begins."""
        self._progress = True

    def on_message_complete(self) -> None:
        """llhttp: the request is whole; the sink is told."""
        self._progress = True
        request = self.incoming
        if request is None or request is self._upgrading:
            return
        if not self._fits():  # the trailer
            return
        self.incoming = None
        self.receiving = False
        chunks = request.chunks
        request.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        request.chunks = []
        request.complete = True
        if not request.keep_alive:
            self.deaf = True
        self._sink.request_received(request)


def _join_repeated(lines: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Header fields by their name in lower case; of those that came several times the values, joined by commas."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in lines:
        values.setdefault(name.lower(), []).append(value)
    return {name: b", ".join(several) for name, several in values.items()}


def _as_method_error(data: bytes) -> ServingError:
    """501 for a request whose method nobody knows, 400 for what is no request; the connection ends either way."""
    if any(line[1].decode() not in METHODS for line in REQUEST_LINE.finditer(data)):
        return NotImplementedMethod("the request's method is not known here")
    return BadInput(NO_REQUEST)


def _as_syntax_error(error: httptools.HttpParserError) -> ServingError:
    words = str(error)
    if "HTTP version" in words or "PRI" in words:
        return UnsupportedVersion("this version of HTTP is not spoken here: send HTTP/1.1")
    return BadInput(NO_REQUEST)
