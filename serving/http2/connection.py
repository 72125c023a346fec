"""One HTTP/2 connection, from the server's side: bytes in, bytes out, and no I/O of its own (RFC 9113).

`feed` parses frames and calls the owner; `respond` and the methods beside it write frames through `owner.write`, as far
as flow control (the client's windows) allows, and keep the rest. What a client sends is bounded: in memory by windows,
the number of streams and the size of headers; in processor time by a budget that frames which ask for nothing are paid
from.
"""

from __future__ import annotations

from math import inf
from time import perf_counter
from typing import Protocol

from serving.http2 import frames
from serving.http2.frames import Code, ProtocolError, StreamError, frame
from serving.http2.hpack import HeaderDecoder
from serving.http2.stream import Stream

STREAM_WINDOW = 2**20  # what a client may send ahead on one stream, bytes
CONNECTION_WINDOW = 4 * 2**20
MAX_STREAMS = 256
MAX_LIST_BYTES = 16 * 1024  # of a request's header fields
MAX_BLOCK_BYTES = 16 * 1024  # of their compressed block, which may come in pieces
MAX_ABANDONED = 1024  # streams that were answered early, whose clients may still be sending
# Frames that ask for nothing (PING, SETTINGS, resets, updates, empty ones) are paid from a budget. An answer pays for
# some, and so does time: a client that asks for something never notices it.
BUDGET, BUDGET_PER_SECOND, BUDGET_PER_ANSWER = 2000, 500, 4
SMALL_DATA_BYTES = 16  # without the padding: no request fits into so few
# So much of a header block costs as much as a frame that asks for nothing, unless it opens a stream that is not reset:
# in Huffman's code it takes 40 µs.
BLOCK_BYTES = 128

HELLO = frames.settings(
    {
        frames.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
        frames.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        frames.MAX_HEADER_LIST_SIZE: MAX_LIST_BYTES,
    }
) + frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
SETTINGS_ACK = frame(frames.SETTINGS, frames.ACK, 0)
EMPTY_TABLE = b"\x20"  # a block's prefix: the encoder's table has no bytes
END = frames.END_STREAM | frames.END_HEADERS
Headers = dict[bytes, bytes]


class Owner(Protocol):
    """What a connection knows of who does its I/O and answers its requests."""

    def write(self, data: bytes) -> None:
        """Send these bytes."""

    def request_received(self, stream: Stream, headers: Headers) -> None:
        """A new stream, with its headers; it has no body where `stream.remote_closed`."""

    def data_of_stream(self, stream: Stream, data: bytes, ended: bool) -> None:
        """Bytes of a stream's body; it ends with them where `ended`."""

    def stream_reset(self, stream: Stream) -> None:
        """The client wants no answer, or broke the protocol on this stream."""

    def connection_failed(self, error: ProtocolError) -> None:
        """A GOAWAY was written; there is nothing more to read or write."""


class Http2Connection:
    """The state machine of one connection."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._decoder = HeaderDecoder(MAX_LIST_BYTES)
        self.streams: dict[int, Stream] = {}
        self.closed = False
        self.behind = False  # frames have come that are not parsed yet
        self._last_stream = self._last_accepted = 0  # the highest that the client has opened, and that is answered
        self.going_away = False
        self._abandoned: dict[int, None] = {}
        self._rest: bytes = frames.PREFACE[:0]
        self._greeted = self.configured = False
        self._block: bytearray | None = None  # a header block whose end has not come
        self._block_stream = self._block_flags = 0
        self._budget = BUDGET
        self._recv_window, self._consumed = CONNECTION_WINDOW, 0
        self.send_window = self._initial_send_window = frames.DEFAULT_WINDOW
        self._blocked: dict[int, Stream] = {}
        self._prefix = b""
        self._handlers = {
            frames.PRIORITY: self._priority,
            frames.RST_STREAM: self._rst_stream,
            frames.SETTINGS: self._settings,
            frames.PUSH_PROMISE: self._push_promise,
            frames.PING: self._ping,
            frames.GOAWAY: self._goaway,
            frames.WINDOW_UPDATE: self._window_update,
            frames.CONTINUATION: self._continuation,
        }

    # What comes

    def feed(self, data: bytes, until: float = inf) -> None:
        """Parse what has come; the rest of a frame is kept until it has.

        It ends with the first frame that ends later than `until`, on perf_counter's clock: `behind` says whether there
        are more, which the next call, perhaps with no data, goes on with.
        """
        if self.closed:
            return
        try:
            self._parse(self._rest + data if self._rest else data, until)
        except ProtocolError as error:
            self.fail(error)

    def _parse(self, data: bytes, until: float) -> None:
        at, end = 0, len(data)
        self.behind = False
        if not self._greeted:
            if data[: len(frames.PREFACE)] != frames.PREFACE[:end]:
                raise ProtocolError(Code.PROTOCOL_ERROR, "this is no HTTP/2: the preface is missing")
            if end < len(frames.PREFACE):
                self._rest = data
                return
            at, self._greeted = len(frames.PREFACE), True
        unpack, head_bytes = frames.HEAD.unpack_from, frames.HEAD_BYTES
        while end - at >= head_bytes and not self.closed:
            high, low, kind, flags, stream_id = unpack(data, at)
            length = high << 8 | low
            if length > frames.MAX_FRAME_BYTES:
                raise ProtocolError(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = at + head_bytes
            if start + length > end:
                break
            at = start + length
            if not self.configured:
                if kind != frames.SETTINGS or flags & frames.ACK:
                    raise ProtocolError(Code.PROTOCOL_ERROR, "the first frame must be SETTINGS")
                self.configured = True
            self._frame(kind, flags, stream_id & 0x7FFFFFFF, data[start:at])
            if at < end and perf_counter() >= until:
                self.behind = True
                break
        self._rest = data[at:]

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or stream_id != self._block_stream):
            raise ProtocolError(Code.PROTOCOL_ERROR, "a header block is interrupted by another frame")
        try:
            if kind == frames.DATA:
                self._data(flags, stream_id, payload)
            elif kind == frames.HEADERS:
                self._headers(flags, stream_id, payload)
            elif (handler := self._handlers.get(kind)) is not None:
                handler(flags, stream_id, payload)
            else:  # of an extension that we do not speak
                self._spend(1)
        except StreamError as error:
            self._spend(1)
            self.reset(stream_id, error.code)

    def _spend(self, amount: int) -> None:
        self._budget -= amount
        if self._budget < 0:
            raise ProtocolError(Code.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")

    def refill(self, seconds: float) -> None:
        """Time has passed."""
        self._budget = min(BUDGET, self._budget + int(BUDGET_PER_SECOND * seconds))

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        length = len(payload)
        if stream_id == 0:
            raise ProtocolError(Code.PROTOCOL_ERROR, "DATA on stream 0")
        self._recv_window -= length
        if self._recv_window < 0:
            raise ProtocolError(Code.FLOW_CONTROL_ERROR, "more DATA than the connection's window allows")
        self._consumed += length
        if self._consumed >= CONNECTION_WINDOW // 2:
            self._recv_window += self._consumed
            self._owner.write(frames.window_update(0, self._consumed))
            self._consumed = 0
        if flags & frames.PADDED:
            payload = _without_padding(payload)
        ended = bool(flags & frames.END_STREAM)
        if len(payload) < SMALL_DATA_BYTES and not ended:
            self._spend(1)
        stream = self.streams.get(stream_id)
        if stream is None:
            return self._data_too_late(stream_id)
        if stream.remote_closed:
            raise StreamError(Code.STREAM_CLOSED, "DATA behind the end of its stream")
        stream.recv_window -= length
        if stream.recv_window < 0:
            raise StreamError(Code.FLOW_CONTROL_ERROR, "more DATA than the stream's window allows")
        stream.received += length
        stream.remote_closed = ended
        if stream.expected is not None:
            stream.expected -= len(payload)
            if stream.expected < 0 or (ended and stream.expected):
                raise StreamError(Code.PROTOCOL_ERROR, "content-length is not the length of the content")
        self._owner.data_of_stream(stream, payload, ended)

    def _data_too_late(self, stream_id: int) -> None:
        self._check_not_idle(stream_id, "DATA")
        if stream_id not in self._abandoned:
            raise ProtocolError(Code.STREAM_CLOSED, "DATA on a closed stream")

    def _check_not_idle(self, stream_id: int, what: str) -> None:
        if stream_id > self._last_stream or stream_id % 2 == 0:
            raise ProtocolError(Code.PROTOCOL_ERROR, f"{what} on an idle stream")

    def consume(self, stream: Stream) -> None:
        """What was received on a stream is done with: its client may send more."""
        if stream.received >= STREAM_WINDOW // 2 and not stream.remote_closed:
            stream.recv_window += stream.received
            self._owner.write(frames.window_update(stream.id, stream.received))
            stream.received = 0

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id % 2 == 0:
            raise ProtocolError(Code.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}")
        if flags & frames.PADDED:
            payload = _without_padding(payload)
        if flags & frames.WITH_PRIORITY:
            if len(payload) < 5:
                raise ProtocolError(Code.FRAME_SIZE_ERROR, "HEADERS without the priority that they announce")
            dependency, payload = frames.WORD.unpack_from(payload)[0] & 0x7FFFFFFF, payload[5:]
            if dependency == stream_id:
                raise ProtocolError(Code.PROTOCOL_ERROR, "a stream depends on itself")
        if flags & frames.END_HEADERS:
            return self._headers_received(stream_id, flags, payload)
        self._block, self._block_stream, self._block_flags = bytearray(payload), stream_id, flags

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None:
            raise ProtocolError(Code.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self._spend(1 if payload else 100)
        self._block += payload
        if len(self._block) > MAX_BLOCK_BYTES:
            raise ProtocolError(Code.ENHANCE_YOUR_CALM, f"a header block of more than {MAX_BLOCK_BYTES} bytes")
        if flags & frames.END_HEADERS:
            block, self._block = bytes(self._block), None
            self._headers_received(stream_id, self._block_flags, block)

    def _headers_received(self, stream_id: int, flags: int, block: bytes) -> None:
        if cost := len(block) // BLOCK_BYTES:
            self._spend(cost)
        opens = stream_id > self._last_stream
        self._last_stream = max(self._last_stream, stream_id)
        headers = self._decoder.decode(block)
        ended = bool(flags & frames.END_STREAM)
        if not opens:
            return self._trailers_received(stream_id, headers, ended)
        if self.going_away:
            return self._abandon(stream_id)
        if len(self.streams) >= MAX_STREAMS:
            raise StreamError(Code.REFUSED_STREAM, f"more than {MAX_STREAMS} streams at a time")
        if not (headers.get(b":method") and headers.get(b":scheme") and headers.get(b":path")):
            raise StreamError(Code.PROTOCOL_ERROR, "a request without method, scheme or path")
        stream = Stream(stream_id, self._initial_send_window, STREAM_WINDOW, ended)
        if (length := headers.get(b"content-length")) is not None:
            if not length.isdigit() or len(length) > 15 or (ended and int(length)):
                raise StreamError(Code.PROTOCOL_ERROR, "content-length is not the length of the content")
            stream.expected = int(length)
        if cost:
            stream.cost = cost
            self._budget += cost
        self.streams[stream_id], self._last_accepted = stream, stream_id
        self._owner.request_received(stream, headers)

    def _trailers_received(self, stream_id: int, headers: Headers, ended: bool) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id not in self._abandoned:
                raise ProtocolError(Code.STREAM_CLOSED, "HEADERS on a closed stream")
            return
        if stream.remote_closed:
            raise StreamError(Code.STREAM_CLOSED, "HEADERS behind the end of their stream")
        if not ended or any(name[:1] == b":" for name in headers) or stream.expected:
            raise StreamError(Code.PROTOCOL_ERROR, "trailers must end their stream, and have no pseudo-headers")
        stream.remote_closed = True
        self._owner.data_of_stream(stream, b"", True)

    def _priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._spend(1)
        if stream_id == 0:
            raise ProtocolError(Code.PROTOCOL_ERROR, "PRIORITY of stream 0")
        if len(payload) != 5:
            raise ProtocolError(Code.FRAME_SIZE_ERROR, "PRIORITY takes 5 bytes")
        if frames.WORD.unpack_from(payload)[0] & 0x7FFFFFFF == stream_id:
            raise ProtocolError(Code.PROTOCOL_ERROR, "a stream depends on itself")

    def _rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(Code.FRAME_SIZE_ERROR, "RST_STREAM takes 4 bytes")
        self._check_not_idle(stream_id, "RST_STREAM")
        self._abandoned.pop(stream_id, None)
        stream = self._drop(stream_id)
        if stream is not None:
            self._owner.stream_reset(stream)
        self._spend(1 if stream is None else 1 + stream.cost)

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._spend(max(1, len(payload) // frames.SETTING.size))  # a window's size is set on every stream
        if stream_id != 0:
            raise ProtocolError(Code.PROTOCOL_ERROR, "SETTINGS on a stream")
        if len(payload) % 6 or (flags & frames.ACK and payload):
            raise ProtocolError(Code.FRAME_SIZE_ERROR, "SETTINGS of no whole number of settings")
        if flags & frames.ACK:
            return
        for key, value in frames.SETTING.iter_unpack(payload):
            self._set(key, value)
        self._owner.write(SETTINGS_ACK)
        self._flush()

    def _set(self, key: int, value: int) -> None:
        if key == frames.HEADER_TABLE_SIZE:
            self._prefix = EMPTY_TABLE  # our encoder has none, which is to be said where theirs shrinks
        elif key == frames.ENABLE_PUSH and value > 1:
            raise ProtocolError(Code.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
        elif key == frames.MAX_FRAME_SIZE and not frames.MAX_FRAME_BYTES <= value < 2**24:
            raise ProtocolError(Code.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of its range")
        elif key == frames.INITIAL_WINDOW_SIZE:
            if value > frames.MAX_WINDOW:
                raise ProtocolError(Code.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is out of its range")
            change, self._initial_send_window = value - self._initial_send_window, value
            for stream in self.streams.values():
                stream.send_window += change
                if stream.send_window > frames.MAX_WINDOW:
                    raise ProtocolError(Code.FLOW_CONTROL_ERROR, "a window is over 2³¹ − 1")

    def _push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ProtocolError(Code.PROTOCOL_ERROR, "a client does not push")

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id != 0:
            raise ProtocolError(Code.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ProtocolError(Code.FRAME_SIZE_ERROR, "PING takes 8 bytes")
        self._spend(1)
        if not flags & frames.ACK:
            self._owner.write(frame(frames.PING, frames.ACK, 0, payload))

    def _goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        """The client opens no more streams; it is for it to close the connection."""
        self._spend(1)
        if stream_id != 0:
            raise ProtocolError(Code.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ProtocolError(Code.FRAME_SIZE_ERROR, "GOAWAY takes 8 bytes at least")

    def _window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE takes 4 bytes")
        self._spend(1)
        increment = frames.WORD.unpack(payload)[0] & 0x7FFFFFFF
        if stream_id == 0:
            if not increment:
                raise ProtocolError(Code.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
            self.send_window += increment
            if self.send_window > frames.MAX_WINDOW:
                raise ProtocolError(Code.FLOW_CONTROL_ERROR, "a window is over 2³¹ − 1")
            return self._flush()
        self._check_not_idle(stream_id, "WINDOW_UPDATE")
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        if not increment:
            raise StreamError(Code.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        stream.send_window += increment
        if stream.send_window > frames.MAX_WINDOW:
            raise StreamError(Code.FLOW_CONTROL_ERROR, "a window is over 2³¹ − 1")
        if stream.blocked is not None:
            self._send_blocked(stream)

    # What goes

    def respond(self, stream: Stream, headers: bytes, data: bytes, trailers: bytes) -> None:
        """A whole answer: header block, data, trailers' block. Dropped where the stream is gone."""
        if self.streams.get(stream.id) is not stream:
            return
        length, id = len(data), stream.id
        if length <= stream.send_window and length <= self.send_window and length <= frames.MAX_FRAME_BYTES:
            self.send_window -= length
            if self._prefix:
                headers, self._prefix = self._prefix + headers, b""
            pack, n_headers, n_trailers = frames.HEAD.pack, len(headers), len(trailers)
            self._owner.write(
                b"%b%b%b%b%b%b"
                % (
                    pack(n_headers >> 8, n_headers & 0xFF, frames.HEADERS, frames.END_HEADERS, id),
                    headers,
                    pack(length >> 8, length & 0xFF, frames.DATA, 0, id),
                    data,
                    pack(n_trailers >> 8, n_trailers & 0xFF, frames.HEADERS, END, id),
                    trailers,
                )
            )
            self._ended(stream)
        else:
            self.send_headers(stream, headers)
            self.send_data(stream, data)
            self.end(stream, trailers)

    def send_headers(self, stream: Stream, headers: bytes) -> None:
        """Write an encoded header block of the response; ignored where the stream has ended."""
        if self.streams.get(stream.id) is stream:
            block, self._prefix = self._prefix + headers, b""
            self._owner.write(frame(frames.HEADERS, frames.END_HEADERS, stream.id, block))

    def send_data(self, stream: Stream, data: bytes) -> None:
        """Write as much as flow control allows; the rest waits for WINDOW_UPDATE."""
        if self.streams.get(stream.id) is not stream:
            return
        if stream.blocked is None:
            stream.blocked = bytearray()
            self._blocked[stream.id] = stream
        stream.blocked += data
        self._send_blocked(stream)

    def discard(self, stream: Stream) -> None:
        """Forget what waits for a window of this stream."""
        stream.blocked = None
        self._blocked.pop(stream.id, None)

    def end(self, stream: Stream, trailers: bytes) -> None:
        """End a stream with trailers; alone, they are a whole answer."""
        if self.streams.get(stream.id) is not stream:
            return
        stream.trailers = trailers
        if stream.blocked is None:
            self._send_trailers(stream)

    def _send_blocked(self, stream: Stream) -> None:
        waiting = stream.blocked
        assert waiting is not None
        n_sent, pieces = 0, []
        while n_sent < len(waiting):
            n = min(len(waiting) - n_sent, frames.MAX_FRAME_BYTES, stream.send_window, self.send_window)
            if n <= 0:
                break
            pieces.append(frame(frames.DATA, 0, stream.id, bytes(waiting[n_sent : n_sent + n])))
            stream.send_window -= n
            self.send_window -= n
            n_sent += n
        if pieces:
            self._owner.write(b"".join(pieces))
            self._earn()
            del waiting[:n_sent]
        if not waiting:
            stream.blocked = None
            self._blocked.pop(stream.id, None)
            if stream.trailers is not None:
                self._send_trailers(stream)

    def _send_trailers(self, stream: Stream) -> None:
        assert stream.trailers is not None
        block, self._prefix = self._prefix + stream.trailers, b""
        self._owner.write(frame(frames.HEADERS, END, stream.id, block))
        self._ended(stream)

    def _ended(self, stream: Stream) -> None:
        del self.streams[stream.id]
        if not stream.remote_closed:  # answered early: its client need not send the rest
            self._owner.write(frames.rst_stream(stream.id, Code.NO_ERROR))
            self._abandon(stream.id)
        self._earn()

    def _earn(self) -> None:
        self._budget = min(BUDGET, self._budget + BUDGET_PER_ANSWER)

    def _flush(self) -> None:
        """A window was opened."""
        for stream in tuple(self._blocked.values()):
            if self.send_window <= 0:
                return
            if stream.send_window > 0:
                self._send_blocked(stream)

    @property
    def receiving(self) -> bool:
        """Whether the rest of a frame or of a header block is waited for."""
        return bool(self._rest) or self._block is not None

    @property
    def blocked_bytes(self) -> int:
        """Bytes that wait for the client to open a window."""
        return sum(len(stream.blocked or b"") for stream in self._blocked.values())

    def _drop(self, stream_id: int) -> Stream | None:
        self._blocked.pop(stream_id, None)
        return self.streams.pop(stream_id, None)

    def _abandon(self, stream_id: int) -> None:
        self._abandoned[stream_id] = None
        if len(self._abandoned) > MAX_ABANDONED:
            del self._abandoned[next(iter(self._abandoned))]

    def reset(self, stream_id: int, code: Code) -> None:
        """End a stream that has an error."""
        stream = self._drop(stream_id)
        self._owner.write(frames.rst_stream(stream_id, code))
        if stream is None or not stream.remote_closed:
            self._abandon(stream_id)
        if stream is not None:
            self._owner.stream_reset(stream)

    def go_away(self) -> None:
        """Take no new streams; those that are open are answered. Clients send others again, elsewhere."""
        if not (self.going_away or self.closed):
            self.going_away = True
            self._owner.write(frames.goaway(self._last_accepted, Code.NO_ERROR))

    def fail(self, error: ProtocolError) -> None:
        """End the connection for what its client did."""
        if self.closed:
            return
        self.closed = True
        self._rest = b""
        self._owner.write(frames.goaway(self._last_accepted, error.code, str(error)))
        self._owner.connection_failed(error)


def _without_padding(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ProtocolError(Code.PROTOCOL_ERROR, "padding longer than its frame")
    return payload[1 : len(payload) - payload[0]]
