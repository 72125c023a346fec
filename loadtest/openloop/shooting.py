"""One load by a generator in a process of its own."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from loadtest.openloop.loads import Load, Shot

CHECKOUT = Path(__file__).parents[2]


class GeneratorError(Exception):
    """The generator ended without a shot; its last words."""


def shoot(load: Load, requests: list[bytes], right: list[bytes], cores: Iterable[int] = ()) -> Shot:
    """Sends whole HTTP requests, in turn, on these cores; `right` are the answers that they should get."""
    texts = {key: [base64.b64encode(each).decode() for each in given] for key, given in
             (("requests", requests), ("right", right))}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.openloop"],
        input=json.dumps({"load": asdict(load), "cores": sorted(cores), **texts}).encode(),
        capture_output=True,
        cwd=CHECKOUT,
        timeout=load.warmup + load.seconds + load.patience + 60,
    )
    if done.returncode:
        raise GeneratorError(done.stderr.decode(errors="replace").strip()[-500:])
    return Shot.unpacked(done.stdout)
