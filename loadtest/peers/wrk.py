"""wrk, the client: one thread of C keeps every connection busy, and costs the machine less than any peer here."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("post.lua")


@dataclass(frozen=True)
class Shot:
    """One run of wrk: a closed loop, in which every connection asks again as soon as it is answered."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    not_200: int
    broken: int
    late: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def failed(self) -> int:
        return self.not_200 + self.broken + self.late


class WrkError(Exception):
    """wrk ran and did not give figures."""


def require() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk, the load generator, is not installed: apt-get install wrk (or brew install wrk)")


def shoot(url: str, bodies: list[bytes], connections: int, seconds: float) -> Shot:
    """Posts the bodies round and round for so many whole seconds."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as lines:
        lines.write(b"\n".join(bodies) + b"\n")
        lines.flush()
        load = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
        done = subprocess.run(["wrk", *load, "-s", SCRIPT, url, "--", lines.name], capture_output=True, text=True)
    return parse(done.stdout, done.stderr)


def parse(output: str, complaint: str = "") -> Shot:
    """The figures in the line of JSON that post.lua ends with."""
    last = output.strip().rpartition("\n")[2]
    if not last.startswith("{"):
        raise WrkError(f"wrk gave no figures: {(complaint or output).strip()[-300:]}")
    return Shot(**json.loads(last))
