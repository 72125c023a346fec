"""An inference response, as JSON and, where they are asked for, raw tensors behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from serving.api.v2.request import Asked, Request
from serving.inference.repository import LoadedForm


def written(
    name: str, served: LoadedForm, request: Request, outputs: Asked, results: list[np.ndarray]
) -> tuple[bytes, bytes | None]:
    """(the JSON, the bytes of raw tensors or None)"""
    described: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for place, binary in outputs:
        tensor, array = served.signature.outputs[place], results[place]
        item: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": array.shape}
        if binary:
            raw.append(array.tobytes())
            item["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            item["data"] = array.reshape(-1)
        described.append(item)
    response: dict[str, Any] = {"model_name": name, "model_version": served.version, "outputs": described}
    if request.id is not None:
        response["id"] = request.id
    if request.form is not None:
        response["parameters"] = {"form": served.form}
    # orjson writes an array without a Python number being made of any of its elements.
    return orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY), b"".join(raw) if raw else None
