"""Requests that take most memory for what they cost to send, and clients that send them all at once."""

from __future__ import annotations

import gzip
import io
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from PIL import Image

HOST = "127.0.0.1"
SIDE = 5000  # 25 megapixels, as many as are allowed
JSON = {"content-type": "application/json"}
V2 = b'{"inputs":[{"name":"image","shape":[1024,1,28,28],"datatype":"FP32","data":[%b]}]}'
Request = tuple[str, bytes, dict[str, str]]


def picture(kind: str, mode: str, side: int = SIDE, **options: object) -> bytes:
    """A white square, encoded."""
    written = io.BytesIO()
    Image.new(mode, (side, side), (255, 255, 255, 255)[: len(mode)]).save(written, kind, **options)
    return written.getvalue()


def hostile_requests() -> Iterator[Request]:
    """Path, body and headers: pictures of three kinds, long JSON, the same compressed."""
    gzipped = {**JSON, "content-encoding": "gzip"}
    long = V2 % b",".join([b"0.1234567890123456"] * (1024 * 784))
    yield "/digits/classify", picture("PNG", "RGBA"), {"content-type": "image/png"}
    yield "/digits/classify", picture("WEBP", "RGB", quality=1), {"content-type": "image/webp"}
    yield "/digits/classify", picture("JPEG", "RGB", progressive=True, quality=1), {"content-type": "image/jpeg"}
    yield "/v2/models/digits/infer", long, JSON
    yield "/v2/models/digits/infer", gzip.compress(long, 1), gzipped
    yield "/iris/classify", b"[%b]" % b",".join([b"{}"] * 5_000_000), JSON
    yield "/iris/classify", gzip.compress(b"[%b]" % b",".join([b"{}"] * 4_000_000), 1), gzipped


@dataclass(frozen=True)
class Answer:
    """Of one request; status 0 where there was none, which the text says."""

    status: int
    text: str
    seconds: float
    retry_after: bool = False


def send(port: int, request: Request, seconds: float = 60) -> Answer:
    """By a connection of its own."""
    path, body, headers = request
    started = time.monotonic()
    connection = HTTPConnection(HOST, port, timeout=seconds)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        again = answer.headers.get("retry-after") is not None
        return Answer(answer.status, text, time.monotonic() - started, again)
    except (OSError, HTTPException) as error:
        return Answer(0, repr(error), time.monotonic() - started)
    finally:
        connection.close()


def flood(port: int, requests: Sequence[Request], clients: int) -> list[Answer]:
    """What becomes of all of them, sent by so many clients that begin at the same time."""
    answers: list[Answer] = []
    left, together = list(requests), threading.Barrier(clients)

    def client() -> None:
        together.wait()
        while True:
            try:
                request = left.pop()
            except IndexError:
                return
            answers.append(send(port, request))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def arrive(port: int, request: Request, per_second: float, count: int) -> list[Answer]:
    """What becomes of requests that come at this rate, whatever becomes of those before them."""
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(send(port, request))) for _ in range(count)]
    began = time.monotonic()
    for number, thread in enumerate(threads):
        time.sleep(max(0.0, began + number / per_second - time.monotonic()))
        thread.start()
    for thread in threads:
        thread.join()
    return answers
