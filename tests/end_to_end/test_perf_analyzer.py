"""NVIDIA's perf_analyzer, unmodified, against the running service."""

import os
import re
import subprocess

import pytest

from tests.conftest import ROOT

BINARY = ROOT / "build" / "perf_analyzer" / "run"


@pytest.mark.skipif(not BINARY.exists() and "CI" not in os.environ, reason="`make perf-analyzer` fetches it")
@pytest.mark.parametrize(
    "further",
    [[], ["--input-tensor-format", "json", "--output-tensor-format", "json", "-b", "4"]],
    ids=["binary", "json"],
)
def test_perf_analyzer_measures_it(server, further):
    done = subprocess.run(
        [str(BINARY), "-m", "iris", "-u", server.url.removeprefix("http://"), "-i", "http",
         "--concurrency-range", "2", "--request-count", "500", *further],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(re.search(r"Throughput: ([\d.]+) infer/sec", done.stdout)[1]) > 0
    # What the server says it served between perf_analyzer's two looks; a request or two may fall outside of them.
    server_counted = done.stdout.partition("Server:")[2]
    assert int(re.search(r"Successful request count: (\d+)", server_counted)[1]) >= 490
    assert "Avg request latency" in server_counted
