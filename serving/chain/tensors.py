"""Tensors between the stages, as the Open Inference Protocol's binary extension has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from bentos.contract import Arrays, Signature
from serving.chain.message import FORM, HEADER_LENGTH, KIND, Message
from serving.errors import EngineError

OCTETS = "application/octet-stream"


def request(signature: Signature, batch: list[np.ndarray], form: str | None) -> Message:
    """What asks the model stage for its outputs as raw bytes. One array per input, rows first."""
    raw = [np.ascontiguousarray(array, tensor.dtype) for tensor, array in zip(signature.inputs, batch, strict=True)]
    inputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": array.shape,
            "parameters": {"binary_data_size": array.nbytes},
        }
        for tensor, array in zip(signature.inputs, raw, strict=True)
    ]
    parameters: dict[str, Any] = {"binary_data_output": True, **({"form": form} if form else {})}
    text = orjson.dumps({"inputs": inputs, "parameters": parameters})
    body = b"".join([text, *(array.tobytes() for array in raw)])
    return Message({KIND: OCTETS, HEADER_LENGTH: str(len(text))}, body)


def outputs(signature: Signature, reply: Message) -> tuple[Arrays, dict[str, str]]:
    """(name → array, which form and version answered). EngineError where the reply is none of this signature."""
    try:
        length = int(reply.headers[HEADER_LENGTH])
        document = orjson.loads(reply.body[:length])
        arrays, start = {}, length
        for tensor, item in zip(signature.outputs, document["outputs"], strict=True):
            size = item["parameters"]["binary_data_size"]
            flat = np.frombuffer(reply.body[start : start + size], tensor.dtype.newbyteorder("<"))
            arrays[tensor.name] = flat.reshape(item["shape"])
            start += size
        form = (document.get("parameters") or {}).get("form") or reply.headers[FORM]
        return arrays, {"form": form, "version": document["model_version"]}
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError(f"the model stage's reply cannot be read: {error!r}") from None
