"""What one client sends never changes what another gets: what is remembered of a head is never a hostile one's."""

import threading
from collections.abc import Callable

import pytest

from tests.wire.client import converse
from tests.wire.messages import INFER, JSON, chunked, document, infer, message

LINE = f"POST {INFER} HTTP/1.1"
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"traceparent: 00-{TRACE}-b7ad6b7169203331-01"
LENGTH = len(TRACEPARENT) - len("traceparent: ")
ROUNDS = 25


def hiding(line: str) -> str:
    """A `traceparent` of the right length that holds a line's end and this line."""
    return "traceparent: " + f"00\r\n{line}\r\nfiller: ".ljust(LENGTH, "y")[:LENGTH]


BODY = document("hostile")
HIDDEN = [
    "Transfer-Encoding: chunked",
    "Content-Length: 0",
    "Content-Length: 9999",
    "Connection: close",
    "Connection: upgrade",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "Authorization: Bearer x",
    "Content-Encoding: gzip",
    "Content-Type: text/html",
    "Host: elsewhere",
    "",
]
# What a hostile client sends; each once in the shape of the good client's head.
HOSTILE: dict[str, bytes] = {
    **{
        f"traceparent hides {line!r}": message(LINE, JSON, f"Content-Length: {len(BODY)}", hiding(line), body=BODY)
        for line in HIDDEN
    },
    "traceparent hides a request": message(
        LINE,
        JSON,
        f"Content-Length: {len(BODY)}",
        "traceparent: 00\r\n\r\nGET /livez HTTP/1.1\r\nHost: y\r\nfiller: yyyyyyy",
        body=BODY,
    ),
    "bare LF in traceparent": message(
        LINE,
        JSON,
        f"Content-Length: {len(BODY)}",
        hiding("Transfer-Encoding: chunked").replace("\r\n", "\n"),
        body=BODY,
    ),
    "traceparent twice": infer("hostile", TRACEPARENT, TRACEPARENT),
    "traceparent of zeros": infer("hostile", "traceparent: 00-" + "0" * 32 + "-b7ad6b7169203331-01"),
    "traceparent in capitals": infer("hostile", TRACEPARENT.upper()),
    "traceparent with bytes of others": infer("hostile", b"traceparent: " + b"\xff" * LENGTH),
    "chunked over the same fields": message(
        LINE, JSON, "Transfer-Encoding: chunked", TRACEPARENT, body=chunked([BODY])
    ),
    "a length of zero": message(LINE, JSON, "Content-Length: 0", TRACEPARENT),
    "a length too short": message(LINE, JSON, f"Content-Length: {len(BODY) - 3}", TRACEPARENT, body=BODY),
    "a length of another shape": message(LINE, JSON, f"Content-Length:   000{len(BODY)}", TRACEPARENT, body=BODY),
    "a body that is no JSON": message(LINE, JSON, f"Content-Length: {len(BODY)}", TRACEPARENT, body=b"}" * len(BODY)),
    "gzip that is none": infer("hostile", "Content-Encoding: gzip", TRACEPARENT),
    "an envelope with other members": message(
        LINE, JSON, f"Content-Length: {len(BODY)}", TRACEPARENT, body=BODY.replace(b"features", b'fea\\"res')
    ),
}


class Hostile(threading.Thread):
    """Sends one thing again and again, until it is stopped."""

    def __init__(self, port: int, data: bytes) -> None:
        super().__init__(daemon=True)
        self.port, self.data = port, data
        self.stopped = threading.Event()
        self.statuses: set[int] = set()
        self.rounds = 0

    def run(self) -> None:
        while not self.stopped.is_set():
            conversation = converse(self.port, self.data, answers=1, seconds=0.1)
            self.statuses |= set(conversation.statuses)
            self.rounds += 1


def beside(port: int, data: bytes, good: Callable[[int], None]) -> Hostile:
    """So many rounds of a good client, beside a hostile one."""
    hostile = Hostile(port, data)
    hostile.start()
    try:
        while not hostile.rounds:
            hostile.join(0.001)
        for i in range(ROUNDS):
            good(i)
    finally:
        hostile.stopped.set()
        hostile.join()
    return hostile


@pytest.mark.parametrize("name", HOSTILE)
def test_a_good_client_beside_a_hostile_one(port, name):
    def good(i: int) -> None:
        trace = f"{i + 1:032x}"
        mine = [infer(f"r{i}", TRACEPARENT.replace(TRACE, trace)), infer(f"s{i}", TRACEPARENT.replace(TRACE, trace))]
        conversation = converse(port, *mine, answers=2)
        assert conversation.end == "answered" and conversation.ids == [f"r{i}", f"s{i}"], str(conversation)
        assert [response.headers["x-trace-id"] for response in conversation.responses] == [trace, trace]

    hostile = beside(port, HOSTILE[name], good)
    assert hostile.statuses <= {200, 400, 408, 415, 431, 501}, hostile.statuses


@pytest.mark.parametrize("name", HOSTILE)
def test_a_client_with_a_key_beside_one_without(guarded_port, keys, name):
    """Neither does the good one's key let the hostile one in, nor the other's lack of one keep it out."""

    def good(i: int) -> None:
        conversation = converse(guarded_port, *[infer(f"r{i}", keys.bearer(), TRACEPARENT)] * 2, answers=2)
        assert conversation.end == "answered" and conversation.ids == [f"r{i}"] * 2, str(conversation)

    hostile = beside(guarded_port, HOSTILE[name], good)
    assert hostile.statuses <= {400, 401, 408, 431, 501}, hostile.statuses


def test_what_was_answered_to_one_key_is_not_anothers(guarded_port, keys):
    """The same bytes but for the key: 200, 401, 200, 401 …, on one connection and on many."""
    wrong = keys.bearer()[:-1] + ("A" if keys.bearer()[-1] != "A" else "B")
    requests = [infer("same", bearer, TRACEPARENT) for bearer in (keys.bearer(), wrong) * 50]
    assert converse(guarded_port, *requests, answers=100).statuses == [200, 401] * 50
    assert [converse(guarded_port, r, answers=1).last.status for r in requests[:20]] == [200, 401] * 10
