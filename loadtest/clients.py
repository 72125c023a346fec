"""The clients of closed loops: one thread of C keeps every connection busy, and costs less than any server here.

wrk speaks HTTP/1.1, h2load calls gRPC's ModelInfer; grpcio makes the single calls.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtest.machine import client_seconds
from loadtest.service import ServiceError

SCRIPT = Path(__file__).with_name("wrk.lua")
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
GRPC_HEADERS = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
H2LOAD_COUNTS = re.compile(r"^requests: .* (\d+) done, .*\n(?:.*\n)*traffic: .* \((\d+)\) data$", re.M)


@dataclass(frozen=True)
class ClosedLoop:
    """What came of a load in which every connection asks again as soon as it is answered."""

    requests: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    not_200: int
    broken: int
    timed_out: int
    generator_cores: float = 0.0  # used by the client itself: near 1, it and not the server was the limit

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def failed(self) -> int:
        """Requests without a 200."""
        return self.not_200 + self.broken + self.timed_out


def require_wrk() -> None:
    """SystemExit where wrk is not installed."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk, the load generator, is not installed: apt-get install wrk (or brew install wrk)")


@contextmanager
def request_file(requests: Sequence[bytes]) -> Iterator[Path]:
    """A file of whole requests, as `run_wrk` takes it: written before a measurement and not within it."""
    with tempfile.NamedTemporaryFile(suffix=".requests") as file:
        file.writelines(b"%d\n%b" % (len(request), request) for request in requests)
        file.flush()
        yield Path(file.name)


def run_wrk(port: int, file: Path, connections: int, seconds: float) -> ClosedLoop:
    """Sends a file's requests to a port of 127.0.0.1, round and round, for so many whole seconds. ServiceError"""
    threads = max(1, (os.cpu_count() or 1) // 4)  # one would be the limit of a service of many cores
    load = [f"-t{min(threads, connections)}", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    before = client_seconds()
    process = subprocess.run(
        ["wrk", *load, "-s", str(SCRIPT), f"http://127.0.0.1:{port}/", "--", str(file)], capture_output=True, text=True
    )
    return parse_wrk(process.stdout, process.stderr, client_seconds() - before)


def parse_wrk(output: str, complaint: str = "", cpu_seconds: float = 0.0) -> ClosedLoop:
    """The figures in the line of JSON that wrk.lua ends with. ServiceError with wrk's words if there is none"""
    last = output.strip().rpartition("\n")[2]
    if not last.startswith("{"):
        raise ServiceError(f"wrk gave no figures: {(complaint or output).strip()[-300:]}")
    figures = json.loads(last)
    return ClosedLoop(**figures, generator_cores=cpu_seconds / figures["seconds"])


def call_model_infer(address: str, message: bytes) -> bytes:
    """The answer to one ModelInferRequest, by grpcio. ServiceError"""
    import grpc

    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            answer: bytes = channel.unary_unary(MODEL_INFER)(message, timeout=30)
        except grpc.RpcError as error:
            raise ServiceError(f"{address} says {error.code().name}: {error.details()}") from None
    return answer


def run_h2load(address: str, message: bytes, answer: bytes, connections: int, seconds: float) -> ClosedLoop:
    """Sends a message for so many whole seconds; whatever is not as long as its answer has failed. ServiceError"""
    if shutil.which("h2load") is None:
        raise ServiceError("h2load is not installed: apt-get install nghttp2-client")
    whole = max(1, round(seconds))
    with tempfile.TemporaryDirectory(prefix="h2load-") as folder:
        (body := Path(folder) / "body").write_bytes(b"\0" + len(message).to_bytes(4) + message)
        log = Path(folder) / "log"
        load = ["-t1", f"-c{connections}", "-m1", f"-D{whole}", "-d", str(body), "--log-file", str(log), *GRPC_HEADERS]
        before = client_seconds()
        done = subprocess.run(["h2load", *load, f"http://{address}{MODEL_INFER}"], capture_output=True, text=True)
        spent = client_seconds() - before
        counted = H2LOAD_COUNTS.search(done.stdout)
        if counted is None or not log.exists() or not log.stat().st_size:
            raise ServiceError(f"h2load gave no figures: {(done.stderr or done.stdout).strip()[-300:]}")
        _, statuses, micros = np.loadtxt(log, np.int64, ndmin=2, unpack=True)
    requests, n_right = int(counted[1]), int(counted[2]) / (len(answer) + 5)
    missing = max(0, round(abs(requests - n_right)) - connections)  # some are under way at the end
    p50, p95, p99, most = np.percentile(micros, [50, 95, 99, 100]) / 1e3
    return ClosedLoop(requests, whole, p50, p95, p99, most, int((statuses != 200).sum()) + missing, 0, 0, spent / whole)
