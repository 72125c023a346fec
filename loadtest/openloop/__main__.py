"""The generator's own process: reads a load, requests and expected answers as JSON, writes the result as npz.

Started by `loadtest.openloop.load.run_load`; nothing that a person runs.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import sys

import uvloop

from loadtest import v2
from loadtest.openloop.generator import END, Generator
from loadtest.openloop.load import Burst, Load, LoadResult

# The order of summation differs by the size of the batch; an answer to another request is far from this.
TOLERANCE = 1e-3


def fault(answer: bytes, expected: bytes) -> str:
    """What is wrong with a V2 answer, head and body, or nothing."""
    try:
        return v2.difference(_tensors(answer), _tensors(expected), TOLERANCE)
    except (ValueError, KeyError, TypeError) as error:
        return f"unreadable ({error!r}): {answer[-120:].decode(errors='replace')}"


def _tensors(answer: bytes) -> v2.Tensors:
    head, _, body = answer.partition(END)
    lines = (line.partition(":") for line in head.decode("latin-1").lower().split("\r\n")[1:])
    return v2.decode(body, {name: value.strip() for name, _, value in lines})[1]


def check(samples: list[tuple[int, bytes]], expected: list[bytes]) -> tuple[int, str]:
    """How many of the sampled answers are wrong, and what is wrong with the first."""
    faults = [text for place, answer in samples if (text := fault(answer, expected[place % len(expected)]))]
    return len(faults), faults[0] if faults else ""


async def drive(load: Load, requests: list[bytes], expected: list[bytes]) -> LoadResult:
    """The result of a load, with the sampled answers held against the expected ones, where there are any."""
    generator = Generator(load, requests)
    result = await generator.run()
    if expected:
        result.checked = len(generator.samples)
        result.wrong, first = check(generator.samples, expected)
        result.first_wrong = first or result.first_wrong
    return result


def main() -> None:
    job = json.load(sys.stdin)
    if job["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job["cores"])
    requests, expected = ([base64.b64decode(text) for text in job[key]] for key in ("requests", "expected"))
    job["load"]["bursts"] = tuple(Burst(**burst) for burst in job["load"]["bursts"])
    gc.disable()  # a collection in the middle would be late by milliseconds, and a load is short
    result = uvloop.run(drive(Load(**job["load"]), requests, expected))
    # Not sys.stdout.buffer: with PYTHONUNBUFFERED that is the bare descriptor, whose write may stop halfway.
    with open(sys.stdout.fileno(), "wb", closefd=False) as out:
        out.write(result.pack())


if __name__ == "__main__":
    main()
