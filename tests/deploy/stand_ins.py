"""Stand-ins on loopback ports: a service that exports what ekiben does, and the Telegram Bot API."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Lock, Thread
from typing import Any

SERVED = 'model="digits",form="onnx",version="v1"'
WATCHED = 'model="iris",version="v1"'
REQUESTS = f"ekiben_request_seconds_count{{{SERVED}}}"
FAST = f'ekiben_request_seconds_bucket{{{SERVED},le="1.0"}}'
SHED = f'ekiben_failures_total{{{SERVED},reason="shed"}}'
QUEUED = f"ekiben_queue_seconds_count{{{SERVED}}}"
SOON = f'ekiben_queue_seconds_bucket{{{SERVED},le="0.25"}}'
HEARTBEATS = [f'ekiben_worker_heartbeats_total{{worker="{worker}"}}' for worker in "01"]
REFUSED = f"ekiben_form_refused{{{SERVED}}}"
BINS = [f"{i:02}" for i in range(10)]
QUANTITIES = ("input:petal_length", "prediction:confidence")


def observed(quantity: str, bin_: str) -> str:
    return f'ekiben_drift_observed_total{{{WATCHED},quantity="{quantity}",bin="{bin_}"}}'


def healthy() -> dict[str, float]:
    """Each counter and how much it grows a second when all is well."""
    rates = {REQUESTS: 1000.0, FAST: 1000.0, SHED: 0.0, QUEUED: 1000.0, SOON: 1000.0}
    rates |= dict.fromkeys(HEARTBEATS, 10.0)
    return rates | {observed(quantity, bin_): 100.0 for quantity in QUANTITIES for bin_ in BINS}


def certified() -> dict[str, float]:
    """The gauges: two workers, no form refused, the shares that training had."""
    shares = {observed(quantity, bin_): 0.1 for quantity in QUANTITIES for bin_ in BINS}
    return {"ekiben_workers": 2, REFUSED: 0} | {
        k.replace("observed_total", "reference_ratio"): v for k, v in shares.items()
    }


@dataclass
class Exporter:
    """Counters that grow with time at rates that a test sets; `answers` false is a service that is gone."""

    rates: dict[str, float] = field(default_factory=healthy)
    gauges: dict[str, float] = field(default_factory=certified)
    answers: bool = True

    def __post_init__(self) -> None:
        self._counts, self._at, self._lock = dict.fromkeys(self.rates, 0.0), time.monotonic(), Lock()

    def text(self) -> str:
        with self._lock:
            now = time.monotonic()
            for series, rate in self.rates.items():
                self._counts[series] += rate * (now - self._at)
            self._at = now
            return "".join(f"{series} {value}\n" for series, value in (self._counts | self.gauges).items())

    def reply(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        return (200, "text/plain", self.text().encode()) if self.answers else (503, "text/plain", b"")


@dataclass
class Telegram:
    """What a chat would show: each message as (bot token, settings), and a way to wait for one."""

    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refuses: bool = False  # every message, as it does with a token that is no longer valid
    arrived: Condition = field(default_factory=Condition)

    def reply(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        token, method = path.removeprefix("/bot").split("/")
        assert method == "sendMessage"
        if self.refuses:
            return 401, "application/json", b'{"ok":false,"error_code":401,"description":"Unauthorized"}'
        with self.arrived:
            self.messages.append((token, json.loads(body)))
            self.arrived.notify_all()
        sent = {"message_id": len(self.messages), "date": int(time.time()), "chat": {"id": 1, "type": "group"}}
        return 200, "application/json", json.dumps({"ok": True, "result": sent}).encode()

    def shown(self) -> list[str]:
        return [message["text"] for _, message in self.messages]

    def wait(self, *words: str, seconds: float = 120, after: int = 0) -> dict[str, Any]:
        """The first message, past or to come, that has all the words, after so many others."""

        def first() -> dict[str, Any] | None:
            return next((m for _, m in self.messages[after:] if all(word in m["text"] for word in words)), None)

        with self.arrived:
            message = self.arrived.wait_for(first, seconds)
        assert message is not None, f"no message with {words} within {seconds} s; there came {self.shown()}"
        return message


@contextmanager
def serving(reply: Callable[[str, bytes], tuple[int, str, bytes]]) -> Iterator[int]:
    """`reply(path, body)` → status, type and body, on the port of 127.0.0.1 that is given."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, kind, answer = reply(self.path, body)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
