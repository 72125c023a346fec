"""The limit for one process: ASGI with nothing in it, orjson and ONNX Runtime. No checks, no protocol, no batching."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import onnxruntime
import orjson

SHAPES = {"/iris": ("features", (1, 4)), "/digits": ("image", (1, 1, 28, 28))}
HEADERS = [(b"content-type", b"application/json")]


options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
sessions = {path: onnxruntime.InferenceSession(os.environ[f"{path[1:].upper()}_ONNX"], options) for path in SHAPES}
outputs = {path: [output.name for output in session.get_outputs()] for path, session in sessions.items()}


def answer(path: str, body: bytes) -> bytes:
    name, shape = SHAPES[path]
    rows = np.array(orjson.loads(body)[name], np.float32).reshape(shape)
    result = sessions[path].run(None, {name: rows})
    return orjson.dumps(dict(zip(outputs[path], result, strict=True)), option=orjson.OPT_SERIALIZE_NUMPY)


async def read(receive: Callable[[], Awaitable[dict]]) -> bytes:
    message = await receive()
    body: bytes = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    return body


async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[dict]], send: Callable) -> None:
    body = answer(scope["path"], await read(receive))
    headers = [*HEADERS, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
