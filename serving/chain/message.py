"""What one stage says to another: a body with a few headers, and the call that it belongs to."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import ParamSpec, TypeVar

from serving.http.messages import Request
from serving.http.trace import TRACEPARENT, WELL_FORMED

KIND = "content-type"
HEADER_LENGTH = "inference-header-content-length"  # V2's: where the JSON ends and the tensors begin
REPLICA = "ekiben-replica"  # which replica of the model stage computed it
FORM = "ekiben-form"
TIME_LEFT = "ekiben-time-left-ms"
CALL_HEADERS = (KIND, HEADER_LENGTH, REPLICA, FORM)

# Work on more bytes than this is done in a thread, so that nobody else waits for it.
INLINE_BYTES = 32 * 1024
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Message:
    """A request or a reply between stages; header names are in lower case."""

    headers: Mapping[str, str]
    body: bytes
    status: int = 200


@dataclass
class Call:
    """One request as a stage sees it: its trace, and until when somebody waits for the answer."""

    request: Request
    trace: str
    flags: str
    deadline: float  # on perf_counter's clock
    replica: str = ""
    logged: bool = False  # its line of the log is somebody else's
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, request: Request, seconds: float) -> Call:
        """The call of a request whose asker may have said how much time is left."""
        traceparent = request.headers.get(TRACEPARENT)
        flags = traceparent[-2:].decode() if traceparent is not None and WELL_FORMED.fullmatch(traceparent) else "01"
        milliseconds = request.headers.get(TIME_LEFT.encode())
        if milliseconds is not None and milliseconds.isdigit() and len(milliseconds) < 10:
            seconds = min(seconds, int(milliseconds) / 1e3)
        headers = {
            name: value.decode("latin-1") for name in CALL_HEADERS if (value := request.headers.get(name.encode()))
        }
        return cls(request, request.trace_id.decode(), flags, perf_counter() + seconds, headers=headers)

    def traceparent(self) -> str:
        """The W3C header for what this call asks of others: the same trace, a span of its own."""
        return f"00-{self.trace}-{secrets.token_hex(8)}-{self.flags}"

    def seconds_taken(self) -> float:
        """Since its first byte came."""
        return perf_counter() - self.request.begun

    def seconds_left(self) -> float:
        """Until its deadline; negative once that is past."""
        return self.deadline - perf_counter()


async def apart(size: int, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Work on so many bytes: at once if they are few, else in a thread."""
    if size <= INLINE_BYTES:
        return work(*arguments, **named)
    return await asyncio.to_thread(work, *arguments, **named)
