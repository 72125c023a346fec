"""Outputs as arrays → a V2 response: JSON and, where they are asked for, raw tensors behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from bentos.contract import Tensor, bfloat16_to_float32
from serving.api.v2 import texts

SPECIAL = ("BYTES", "BF16")


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
        if tensor.datatype in SPECIAL:
            outputs.append(_special(tensor, array, binary, raw))
            continue
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
    text = orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" in text and _note_nulls(outputs):
        text = orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)
    return text, b"".join(raw) if raw or any(binary for _, binary in wanted) else None


def _special(tensor: Tensor, array: np.ndarray, binary: bool, raw: list[bytes]) -> dict[str, Any]:
    """An output whose elements NumPy and orjson do not know."""
    output: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": array.shape}
    if binary:
        raw.append(texts.to_bytes(array) if tensor.datatype == "BYTES" else array.tobytes())
        output["parameters"] = {"binary_data_size": len(raw[-1])}
    elif tensor.datatype == "BYTES":
        output["data"] = [str(value) for value in array.reshape(-1)]
    else:
        output["data"] = bfloat16_to_float32(array.reshape(-1))
    return output


def _note_nulls(outputs: list[dict[str, Any]]) -> bool:
    """Say beside each output how many NaN and infinities it has, which are null in JSON; whether there are any."""
    noted = False
    for output in outputs:
        data = output.get("data")
        if not isinstance(data, np.ndarray) or data.dtype.kind != "f":
            continue
        counts = {"nan": int(np.isnan(data).sum()), "infinite": int(np.isinf(data).sum())}
        if counts := {kind: count for kind, count in counts.items() if count}:
            output["parameters"] = counts
            noted = True
    return noted
