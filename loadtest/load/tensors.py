"""Examples as tensors, with what the service's metadata says of its inputs; and tensors as bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from loadtest.load.described import Described

DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip


def rows(model: Described, examples: list[Any]) -> np.ndarray | None:
    """One row per example, as the model's input has them: (n, …), NaN for null. None where that cannot be told.

    Fields go into a flat input of their number in the order of the service's schema; a picture into one of shape
    (channels, height, width) in [0, 1], light on dark.
    """
    if len(model.inputs) != 1 or model.native is None:
        return None
    (tensor,) = model.inputs
    shape, dtype = tuple(tensor["shape"][1:]), DTYPES.get(tensor["datatype"])
    if dtype is None:
        return None
    if model.native.fields and shape == (len(model.native.fields),):
        values = [[_number(example.get(field)) for field in model.native.fields] for example in examples]
        return np.array(values, dtype)
    if model.native.file_field and len(shape) == 3 and shape[0] in (1, 3):
        return np.stack([_picture(example, shape) for example in examples]).astype(dtype)
    return None


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _picture(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    channels, height, width = shape
    with Image.open(path) as image:
        resized = image.convert("L" if channels == 1 else "RGB").resize((width, height))
    pixels = np.asarray(resized, np.float32).reshape(height, width, channels).transpose(2, 0, 1) / 255
    edge = np.concatenate([pixels[:, 0].ravel(), pixels[:, -1].ravel()])
    return 1 - pixels if np.median(edge) > 0.5 else pixels
