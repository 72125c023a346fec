"""Handlers of routes that are functions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from serving.errors import Forbidden, ServingError, as_serving_error
from serving.http.messages import Handler, Request, Respond, Response, json_response
from serving.telemetry.logs import REQUESTS

MAX_BODY_BYTES = 1024 * 1024  # of requests whose body says little or nothing


class Endpoint:
    """The handler of a route that is a function: it gives the response, or a coroutine of it."""

    _tasks: set[asyncio.Task[None]] = set()  # noqa: RUF012 (the loop itself would let them be collected)

    def __init__(self, respond: Respond, max_body_bytes: int = MAX_BODY_BYTES, same_origin: bool = False) -> None:
        """With `same_origin`, no page of another origin may have a browser send such a request."""
        self._respond, self.max_body_bytes, self._same_origin = respond, max_body_bytes, same_origin

    def check(self, request: Request) -> None:
        """Raises Forbidden for what a page of another origin sends, where that matters."""
        if self._same_origin and (origin := request.headers.get(b"origin")) is not None:
            host = urlsplit(origin.decode("latin-1")).netloc
            if host.lower() != request.headers.get(b"host", b"").decode("latin-1").lower():
                raise Forbidden("a page of another origin sends this, which is refused")

    def handle(self, request: Request) -> None:
        """Send the function's response, at once or when its coroutine ends."""
        response = self._respond(request)
        if isinstance(response, Response):
            request.respond(response)
        else:
            task = asyncio.get_running_loop().create_task(self._later(request, response))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _later(self, request: Request, response: Awaitable[Response]) -> None:
        try:
            request.respond(await response)
        except Exception as error:
            reject(request, error)

    def reject(self, request: Request, error: ServingError) -> None:
        """Send the error; no model is known that it would be counted for."""
        reject(request, error)


def get(value: Callable[[Request], Any]) -> dict[str, Handler]:
    """A GET route that answers JSON: `value` is given the request and returns what is to be written."""
    return {"GET": Endpoint(lambda request: json_response(value(request)))}


def reject(request: Request, error: Exception) -> None:
    """Log an error by method and path, and send it."""
    known = as_serving_error(error, request.trace_id)
    REQUESTS.failed(request.trace_id, known, method=request.method, path=shorten(request.path))
    request.fail(known)  # also where nobody is left to read it: it ends the request, and gives its memory back


def shorten(path: str) -> str:
    """A client's path, as far as logs and errors show it."""
    return path if len(path) <= 100 else path[:100] + "…"
