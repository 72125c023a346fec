"""One root for all that a caller can be told; each error carries its HTTP status and its reason in the metrics."""

from __future__ import annotations

import logging
from functools import cached_property
from http import HTTPStatus

import orjson

log = logging.getLogger("bentoml.ekiben")


class SettingsError(ValueError):
    """What is set cannot be served, and no other try will change that; the message says what may be."""


class ServingError(Exception):
    """An answer that is an error. `reason` is a metric label, so it is one of few words."""

    status = 500
    reason = "engine"
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(self, words: str = "", setting: str = "") -> None:
        """`setting` is the variable that the limit comes from: the log names it, the client cannot change it."""
        super().__init__(words)
        self.setting = setting

    @cached_property
    def body(self) -> bytes:
        """`{"error": "…"}`"""
        return orjson.dumps({"error": str(self) or HTTPStatus(self.status).phrase})


class BadInput(ServingError):
    status = 400
    reason = "bad_input"


class Unauthorized(ServingError):
    """No key, or none that is known; a browser asks its user for one."""

    status = 401
    reason = "bad_input"
    headers = ((b"www-authenticate", b'Bearer realm="ekiben", Basic realm="ekiben"'),)


class Forbidden(ServingError):
    status = 403
    reason = "bad_input"


class NotFound(ServingError):
    status = 404
    reason = "bad_input"


class MethodNotAllowed(ServingError):
    status = 405
    reason = "bad_input"

    def __init__(self, method: str, path: str, allowed: str) -> None:
        super().__init__(f"{method} is not allowed on {path}, which takes {allowed}")
        self.headers = ((b"allow", allowed.encode()),)


class TooLarge(ServingError):
    status = 413
    reason = "bad_input"


class UnsupportedMedia(ServingError):
    status = 415
    reason = "bad_input"


class MisdirectedRequest(ServingError):
    """The request names a host that this service does not answer for."""

    status = 421
    reason = "bad_input"


class TooSlow(ServingError):
    """The request did not arrive in time."""

    status = 408
    reason = "bad_input"


class HeadTooLarge(ServingError):
    status = 431
    reason = "bad_input"


class NotImplementedMethod(ServingError):
    """A method or a transfer coding that no route here knows."""

    status = 501
    reason = "bad_input"


class UnsupportedVersion(ServingError):
    status = 505
    reason = "bad_input"


class TooManyConnections(ServingError):
    status = 503
    reason = "shed"
    headers = ((b"retry-after", b"1"),)


class Overloaded(ServingError):
    """The queue is full: come back in a second."""

    status = 429
    reason = "shed"
    headers = ((b"retry-after", b"1"),)


class DeadlineExceeded(ServingError):
    """The answer could not be computed in time."""

    status = 503
    reason = "timeout"
    headers = ((b"retry-after", b"1"),)


class ClientGone(ServingError):
    """Nobody is there to read the answer; 499 is what nginx calls it."""

    status = 499
    reason = "cancelled"


class EngineError(ServingError):
    """The engine threw, or gave something else than its signature."""


class NotReady(ServingError):
    status = 503
    reason = "not_ready"


def as_serving_error(error: Exception, trace: bytes) -> ServingError:
    """The error itself; one that nobody foresaw goes to the log, and the client is told so much."""
    if isinstance(error, ServingError):
        return error
    log.error("request %s failed", trace.decode(), exc_info=error)
    return ServingError("internal error; the server's log has the details")
