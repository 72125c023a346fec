"""A stage: what it does to a message, and around it what all stages have in common: transport, trace, log, metrics."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
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


def replica(request: Request) -> str:
    """What this process is called: its host, which in a container is the container, and its port."""
    return f"{socket.gethostname()}:{request.server[1]}"


def route(
    work: Work, receiver: Receiver | None, metrics: StageMetrics, seconds: float, limit: int, max_requests: int
) -> Endpoint:
    """The handler of a stage: `work` is given each request's body, wherever it lay, and gives the reply.

    Without a receiver no file is read, whatever a request names: that is for the stage that strangers ask. Requests
    over `max_requests` at a time are turned away at once: they would only wait until their time is up.
    """
    under_way = 0

    async def respond(request: Request) -> Response:
        nonlocal under_way
        call = Call.of(request, seconds)
        if under_way >= max_requests:
            words = f"{under_way} requests are under way, as many as are taken at a time"
            return _reject(call, Overloaded(words, "EKIBEN_CHAIN_MAX_REQUESTS"), metrics)
        under_way += 1
        try:
            return await answer(call, request)
        finally:
            under_way -= 1

    async def answer(call: Call, request: Request) -> Response:
        try:
            file = request.headers.get(FILE.encode(), b"").decode("latin-1")
            if receiver is not None and file:
                reply = await work(call, await receiver.asked(file))
                further, wire = await receiver.answer(file, reply.body)
            else:
                reply = await work(call, request.body)
                further, wire = {}, reply.body
        except Exception as error:
            return _reject(call, error, metrics)
        content_type = reply.headers[KIND].encode("latin-1")
        took = perf_counter() - request.begun
        metrics.seconds.observe(took)
        _log(call, {"status": reply.status, "stage": metrics.stage, "request_ms": round(took * 1e3, 3)})
        return Response(wire, content_type, reply.status, (_trace_header(call), *_reply_headers(reply, further)))

    return Endpoint(respond, limit)


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
        REQUESTS.failed(call.trace.encode(), known, stage=metrics.stage)
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


def health(stage: str, model: str, asked: Replicas) -> Routes:
    """`GET /health`: ok; degraded while a replica of the next stage is away or the volume is full; unready and 503
    while all are away."""

    async def respond(request: Request) -> Response:
        states = await asked.states()
        up = [state == "up" for state in states.values()]
        volume = {"volume": complaint} if (complaint := asked.transport.complaint()) else {}
        status = "ok" if up and all(up) and not volume else "degraded" if any(up) else "unready"
        report = {"status": status, "stage": stage, "model": model, "replica": replica(request), **volume}
        return json_response({**report, "asks": {asked.stage: states}}, 200 if any(up) else 503)

    return {"/health": {"GET": Endpoint(respond)}}
