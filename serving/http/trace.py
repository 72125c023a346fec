"""Trace ids: taken from the client's W3C `traceparent`, or made; the answer's header and the log line carry them."""

from __future__ import annotations

import os
import re
from itertools import count

TRACE = b"x-trace-id"
TRACEPARENT = b"traceparent"
# https://www.w3.org/TR/trace-context/#traceparent-header: version, trace id, parent id, flags.
WELL_FORMED = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
LENGTH = 55

_process = os.urandom(8).hex().encode()
_counter = count(int.from_bytes(os.urandom(4)))


def new_trace() -> bytes:
    """32 hexadecimal digits: half are the process's, half count its requests, which is cheaper than random ones."""
    return b"%b%016x" % (_process, next(_counter))


def trace_of(traceparent: bytes | None) -> bytes:
    """The trace id of a `traceparent`; a new one where there is none, or none that is well formed."""
    match = None if traceparent is None else WELL_FORMED.fullmatch(traceparent)
    return new_trace() if match is None else match[1]
