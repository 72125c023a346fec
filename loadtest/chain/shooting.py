"""wrk with files: one thread of C keeps every connection busy with uploads, and says how long they took."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loadtest.service import process

SCRIPT = Path(__file__).with_name("upload.lua")
BOUNDARY = "ekiben-chain"


class ShotError(Exception):
    """wrk gave no figures, or requests failed; the message says which."""


@dataclass(frozen=True)
class Shot:
    """One closed loop: every connection asks again as soon as it is answered."""

    requests: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failed: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def form(file: bytes, field: str) -> bytes:
    """A multipart form with one file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="file"\r\n\r\n'
    return head.encode() + file + f"\r\n--{BOUNDARY}--\r\n".encode()


def shoot(url: str, forms: Sequence[Path], connections: int, seconds: int) -> Shot:
    """Posts the forms round and round. ShotError"""
    load = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT), url]
    done = subprocess.run(["wrk", *load, "--", BOUNDARY, *map(str, forms)], capture_output=True, text=True)
    return parse(done.stdout, done.stderr)


def parse(output: str, complaint: str = "") -> Shot:
    """The figures in the line of JSON that upload.lua ends with. ShotError where there are none, or some failed."""
    last = output.strip().rpartition("\n")[2]
    if not last.startswith("{"):
        raise ShotError(f"wrk gave no figures: {(complaint or output).strip()[-300:]}")
    shot = Shot(**json.loads(last))
    if shot.failed or not shot.requests:
        raise ShotError(f"{shot.failed} of {shot.requests} requests failed")
    return shot


def ask(url: str, body: bytes) -> Any:
    """The JSON of a 200 answer to a POST of one form. ServiceError"""
    where = urlsplit(url)
    kind = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    return json.loads(process.ask(where.netloc, where.path, body, kind)[1])
