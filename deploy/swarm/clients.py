"""Clients that count what became of every request: answered, refused at the door, or lost.

A request is accepted once its connection was, and it was sent. An accepted one that does not end in a whole 200 is
lost, whatever the reason; nothing is asked twice.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any

HOST = "127.0.0.1"
PAUSE = 0.02  # s between an answer and the client's next request: the load is there all the time, and no flood
TIMEOUT = 30  # s
Request = tuple[str, bytes]


@dataclass
class Counts:
    """Of one load; `slowest` in seconds, `why` the losses in words."""

    answered: int = 0
    refused: int = 0
    lost: int = 0
    slowest: float = 0.0
    why: Counter[str] = field(default_factory=Counter)


@contextmanager
def clients(port: int, number: int = 8) -> Iterator[Counts]:
    """So many clients ask every model in turn, over connections that they keep, until the block ends."""
    queries, counts, lock, stop = requests(port), Counts(), threading.Lock(), threading.Event()
    threads = [threading.Thread(target=_client, args=(port, queries, counts, lock, stop)) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def requests(port: int) -> list[Request]:
    """One row of zeros for every model that the service says it has."""

    def tensor(declared: dict[str, Any]) -> dict[str, Any]:
        """A row of zeros."""
        shape = [1 if size < 0 else size for size in declared["shape"]]
        return {**declared, "shape": shape, "data": [0] * math.prod(shape)}

    queries = []
    for model in ask(port, "POST", "/v2/repository/index"):
        path = f"/v2/models/{model['name']}"
        inputs = [tensor(declared) for declared in ask(port, "GET", path)["inputs"]]
        queries.append((f"{path}/infer", json.dumps({"inputs": inputs}).encode()))
    return queries


def ask(port: int, method: str, path: str) -> Any:
    """The JSON of a 200; HTTPException otherwise."""
    connection = HTTPConnection(HOST, port, timeout=TIMEOUT)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise HTTPException(f"{method} {path} answered {answer.status}: {text[:200]!r}")
        return json.loads(text)
    finally:
        connection.close()


def _client(port: int, queries: list[Request], counts: Counts, lock: threading.Lock, stop: threading.Event) -> None:
    connection = HTTPConnection(HOST, port, timeout=TIMEOUT)
    turn = 0
    while not stop.wait(PAUSE):
        try:
            if connection.sock is None:
                connection.connect()
        except OSError:
            with lock:
                counts.refused += 1
            continue
        started = time.monotonic()
        failure = _infer(connection, *queries[turn % len(queries)])
        turn += 1
        with lock:
            counts.slowest = max(counts.slowest, time.monotonic() - started)
            counts.answered += not failure
            counts.lost += bool(failure)
            counts.why.update([failure] if failure else [])
    connection.close()


def _infer(connection: HTTPConnection, path: str, body: bytes) -> str:
    """Why there was no whole 200; empty if there was."""
    try:
        connection.request("POST", path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, HTTPException) as error:
        connection.close()
        return f"{type(error).__name__}: {error}"
    return "" if answer.status == 200 and json.loads(text).get("outputs") else f"{answer.status} {text[:100]!r}"
