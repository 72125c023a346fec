"""Every answer of every peer against ONNX Runtime itself, before and after each measured shot."""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor

from loadtest.peers.dialects import fault
from loadtest.peers.running import Server
from loadtest.peers.samples import Samples

TOLERANCE = 1e-4
# As many at once as make a server batch them: an answer that goes to the wrong request must not escape.
AT_ONCE = 16


def faults(server: Server, samples: Samples, bodies: list[bytes]) -> list[str]:
    """What is wrong with the answers to these bodies; empty when all of them are right."""
    shares = [range(start, len(bodies), AT_ONCE) for start in range(min(AT_ONCE, len(bodies)))]
    with ThreadPoolExecutor(len(shares)) as threads:
        found = threads.map(lambda share: _ask(server, samples, bodies, share), shares)
        return [wrong for share in found for wrong in share if wrong]


def _ask(server: Server, samples: Samples, bodies: list[bytes], share: range) -> list[str]:
    connection = server.connect()
    try:
        return [_one(server, connection, samples, bodies, place) for place in share]
    finally:
        connection.close()


def _one(
    server: Server, connection: http.client.HTTPConnection, samples: Samples, bodies: list[bytes], place: int
) -> str:
    try:
        status, answer = server.post(connection, samples.model, bodies[place])
    except (OSError, http.client.HTTPException) as error:
        connection.close()  # the next request opens it again
        return f"no answer ({error!r})"
    return fault(server.peer.dialect, samples, place, status, answer, TOLERANCE)
