"""gRPC as bytes on a socket: calls that are spoiled in one of many ways, and what comes back to its last byte."""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence

import hpack
import numpy as np
from tritonclient.grpc import service_pb2

from serving.http2 import frames
from serving.http2.frames import frame
from tests.hostile.case import Case
from tests.hostile.fuzz import Draw, Made, spoiled
from tests.hostile.wire import HANG_UP, Answer, Exchange, Garbled, Piece, exchange

Fields = list[tuple[str, str]]
INFER, STREAM = (f"/inference.GRPCInferenceService/Model{name}Infer" for name in ("", "Stream"))
# A grpc-status is counted from 1000, so that it is no status of HTTP. INTERNAL and UNKNOWN are the server's own faults.
OK, REFUSALS = 200, frozenset({1003, 1004, 1005, 1008, 1012})
ANY = REFUSALS | {OK, 0}  # 0: a reset stream, or a connection that is closed
HELLO = frames.PREFACE + frames.settings({})
LONGEST_FRAME = 2**14


def message(name: str = "iris", typed: bool = False) -> bytes:
    """A right ModelInferRequest of two flowers."""
    rows = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], np.float32)
    request = service_pb2.ModelInferRequest(model_name=name, id="1")
    tensor = request.inputs.add(name="features", datatype="FP32", shape=rows.shape)
    if typed:
        tensor.contents.fp32_contents.extend(rows.reshape(-1).tolist())
    else:
        request.raw_input_contents.append(rows.tobytes())
    return bytes(request.SerializeToString())


def framed(content: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(content).to_bytes(4) + content


def fields(path: str = INFER, *more: tuple[str, str]) -> Fields:
    start = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x")]
    return [*start, ("content-type", "application/grpc"), ("te", "trailers"), *more]


def call(data: bytes, headers: Fields | None = None, stream: int = 1) -> bytes:
    """The frames of one call."""
    block = hpack.Encoder().encode(headers or fields(), huffman=stream % 4 == 1)
    sent = frame(frames.HEADERS, frames.END_HEADERS, stream, block)
    for at in range(0, len(data), LONGEST_FRAME):
        sent += frame(frames.DATA, 0, stream, data[at : at + LONGEST_FRAME])
    return sent + frame(frames.DATA, frames.END_STREAM, stream)


def right(body: bytes) -> bool:
    """Whether these are the answers to `message`: setosa, virginica."""
    at = 0
    while at < len(body):
        length = int.from_bytes(body[at + 1 : at + 5])
        answer = service_pb2.ModelInferResponse.FromString(body[at + 5 : at + 5 + length])
        if np.frombuffer(answer.raw_output_contents[0], np.int64).tolist() != [0, 2]:
            return False
        at += 5 + length
    return at > 0


KNOWN = HELLO + call(framed(message()))
CANARY = Case("the right call", (KNOWN,), frozenset({OK}), right=right)


class Reader:
    """Frames → answers, by another's HPACK. A stream that is reset has none."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self._data = b""
        self._decoder = hpack.Decoder()
        self._bodies: dict[int, bytes] = defaultdict(bytes)

    def feed(self, data: bytes) -> None:
        """Garbled"""
        self._data += data
        while len(self._data) >= frames.HEAD_BYTES:
            high, low, kind, flags, stream = frames.HEAD.unpack_from(self._data)
            end = frames.HEAD_BYTES + (high << 8 | low)
            if end > frames.HEAD_BYTES + LONGEST_FRAME or kind > frames.CONTINUATION or stream >> 31:
                raise Garbled
            if len(self._data) < end:
                return
            payload, self._data = self._data[frames.HEAD_BYTES : end], self._data[end:]
            if kind == frames.DATA:
                self._bodies[stream] += payload
            elif kind == frames.HEADERS:
                self._headers(stream, bool(flags & frames.END_STREAM), payload)

    def _headers(self, stream: int, ended: bool, block: bytes) -> None:
        try:
            found = {str(name): str(value) for name, value in self._decoder.decode(block)}
        except hpack.HPACKError:
            raise Garbled from None
        if ended:
            code, words = int(found["grpc-status"]), found.get("grpc-message", "")
            body = json.dumps({"error": words}).encode() if code else self._bodies.pop(stream, b"")
            self.answers.append(Answer(1000 + code if code else OK, found, body))


async def send(port: int, pieces: Sequence[Piece], answers: int = 1, head: bool = False) -> Exchange:
    return await exchange(port, pieces, answers, reader=Reader())


def case(seed: int, number: int) -> Case:
    """Case `number` of a storm."""
    draw = random.Random(f"{seed}:{number}")  # noqa: S311
    kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
    pieces, statuses = kind(draw)
    return Case(f"{seed}:{number} {kind.__name__}", pieces, statuses, right=right if statuses == {OK} else None)


def spoiled_frames(draw: Draw) -> Made:
    whole = call(framed(message(typed=draw.random() < 0.5)))
    return (HELLO + spoiled(draw, whole), HANG_UP), ANY


def spoiled_messages(draw: Draw) -> Made:
    content = spoiled(draw, message(draw.choice(("iris", "iris-onnx", "x", "")), draw.random() < 0.5))
    coding = draw.choice((None, None, "gzip", "deflate"))
    if coding is None:
        return (HELLO + call(framed(content)),), REFUSALS | {OK}
    packed = gzip.compress(content) if coding == "gzip" else content
    packed = spoiled(draw, packed) if draw.random() < 0.5 else packed
    return (HELLO + call(framed(packed, 1), fields(INFER, ("grpc-encoding", coding))),), REFUSALS | {OK}


def spoiled_prefixes(draw: Draw) -> Made:
    content = message()
    length = draw.choice((0, 1, len(content) - 1, len(content) + 1, 2**24, 2**31, 2**32 - 1))
    data = bytes([draw.choice((0, 0, 1, 2, 255))]) + length.to_bytes(4) + content
    return (HELLO + call(data),), REFUSALS


def headers(draw: Draw) -> Made:
    names = [
        ":method", ":path", ":scheme", ":authority", "content-type", "te", "grpc-timeout", "grpc-encoding", "x", "X",
        "", "content-length", "authorization", "traceparent", "host", "connection", "x-ekiben-synthetic",
    ]  # fmt: skip
    values = [
        "", "GET", "/", STREAM, "*", "0", "-1", "1n", "99999999H", "1S", "100000000S", "é", "gzip", "snappy", "\0",
        "a" * 5000, "application/grpc+json", "trailers", "1", "Bearer x",
    ]  # fmt: skip
    found = fields(draw.choice((INFER, INFER, STREAM, "/grpc.health.v1.Health/Check", "/x/y")))
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(found) + 1)
        found[at : at + draw.randrange(2)] = [(draw.choice(names), draw.choice(values))]
    return (HELLO + call(framed(message()), found), HANG_UP), ANY


def cut(draw: Draw) -> Made:
    whole = HELLO + call(framed(message()))
    return (whole[: draw.randrange(len(whole))], HANG_UP), ANY


def in_pieces(draw: Draw) -> Made:
    """A right call that comes in pieces, with pauses; it must be answered."""
    places = sorted(draw.randrange(len(KNOWN)) for _ in range(draw.randint(1, 5)))
    found: list[Piece] = []
    for start, stop in zip([0, *places], [*places, len(KNOWN)], strict=True):
        found += [KNOWN[start:stop], draw.choice((0.0, 0.001, 0.02))]
    return tuple(found), frozenset({OK})


def streams(draw: Draw) -> Made:
    """Several requests on one stream, some of them spoiled."""
    messages = [message() if draw.random() < 0.6 else spoiled(draw, message()) for _ in range(draw.randint(1, 20))]
    return (HELLO + call(b"".join(map(framed, messages)), fields(STREAM)),), REFUSALS | {OK}


def sequences(draw: Draw) -> Made:
    """Frames of any kind in any order, right and wrong ones."""
    sent = HELLO
    for _ in range(draw.randint(1, 12)):
        stream, flags = draw.choice((0, 1, 1, 2, 3, 5, 2**31 - 1)), draw.choice((0, 1, 4, 5, 8, 0x20, 0x2D, 255))
        if draw.random() < 0.3:
            sent += call(framed(message()), stream=draw.choice((1, 3, 5)))
        else:
            payload = draw.randbytes(draw.choice((0, 1, 4, 4, 5, 6, 8, 8, 12, 100)))
            sent += frame(draw.randrange(12), flags, stream, payload)
    return (sent, HANG_UP), ANY


def noise(draw: Draw) -> Made:
    start = draw.choice((b"", HELLO, frames.PREFACE, frames.PREFACE[:9], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"))
    return (start + draw.randbytes(draw.choice((0, 1, 10, 500))), HANG_UP), ANY


# How often each kind comes.
KINDS: dict[Callable[[Draw], Made], int] = {
    spoiled_frames: 20, spoiled_messages: 25, spoiled_prefixes: 4, headers: 15, cut: 5, in_pieces: 6, streams: 8,
    sequences: 15, noise: 3,
}  # fmt: skip
