"""Frames in, frames out: RFC 9113's rules, windows, and what floods cost."""

import tracemalloc

import pytest
from hpack import Decoder, Encoder

from serving.http2 import connection as http2
from serving.http2 import frames
from serving.http2.connection import Http2Connection
from serving.http2.frames import Code, frame
from serving.http2.hpack import encode

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), (":authority", "x")]
HELLO = frames.PREFACE + frames.settings({})
END = frames.END_STREAM | frames.END_HEADERS


class Peer:
    """A connection, what it writes, and what its owner is told."""

    def __init__(self, hello=HELLO):
        self.connection = Http2Connection(self)
        self.written, self.requests, self.data, self.resets, self.failure = bytearray(), [], {}, [], None
        self.encoder, self.decoder = Encoder(), Decoder()
        self.connection.feed(hello)
        self.take()

    def write(self, data):
        self.written += data

    def request_received(self, stream, headers):
        self.requests.append((stream, headers))

    def data_of_stream(self, stream, data, ended):
        self.data[stream.id] = self.data.get(stream.id, b"") + data

    def stream_reset(self, stream):
        self.resets.append(stream.id)

    def connection_failed(self, error):
        self.failure = error

    def headers(self, stream, flags=END, fields=REQUEST):
        return frame(frames.HEADERS, flags, stream, self.encoder.encode(fields))

    def feed(self, *pieces):
        self.connection.feed(b"".join(pieces))
        return self.take()

    def take(self):
        """(type, flags, stream, payload) of the frames that were written since."""
        taken, at = [], 0
        while at < len(self.written):
            high, low, kind, flags, stream = frames.HEAD.unpack_from(self.written, at)
            at += 9 + (high << 8 | low)
            taken.append((kind, flags, stream, bytes(self.written[at - (high << 8 | low) : at])))
        self.written.clear()
        return taken


def stream_errors(taken):
    return [(stream, Code(int.from_bytes(payload))) for kind, _, stream, payload in taken if kind == frames.RST_STREAM]


def raw(kind, flags, stream, payload=b""):
    return frame(kind, flags, stream, payload)


OPEN = frame(frames.HEADERS, frames.END_HEADERS, 1, Encoder().encode(REQUEST))
WHOLE = frame(frames.HEADERS, END, 1, Encoder().encode(REQUEST))
RESET = frames.rst_stream(1, Code.CANCEL)
P, F, S, W, C = (
    Code.PROTOCOL_ERROR, Code.FRAME_SIZE_ERROR, Code.STREAM_CLOSED, Code.FLOW_CONTROL_ERROR, Code.COMPRESSION_ERROR,
)  # fmt: skip

# Sequences after the preface that RFC 9113 has end the connection, by the section that says so.
CONNECTION_ERRORS = {
    "4.2 a frame that is too long": (b"\x00\x40\x01" + raw(0, 0, 1)[3:], F),
    "4.3 a block that is no HPACK": (raw(frames.HEADERS, END, 1, b"\x80"), C),
    "5.1 DATA on an idle stream": (raw(frames.DATA, 0, 1, b"x"), P),
    "5.1 RST_STREAM of an idle stream": (RESET, P),
    "5.1 WINDOW_UPDATE of an idle stream": (frames.window_update(1, 1), P),
    "5.1 HEADERS on a closed stream": (WHOLE + RESET + WHOLE, S),
    "5.1 DATA on a closed stream": (WHOLE + RESET + raw(frames.DATA, 0, 1, b"x"), S),
    "5.1.1 a stream of the server's": (raw(frames.HEADERS, END, 2, Encoder().encode(REQUEST)), P),
    "5.1.1 a stream below the last": (raw(frames.HEADERS, END, 5, b"\x83\x86\x84") + WHOLE, S),
    "5.3.1 a stream that depends on itself": (raw(frames.PRIORITY, 0, 1, b"\0\0\0\1\0"), P),
    "6.1 DATA on stream 0": (raw(frames.DATA, 0, 0, b"x"), P),
    "6.1 padding longer than DATA": (OPEN + raw(frames.DATA, frames.PADDED, 1, b"\x05abc"), P),
    "6.2 HEADERS on stream 0": (raw(frames.HEADERS, END, 0, b"\x82"), P),
    "6.2 padding longer than HEADERS": (raw(frames.HEADERS, END | frames.PADDED, 1, b"\x05abc"), P),
    "6.2 HEADERS interrupted by DATA": (raw(frames.HEADERS, 0, 1, b"\x82") + raw(frames.DATA, 0, 1), P),
    "6.2 HEADERS interrupted by another's": (raw(frames.HEADERS, 0, 1, b"\x82") + raw(frames.CONTINUATION, 4, 3), P),
    "6.3 PRIORITY of stream 0": (raw(frames.PRIORITY, 0, 0, bytes(5)), P),
    "6.4 RST_STREAM of stream 0": (frames.rst_stream(0, Code.CANCEL), P),
    "6.4 RST_STREAM of 3 bytes": (OPEN + raw(frames.RST_STREAM, 0, 1, bytes(3)), F),
    "6.5 SETTINGS on a stream": (raw(frames.SETTINGS, 0, 1), P),
    "6.5 SETTINGS of 5 bytes": (raw(frames.SETTINGS, 0, 0, bytes(5)), F),
    "6.5 an acknowledgement that says more": (raw(frames.SETTINGS, frames.ACK, 0, bytes(6)), F),
    "6.5.2 ENABLE_PUSH of 2": (frames.settings({frames.ENABLE_PUSH: 2}), P),
    "6.5.2 INITIAL_WINDOW_SIZE of 2³¹": (frames.settings({frames.INITIAL_WINDOW_SIZE: 2**31}), W),
    "6.5.2 MAX_FRAME_SIZE of 16,383": (frames.settings({frames.MAX_FRAME_SIZE: 16383}), P),
    "6.5.2 MAX_FRAME_SIZE of 2²⁴": (frames.settings({frames.MAX_FRAME_SIZE: 2**24}), P),
    "6.6 PUSH_PROMISE": (OPEN + raw(frames.PUSH_PROMISE, 4, 1, bytes(4)), P),
    "6.7 PING on a stream": (raw(frames.PING, 0, 1, bytes(8)), P),
    "6.7 PING of 7 bytes": (raw(frames.PING, 0, 0, bytes(7)), F),
    "6.8 GOAWAY on a stream": (raw(frames.GOAWAY, 0, 1, bytes(8)), P),
    "6.9 WINDOW_UPDATE of 3 bytes": (raw(frames.WINDOW_UPDATE, 0, 0, bytes(3)), F),
    "6.9 WINDOW_UPDATE by 0": (frames.window_update(0, 0), P),
    "6.9.1 a window over 2³¹ − 1": (frames.window_update(0, 2**31 - 1), W),
    "6.9.2 a window over 2³¹ − 1 by SETTINGS": (
        OPEN + frames.window_update(1, 2**31 - 1 - 65535) + frames.settings({frames.INITIAL_WINDOW_SIZE: 65536}), W,
    ),
    "6.10 CONTINUATION without HEADERS": (OPEN + raw(frames.CONTINUATION, 4, 1), P),
}  # fmt: skip

# And those that end their stream alone.
STREAM_ERRORS = {
    "5.1 DATA behind the end": (WHOLE + raw(frames.DATA, 0, 1, b"x"), S),
    "5.1 HEADERS behind the end": (WHOLE + raw(frames.HEADERS, END, 1, encode([(b"a", b"b")])), S),
    "6.9 WINDOW_UPDATE by 0": (OPEN + frames.window_update(1, 0), P),
    "6.9.1 a window over 2³¹ − 1": (OPEN + frames.window_update(1, 2**31 - 1), W),
    "8.1 trailers that do not end": (OPEN + raw(frames.HEADERS, 4, 1, encode([(b"a", b"b")])), P),
    "8.1 a pseudo-header in trailers": (OPEN + raw(frames.HEADERS, END, 1, encode([(b":path", b"/")])), P),
    "8.1.1 less than content-length": (
        raw(frames.HEADERS, 4, 1, b"\x83\x86\x84" + encode([(b"content-length", b"2")])) + raw(frames.DATA, 1, 1, b"x"),
        P,
    ),
    "8.1.1 more than content-length": (
        raw(frames.HEADERS, 4, 1, b"\x83\x86\x84" + encode([(b"content-length", b"1")])) + raw(0, 0, 1, b"xy"),
        P,
    ),
    "8.2.1 a name in capitals": (raw(frames.HEADERS, END, 1, b"\x83\x86\x84" + encode([(b"A", b"b")])), P),
    "8.2.2 a connection's header": (raw(frames.HEADERS, END, 1, b"\x83\x86\x84" + encode([(b"upgrade", b"x")])), P),
    "8.3 a pseudo-header that is none": (raw(frames.HEADERS, END, 1, b"\x83\x86\x84" + encode([(b":x", b"b")])), P),
    "8.3 a pseudo-header behind another": (
        raw(frames.HEADERS, END, 1, b"\x83\x86" + encode([(b"a", b"b")]) + b"\x84"), P,
    ),
    "8.3.1 no path": (raw(frames.HEADERS, END, 1, b"\x83\x86"), P),
    "8.3.1 two methods": (raw(frames.HEADERS, END, 1, b"\x83\x83\x86\x84"), P),
}  # fmt: skip


@pytest.mark.parametrize("case", CONNECTION_ERRORS)
@pytest.mark.parametrize("split", [False, True])
def test_what_ends_the_connection(case, split):
    sent, code = CONNECTION_ERRORS[case]
    peer = Peer()
    for piece in [sent[n : n + 1] for n in range(len(sent))] if split else [sent]:
        peer.connection.feed(piece)
    taken = peer.take()
    assert peer.failure.code == code
    assert taken[-1][0] == frames.GOAWAY and int.from_bytes(taken[-1][3][4:8]) == code
    assert peer.feed(frame(frames.PING, 0, 0, bytes(8))) == []  # nothing is read any more


@pytest.mark.parametrize("case", STREAM_ERRORS)
def test_what_ends_its_stream_alone(case):
    sent, code = STREAM_ERRORS[case]
    peer = Peer()
    taken = peer.feed(sent)
    assert stream_errors(taken) == [(1, code)]
    assert peer.failure is None
    peer.encoder = Encoder()
    peer.feed(frame(frames.HEADERS, END, 7, encode([tuple(map(str.encode, pair)) for pair in REQUEST])))
    assert peer.requests[-1][0].id == 7


@pytest.mark.parametrize(
    "hello",
    [b"GET / HTTP/1.1\r\n\r\n", frames.PREFACE + frame(frames.PING, 0, 0, bytes(8)), frames.PREFACE[:-1] + b"x"],
)
def test_what_does_not_begin_as_http2_does(hello):
    assert Peer(hello).failure.code == P


def test_a_request_comes_in_pieces_with_padding_priority_and_continuations():
    peer = Peer()
    block = peer.encoder.encode(REQUEST)
    priority = b"\0\0\0\0\x10"
    peer.feed(
        frame(frames.HEADERS, frames.PADDED | frames.WITH_PRIORITY, 1, b"\x03" + priority + block[:2] + bytes(3)),
        frame(frames.CONTINUATION, 0, 1, block[2:5]),
        frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[5:]),
        frame(frames.DATA, frames.PADDED, 1, b"\x04abc" + bytes(4)),
        frame(0xEE, 0xFF, 1, b"of an extension"),
        frame(frames.DATA, frames.END_STREAM, 1, b"def"),
    )
    ((stream, headers),) = peer.requests
    assert headers[b":path"] == b"/a.B/C" and stream.remote_closed
    assert peer.data == {1: b"abcdef"}


def test_an_answer_is_headers_data_and_trailers():
    peer = Peer()
    peer.feed(peer.headers(1))
    peer.connection.respond(
        peer.requests[0][0], encode([(b":status", b"200")]), b"data", encode([(b"grpc-status", b"0")])
    )
    (headers, data, trailers) = peer.take()
    assert [headers[:2], data[:2], trailers[:2]] == [(1, 4), (0, 0), (1, 5)]
    assert peer.decoder.decode(headers[3]) == [(":status", "200")] and data[3] == b"data"
    assert not peer.connection.streams


def test_an_answer_waits_for_the_clients_windows():
    peer = Peer(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 10}))
    peer.feed(peer.headers(1), peer.headers(3))
    answer = bytes(range(256)) * 400
    for stream, _ in peer.requests:
        peer.connection.respond(stream, b"\x88", answer, b"\x88")
    sent = peer.take()
    assert [payload for kind, _, _, payload in sent if kind == frames.DATA] == [answer[:10]] * 2
    assert peer.connection.blocked_bytes == 2 * (len(answer) - 10)
    sent = peer.feed(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}))
    assert [kind for kind, *_ in sent] == [frames.SETTINGS]
    sent = peer.feed(frames.window_update(1, 10 + len(answer)), frames.window_update(0, len(answer)))
    got = b"".join(payload for kind, _, stream, payload in sent if kind == frames.DATA and stream == 1)
    assert got == answer[10:] and sent[-1][:3] == (frames.HEADERS, END, 1)
    assert set(peer.connection.streams) == {3}
    peer.feed(RESET.replace(b"\0\0\0\x01", b"\0\0\0\x03", 1))
    assert peer.connection.blocked_bytes == 0


def test_what_is_taken_in_may_be_sent_again_and_no_more_than_the_window():
    peer = Peer()
    peer.feed(peer.headers(1, frames.END_HEADERS))
    stream, taken = peer.requests[0][0], []
    for _ in range(200):
        taken += peer.feed(frame(frames.DATA, 0, 1, bytes(16384)))
        peer.connection.consume(stream)
        taken += peer.take()
    given = sum(
        int.from_bytes(payload) for kind, _, stream, payload in taken if kind == frames.WINDOW_UPDATE and stream
    )
    assert peer.failure is None and 0 < 200 * 16384 - given < http2.STREAM_WINDOW
    for _ in range(100):  # and nobody takes it in
        taken = peer.feed(frame(frames.DATA, 0, 1, bytes(16384)))
        if stream_errors(taken):
            break
    assert stream_errors(taken) == [(1, W)]


def test_a_stream_that_is_answered_early_may_go_on_sending_for_a_while():
    peer = Peer()
    peer.feed(peer.headers(1, frames.END_HEADERS))
    peer.connection.end(peer.requests[0][0], b"\x88")
    assert stream_errors(peer.take()) == [(1, Code.NO_ERROR)]
    peer.feed(frame(frames.DATA, 0, 1, bytes(100)), frame(frames.DATA, frames.END_STREAM, 1, b""))
    assert peer.failure is None


def test_as_many_streams_as_are_allowed():
    peer = Peer()
    for n in range(http2.MAX_STREAMS):
        peer.feed(peer.headers(2 * n + 1))
    assert stream_errors(peer.feed(peer.headers(2 * n + 3))) == [(2 * n + 3, Code.REFUSED_STREAM)]
    peer.connection.respond(peer.requests[0][0], b"\x88", b"", b"\x88")
    peer.feed(peer.headers(2 * n + 5))
    assert len(peer.requests) == http2.MAX_STREAMS + 1


def test_after_going_away_new_streams_are_not_taken_and_open_ones_are_answered():
    peer = Peer()
    peer.feed(peer.headers(1))
    peer.connection.go_away()
    assert [(kind, payload[:4]) for kind, _, _, payload in peer.take()] == [(frames.GOAWAY, b"\0\0\0\1")]
    peer.feed(peer.headers(3, frames.END_HEADERS), frame(frames.DATA, frames.END_STREAM, 3, b"x"))
    assert len(peer.requests) == 1 and peer.failure is None
    peer.connection.respond(peer.requests[0][0], b"\x88", b"x", b"\x88")
    assert len(peer.take()) == 3


def long_block(*fields):
    """One that takes long to decode for what it is: 15 KB in Huffman's code."""
    return Encoder().encode([*fields, (b"x", b"a" * 23_000)], huffman=True)


LONG = {  # blocks that are decoded and ask for nothing
    "long malformed requests": lambda n, block: frame(frames.HEADERS, END, 2 * n + 1, block),
    "long malformed requests in pieces": lambda n, block: (
        frame(frames.HEADERS, 0, 2 * n + 1, block[:-1]) + frame(frames.CONTINUATION, END, 2 * n + 1, block[-1:])
    ),
    "long requests that are reset": lambda n, block: (
        frame(frames.HEADERS, 4, 2 * n + 1, block) + frames.rst_stream(2 * n + 1, Code.CANCEL)
    ),
    "long requests after GOAWAY": lambda n, block: frame(frames.HEADERS, END, 2 * n + 1, block),
}


@pytest.mark.parametrize("kind", LONG)
def test_a_flood_of_long_header_blocks_ends_its_connection_sooner(kind, monkeypatch):
    monkeypatch.setattr(http2, "MAX_LIST_BYTES", 2**16)
    peer, block = Peer(), long_block(*(REQUEST if "malformed" not in kind else []))
    if "GOAWAY" in kind:
        peer.connection.go_away()
    for n in range(http2.BUDGET):
        peer.connection.feed(LONG[kind](n, block))
        if peer.failure is not None:
            break
    assert peer.failure.code == Code.ENHANCE_YOUR_CALM
    assert n <= http2.BUDGET // (len(block) // http2.BLOCK_BYTES)


def test_a_client_whose_requests_have_long_headers_is_not_taken_for_a_flood(monkeypatch):
    monkeypatch.setattr(http2, "MAX_LIST_BYTES", 2**16)
    peer, block = Peer(), long_block(*REQUEST)
    for n in range(100):
        peer.feed(frame(frames.HEADERS, END, 2 * n + 1, block))
        if n % 2:
            peer.connection.respond(peer.requests[-1][0], b"\x88", b"x", b"\x88")
    assert peer.failure is None and len(peer.requests) == 100


FLOODS = (
    "rapid resets", "PING", "SETTINGS", "acknowledgements", "PRIORITY", "WINDOW_UPDATE", "an extension",
    "empty DATA", "padding", "DATA of one byte", "malformed requests", "bombs", "CONTINUATION",
    "empty CONTINUATION", "refused streams",
)  # fmt: skip


def flood(kind, request=REQUEST):
    """What a client sends again and again; the n-th of it."""
    encoder = Encoder()

    def reset(n):
        return frame(frames.HEADERS, 4, 2 * n + 1, encoder.encode(request)) + frames.rst_stream(2 * n + 1, Code.CANCEL)

    return {
        "rapid resets": reset,
        "PING": lambda n: frame(frames.PING, 0, 0, bytes(8)),
        "SETTINGS": lambda n: frames.settings({frames.INITIAL_WINDOW_SIZE: n}),
        "acknowledgements": lambda n: frame(frames.SETTINGS, frames.ACK, 0),
        "PRIORITY": lambda n: frame(frames.PRIORITY, 0, 2 * n + 1, bytes(5)),
        "WINDOW_UPDATE": lambda n: frames.window_update(0, 1),
        "an extension": lambda n: frame(0x42, 0, 0, b""),
        "empty DATA": lambda n: frame(frames.DATA, 0, 1) if n else OPEN,
        "padding": lambda n: frame(frames.DATA, frames.PADDED, 1, b"\x10" + bytes(16)) if n else OPEN,
        "DATA of one byte": lambda n: frame(frames.DATA, 0, 1, b"x") if n else OPEN,
        "malformed requests": lambda n: frame(frames.HEADERS, END, 2 * n + 1, b"\x82"),
        "bombs": lambda n: frame(frames.HEADERS, END, 2 * n + 1, b"\x90" * 12_000),
        "CONTINUATION": lambda n: frame(frames.CONTINUATION, 0, 1, b"\x90" * 100) if n else frame(1, 0, 1, b""),
        "empty CONTINUATION": lambda n: frame(frames.CONTINUATION, 0, 1) if n else frame(1, 0, 1, b""),
        "refused streams": lambda n: frame(frames.HEADERS, 4, 2 * n + 1, b"\x83\x86\x84"),
    }[kind]


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_ends_its_connection_and_holds_no_memory(kind):
    peer, nth = Peer(), flood(kind)
    tracemalloc.start()
    try:
        for n in range(20_000):
            peer.connection.feed(nth(n))
            peer.written.clear()
            peer.requests.clear()
            peer.resets.clear()
            if peer.failure is not None:
                break
        assert peer.failure.code == Code.ENHANCE_YOUR_CALM
        assert n <= http2.BUDGET + http2.MAX_STREAMS + 1
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_settings_are_paid_one_by_one():
    """Each may be a window's size, which is set on every stream: 16 KiB of them took 37 ms."""
    peer = Peer()
    many = frame(frames.SETTINGS, 0, 0, b"".join(frames.SETTING.pack(4, n % 2) for n in range(http2.BUDGET // 2)))
    assert peer.feed(many) == [(frames.SETTINGS, frames.ACK, 0, b"")] and peer.failure is None
    peer.feed(many)
    assert peer.failure.code == Code.ENHANCE_YOUR_CALM


def test_a_connections_window_is_shared_by_the_streams_whose_own_is_open():
    peer = Peer(frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 0}))
    peer.feed(*(peer.headers(stream) for stream in (1, 3, 5)))
    for stream, _ in peer.requests:
        peer.connection.send_data(stream, b"x" * 40_000)
    assert peer.feed(frames.window_update(0, 10)) == []
    sent = peer.feed(frames.window_update(3, 40_000), frames.window_update(5, 40_000))
    sizes = [(stream, len(data)) for _, _, stream, data in sent]
    assert sizes == [(3, 16384), (3, 16384), (3, 7232), (5, 16384), (5, 9161)]
    ((_, _, stream, data),) = peer.feed(frames.window_update(0, 40_000))
    assert (stream, len(data)) == (5, 14_455)


def test_a_client_that_asks_for_something_is_not_taken_for_a_flood():
    peer = Peer()
    for n in range(5000):
        peer.feed(peer.headers(2 * n + 1), frame(frames.PING, 0, 0, bytes(8)), frames.window_update(0, 1))
        peer.connection.respond(peer.requests[-1][0], b"\x88", b"x", b"\x88")
    assert peer.failure is None


def test_time_pays_for_what_floods_would_cost():
    peer = Peer()
    for _ in range(20):
        for _ in range(http2.BUDGET_PER_SECOND):
            peer.feed(frame(frames.PING, 0, 0, bytes(8)))
        peer.connection.refill(1.0)
    assert peer.failure is None


def test_a_smaller_table_at_the_client_is_acknowledged_in_the_next_block():
    peer = Peer(frames.PREFACE + frames.settings({frames.HEADER_TABLE_SIZE: 0}))
    peer.decoder.max_allowed_table_size = 0
    peer.feed(peer.headers(1))
    peer.connection.respond(peer.requests[0][0], encode([(b":status", b"200")]), b"", encode([(b"grpc-status", b"0")]))
    assert peer.decoder.decode(peer.take()[0][3]) == [(":status", "200")]
