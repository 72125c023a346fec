"""Outputs as arrays → a V2 response: JSON and, where they are asked for, raw tensors behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from bentos.contract import Tensor


def encode(
    model: str,
    version: str,
    tensors: Sequence[Tensor],
    arrays: Sequence[np.ndarray],
    wanted: Sequence[tuple[int, bool]],
    id: str | None = None,
    form: str | None = None,
) -> tuple[bytes, bytes | None]:
    """(the JSON, the bytes of raw tensors behind it or None)

    `tensors` and `arrays` are the signature's outputs; `wanted` are their places, and whether each goes out as raw
    bytes. `form` is named where the request picked one.
    """
    outputs: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for place, binary in wanted:
        tensor, array = tensors[place], arrays[place]
        output: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": array.shape}
        if binary:
            raw.append(array.tobytes())
            output["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            output["data"] = array if array.ndim == 1 else array.reshape(-1)
        outputs.append(output)
    response: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": outputs}
    if id is not None:
        response["id"] = id
    if form is not None:
        response["parameters"] = {"form": form}
    # orjson writes an array without a Python number being made of any of its elements.
    return orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY), b"".join(raw) if raw else None
