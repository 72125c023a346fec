"""The generator's own process: reads a load, requests and right answers as JSON, writes the shot as npz.

Started by `loadtest.openloop.shooting.shoot`; nothing that a person runs.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import sys

import uvloop

from loadtest.openloop.answers import check
from loadtest.openloop.drive import drive
from loadtest.openloop.loads import Load


def main() -> None:
    said = json.load(sys.stdin)
    if said["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, said["cores"])
    requests, right = ([base64.b64decode(text) for text in said[key]] for key in ("requests", "right"))
    gc.disable()  # a collection in the middle would be late by milliseconds, and a shot is short
    shot, kept = uvloop.run(drive(Load(**said["load"]), requests))
    wrong, first = check(kept, right)
    shot.checked, shot.wrong, shot.first_wrong = len(kept), wrong, first or shot.first_wrong
    # Not sys.stdout.buffer: with PYTHONUNBUFFERED that is the bare descriptor, whose write may stop halfway.
    with open(sys.stdout.fileno(), "wb", closefd=False) as out:
        out.write(shot.packed())


if __name__ == "__main__":
    main()
