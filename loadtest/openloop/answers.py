"""The sampled answers of a shot, held against those that the same requests got alone."""

from __future__ import annotations

import json
import re

import numpy as np

from loadtest.openloop.connection import END

# The order of summation differs by the size of the batch; an answer to another request is far from this.
TOLERANCE = 1e-3
HEADER_LENGTH = re.compile(rb"inference-header-content-length: *(\d+)", re.IGNORECASE)
KINDS = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "INT32": "<i4", "UINT8": "|u1", "BOOL": "|b1", "FP16": "<f2"}

Outputs = dict[str, np.ndarray]


def outputs(answer: bytes) -> Outputs:
    """The tensors of a V2 answer, head and body, in JSON or in the binary extension. ValueError, KeyError"""
    head, _, body = answer.partition(END)
    found = HEADER_LENGTH.search(head)
    text, raw = (body, b"") if found is None else (body[: int(found[1])], body[int(found[1]) :])
    tensors, start = {}, 0
    for tensor in json.loads(text)["outputs"]:
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            tensors[tensor["name"]] = np.array(tensor["data"], np.float64)
        else:
            tensors[tensor["name"]] = np.frombuffer(raw[start : start + size], KINDS[tensor["datatype"]])
            start += size
    return tensors


def fault(answer: bytes, right: bytes) -> str:
    """What is wrong with an answer, or nothing."""
    try:
        given, expected = outputs(answer), outputs(right)
    except (ValueError, KeyError, TypeError) as error:
        return f"unreadable ({error!r}): {answer[-120:].decode(errors='replace')}"
    if given.keys() != expected.keys():
        return f"outputs {sorted(given)} where there were {sorted(expected)}"
    for name, values in expected.items():
        if given[name].shape != values.shape or not np.allclose(given[name], values, rtol=TOLERANCE, atol=TOLERANCE):
            return f"{name} {given[name][:10].tolist()} where it was {values[:10].tolist()} when asked alone"
    return ""


def check(kept: list[tuple[int, bytes]], right: list[bytes]) -> tuple[int, str]:
    """How many of the kept answers are wrong, and what is wrong with the first."""
    faults = [said for place, answer in kept if (said := fault(answer, right[place % len(right)]))]
    return len(faults), faults[0] if faults else ""
