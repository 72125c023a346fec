"""The commands that do what a page does, ready for a shell."""

from __future__ import annotations

import json
import shlex
from math import prod
from typing import Any

from bentos.contract import Tensor

INLINE_NUMBERS = 64  # a tensor with more numbers is sent in binary


def v2(name: str, inputs: tuple[Tensor, ...], base: str) -> str:
    """curl of `POST /v2/models/<name>/infer` with one row of zeros."""
    url = shlex.quote(f"{base}/v2/models/{name}/infer")
    if sum(_numbers(tensor) for tensor in inputs) <= INLINE_NUMBERS:
        rows = [_header(t) | {"data": [False if t.datatype == "BOOL" else 0] * _numbers(t)} for t in inputs]
        body = json.dumps({"inputs": rows})
        return f"curl {url} \\\n  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(body)}"
    sizes = [_numbers(t) * t.dtype.itemsize for t in inputs]
    rows = [_header(t) | {"parameters": {"binary_data_size": s}} for t, s in zip(inputs, sizes, strict=True)]
    body = json.dumps({"inputs": rows})
    return (
        f"(printf %s {shlex.quote(body)}; head -c {sum(sizes)} /dev/zero) |\n"
        f"curl {url} \\\n  -H 'Content-Type: application/octet-stream' \\\n"
        f"  -H 'Inference-Header-Content-Length: {len(body.encode())}' \\\n  --data-binary @-"
    )


def _header(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": [1, *tensor.sizes[1:]], "datatype": tensor.datatype}


def _numbers(tensor: Tensor) -> int:
    return prod(tensor.sizes[1:])
