"""h2load, the client of closed loops over gRPC: every connection calls ModelInfer again as soon as it is answered."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from loadtest.machine import client_seconds
from loadtest.service import ServiceError
from loadtest.wrk import WrkResult

METHOD = "/inference.GRPCInferenceService/ModelInfer"
HEADERS = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
DATA = re.compile(r"^requests: .* (\d+) done, .*\n(?:.*\n)*traffic: .* \((\d+)\) data$", re.M)


def call(address: str, message: bytes) -> bytes:
    """The answer to one ModelInferRequest, by grpcio. ServiceError"""
    import grpc

    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            answer: bytes = channel.unary_unary(METHOD)(message, timeout=30)
        except grpc.RpcError as error:
            raise ServiceError(f"{address} says {error.code().name}: {error.details()}") from None
    return answer


def run(address: str, message: bytes, answer: bytes, connections: int, seconds: float) -> WrkResult:
    """Sends a message for so many whole seconds; whatever is not as long as its answer has failed. ServiceError"""
    if shutil.which("h2load") is None:
        raise ServiceError("h2load is not installed: apt-get install nghttp2-client")
    whole = max(1, round(seconds))
    with tempfile.TemporaryDirectory(prefix="h2load-") as folder:
        (body := Path(folder) / "body").write_bytes(b"\0" + len(message).to_bytes(4) + message)
        log = Path(folder) / "log"
        load = ["-t1", f"-c{connections}", "-m1", f"-D{whole}", "-d", str(body), "--log-file", str(log)]
        before = client_seconds()
        done = subprocess.run(["h2load", *load, *HEADERS, f"http://{address}{METHOD}"], capture_output=True, text=True)
        spent = client_seconds() - before
        counted = DATA.search(done.stdout)
        if counted is None or not log.exists() or not log.stat().st_size:
            raise ServiceError(f"h2load gave no figures: {(done.stderr or done.stdout).strip()[-300:]}")
        _, statuses, micros = np.loadtxt(log, np.int64, ndmin=2, unpack=True)
    requests, right = int(counted[1]), int(counted[2]) / (len(answer) + 5)
    missing = max(0, round(abs(requests - right)) - connections)  # some are under way at the end
    p50, p95, p99, most = np.percentile(micros, [50, 95, 99, 100]) / 1e3
    return WrkResult(requests, whole, p50, p95, p99, most, int((statuses != 200).sum()) + missing, 0, 0, spent / whole)
