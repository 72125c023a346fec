"""The storm's own process: reads what to send as JSON, writes what was told as npz. Nothing that a person runs."""

from __future__ import annotations

import base64
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import uvloop

from loadtest.overload.storm import Phase, Storm, Told

CHECKOUT = Path(__file__).parents[2]


class Generator:
    """A storm under way in a process of its own."""

    def __init__(
        self,
        address: tuple[str, int],
        connections: int,
        phases: list[Phase],
        requests: list[bytes],
        cores: Iterable[int],
    ) -> None:
        said = {
            "address": address,
            "connections": connections,
            "phases": [[phase.rate, phase.seconds] for phase in phases],
            "requests": [base64.b64encode(request).decode() for request in requests],
            "cores": sorted(cores),
        }
        self._told = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `told`; nobody reads a pipe meanwhile)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loadtest.overload.generator"],
            stdin=subprocess.PIPE,
            stdout=self._told,
            cwd=CHECKOUT,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(said).encode())
        self._process.stdin.close()

    def told(self) -> Told:
        """Waits for the end. RuntimeError if the generator failed"""
        with self._told:
            if code := self._process.wait():
                raise RuntimeError(f"the generator ended with exit code {code}")
            self._told.seek(0)
            return Told.unpacked(self._told.read())


def main() -> None:
    said = json.load(sys.stdin)
    if said["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, said["cores"])
    gc.disable()  # a collection in the middle would be late by milliseconds

    async def storm() -> Told:
        phases = [Phase(*phase) for phase in said["phases"]]
        requests = [base64.b64decode(request) for request in said["requests"]]
        return await Storm(tuple(said["address"]), said["connections"], phases, requests).run()

    sys.stdout.buffer.write(uvloop.run(storm()).packed())


if __name__ == "__main__":
    main()
