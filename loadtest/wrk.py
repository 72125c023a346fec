"""wrk, the client of closed loops: one thread of C keeps every connection busy, and costs less than any server here."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.machine import client_seconds
from loadtest.service import ServiceError

SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class WrkResult:
    """One run of wrk: a closed loop, in which every connection asks again as soon as it is answered."""

    requests: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    not_200: int
    broken: int
    timed_out: int
    generator_cores: float = 0.0  # used by wrk itself: near 1, it and not the server was the limit

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def failed(self) -> int:
        """Requests without a 200."""
        return self.not_200 + self.broken + self.timed_out


def require() -> None:
    """SystemExit where wrk is not installed."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk, the load generator, is not installed: apt-get install wrk (or brew install wrk)")


@contextmanager
def request_file(requests: Sequence[bytes]) -> Iterator[Path]:
    """A file of whole requests, as `run` takes it: written before a measurement and not within it."""
    with tempfile.NamedTemporaryFile(suffix=".requests") as file:
        file.writelines(b"%d\n%b" % (len(request), request) for request in requests)
        file.flush()
        yield Path(file.name)


def run(port: int, file: Path, connections: int, seconds: float) -> WrkResult:
    """Sends a file's requests to a port of 127.0.0.1, round and round, for so many whole seconds. ServiceError"""
    load = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(SCRIPT)]
    before = client_seconds()
    process = subprocess.run(
        ["wrk", *load, f"http://127.0.0.1:{port}/", "--", str(file)], capture_output=True, text=True
    )
    return parse(process.stdout, process.stderr, client_seconds() - before)


def parse(output: str, complaint: str = "", cpu_seconds: float = 0.0) -> WrkResult:
    """The figures in the line of JSON that wrk.lua ends with. ServiceError with wrk's words if there is none"""
    last = output.strip().rpartition("\n")[2]
    if not last.startswith("{"):
        raise ServiceError(f"wrk gave no figures: {(complaint or output).strip()[-300:]}")
    figures = json.loads(last)
    return WrkResult(**figures, generator_cores=cpu_seconds / figures["seconds"])
