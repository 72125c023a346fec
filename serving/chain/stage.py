"""A stage: what it does to a message, and around it what all stages have in common: transport, trace, log, metrics."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import orjson

from serving.chain.message import CALL_HEADERS, FORM, HEADER_LENGTH, KIND, REPLICA, Call, Message
from serving.chain.metrics import StageMetrics
from serving.chain.replicas import Replicas
from serving.chain.transport import FILE, Receiver
from serving.errors import Overloaded, ServingError, as_serving_error
from serving.http.endpoint import Endpoint
from serving.http.gateway import Routes
from serving.http.messages import Header, Request, Response, json_response
from serving.http.trace import TRACEPARENT
from serving.telemetry.logs import REQUESTS

log = logging.getLogger("bentoml.ekiben.request")
Work = Callable[[Call, bytes], Awaitable[Message]]
REPLY_HEADERS = (HEADER_LENGTH, REPLICA, FORM)
# A request is taken as long as it would take this share of the time that it has: the slowest take twice the mean.
MARGIN = 0.5
WEIGHT = 0.1  # of the newest request among those that are learnt from


def replica(request: Request) -> str:
    """What this process is called: its host, which in a container is the container, and its port."""
    return f"{socket.gethostname()}:{request.server[1]}"


class Admission:
    """Which requests a stage's worker takes: those that it would answer in time, as far as the last ones tell."""

    def __init__(self, max_requests: int) -> None:
        self._max_requests, self._under_way = max_requests, 0
        self._seconds_each = 0.0  # that a request took, over how many were under way with it

    def check(self, seconds_left: float) -> None:
        """Overloaded where as many are under way as may be, or the next one's time would be up before its answer."""
        n = self._under_way
        if n >= self._max_requests:
            words = f"{n} requests are under way, as many as are taken at a time"
            raise Overloaded(words, "EKIBEN_CHAIN_MAX_REQUESTS")
        if n and (seconds := (n + 1) * self._seconds_each) > MARGIN * seconds_left:
            words = f"{n} requests are under way, one more would take {seconds:.2f} s and has {seconds_left:.2f} s"
            raise Overloaded(words, "EKIBEN_CHAIN_TIMEOUT_MS")

    @contextmanager
    def admitted(self, seconds_left: float) -> Iterator[None]:
        """While a request is under way, which is then learnt from. Overloaded as `check`"""
        self.check(seconds_left)
        self._under_way += 1
        n, began, failed = self._under_way, perf_counter(), True
        try:
            yield
            failed = False
        finally:
            each = (perf_counter() - began) / ((n + self._under_way) / 2)
            self._under_way -= 1
            if not failed or each > self._seconds_each:  # what fails early says nothing of the others
                self._seconds_each += (each - self._seconds_each) * (WEIGHT if self._seconds_each else 1.0)


class StageEndpoint(Endpoint):
    """The handler of a stage: `work` is given each request's body, wherever it lay, and gives the reply.

    Without a receiver no file is read, whatever a request names: that is for the stage that strangers ask. What is not
    admitted is turned away by its head: it would only wait until its time is up.
    """

    def __init__(
        self, work: Work, receiver: Receiver | None, metrics: StageMetrics, seconds: float, limit: int, most: int
    ) -> None:
        """A request has so many `seconds`, unless who asks gives it less, and `limit` bytes; `most` at a time."""
        super().__init__(self.answer, limit)
        self._work, self._receiver, self._metrics, self._seconds = work, receiver, metrics, seconds
        self._admission = Admission(most)

    def check(self, request: Request) -> None:
        """Raises Overloaded where what waits leaves the call's deadline no time."""
        super().check(request)
        self._admission.check(Call.of(request, self._seconds).seconds_left())

    def reject(self, request: Request, error: ServingError) -> None:
        """Send the error to the stage that asks, counted and logged."""
        request.respond(_reject(Call.of(request, self._seconds), error, self._metrics))

    async def answer(self, request: Request) -> Response:
        """The response, also where it is an error."""
        call, metrics = Call.of(request, self._seconds), self._metrics
        try:
            with self._admission.admitted(call.seconds_left()):
                reply, further, wire = await self._reply(call)
        except Exception as error:
            return _reject(call, error, metrics)
        content_type = reply.headers[KIND].encode("latin-1")
        took = call.seconds_taken()
        metrics.seconds.observe(took)
        _log(call, {"status": reply.status, "stage": metrics.stage, "request_ms": round(took * 1e3, 3)})
        return Response(wire, content_type, reply.status, (_trace_header(call), *_reply_headers(reply, further)))

    async def _reply(self, call: Call) -> tuple[Message, dict[str, str], bytes]:
        """What the work gives; further headers of its message, and the message's body."""
        file = call.request.headers.get(FILE.encode(), b"").decode("latin-1")
        if self._receiver is None or not file:
            reply = await self._work(call, call.request.body)
            return reply, {}, reply.body
        reply = await self._work(call, await self._receiver.asked(file))
        return reply, *await self._receiver.answer(file, reply.body)


def _reply_headers(reply: Message, further: dict[str, str]) -> list[Header]:
    """The headers of a reply that are meant for the asker."""
    fields = {name: reply.headers[name] for name in REPLY_HEADERS if name in reply.headers} | further
    return [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]


def _trace_header(call: Call) -> Header:
    return (TRACEPARENT, call.traceparent().encode())


def _log(call: Call, timings: dict[str, Any]) -> None:
    """One line for an answered request, while there is room for it."""
    if not call.logged and REQUESTS.answers.take(perf_counter()):
        fields = {**timings, "trace": call.trace, "replica": call.replica}
        log.info(" ".join(f"{key}={value}" for key, value in fields.items()), extra={"fields": fields})


def _reject(call: Call, error: Exception, metrics: StageMetrics) -> Response:
    known = as_serving_error(error, call.trace.encode())
    metrics.failed(known.reason)
    if not call.logged:
        took = round(call.seconds_taken() * 1e3, 3)
        REQUESTS.failed(call.trace.encode(), known, stage=metrics.stage, request_ms=took)
    return Response(known.body, status=known.status, headers=(_trace_header(call), *known.headers))


class StageRejection(ServingError):
    """What another stage refused, passed on in its words and with its status."""

    def __init__(self, stage: str, reply: Message) -> None:
        try:
            words = orjson.loads(reply.body)["error"]
        except (ValueError, KeyError, TypeError):
            words = f"the {stage} stage answered {reply.status}"
        super().__init__(words)
        self.status = reply.status
        self.reason = "bad_input" if reply.status < 500 and reply.status != 429 else stage
        if reply.status in (429, 503):
            self.headers = ((b"retry-after", b"1"),)


async def ask(next_stage: Replicas, path: str, message: Message, call: Call, metrics: StageMetrics) -> Message:
    """The next stage's reply, once it is a good one. Refused, StageDown, DeadlineExceeded"""
    before = next_stage.retries
    try:
        reply = await next_stage.ask(path, message, call)
    finally:
        metrics.retries.inc(next_stage.retries - before)
    if reply.status != 200:
        raise StageRejection(next_stage.stage, reply)
    call.replica = reply.headers.get(REPLICA, "")
    return Message({name: reply.headers[name] for name in CALL_HEADERS if name in reply.headers}, reply.body)


def health(stage: str, model: str, next_stage: Replicas) -> Routes:
    """`GET /health`: ok; degraded while a replica of the next stage is away or the volume is full; unready and 503
    while all are away."""

    async def respond(request: Request) -> Response:
        states = await next_stage.states()
        up = [state == "up" for state in states.values()]
        volume = {"volume": complaint} if (complaint := next_stage.transport.complaint()) else {}
        status = "ok" if up and all(up) and not volume else "degraded" if any(up) else "unready"
        report = {"status": status, "stage": stage, "model": model, "replica": replica(request), **volume}
        return json_response({**report, "asks": {next_stage.stage: states}}, 200 if any(up) else 503)

    return {"/health": {"GET": Endpoint(respond)}}
