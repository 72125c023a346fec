"""The limit for HTTP in Python: uvicorn, uvloop and httptools. What is sent is not read, and the answer is constant."""

from collections.abc import Callable
from typing import Any

BODY = b'{"label":0,"probabilities":[0.98,0.02,0.0]}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(scope: dict[str, Any], receive: Callable, send: Callable) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
