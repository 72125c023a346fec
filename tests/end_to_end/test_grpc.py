"""gRPC of a real service: two workers on one port, tools that we did not write, workers replaced under load."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2

from tests.conftest import ROOT, free_port

HEADERS = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
SETTINGS = {"EKIBEN_WORKERS": "2", "EKIBEN_MODELS": "iris", "EKIBEN_FORMS": "onnx"}
PERF_ANALYZER = ROOT / "build" / "perf_analyzer" / "run"


@pytest.fixture(scope="module")
def served(serve):
    """(server, address of gRPC)"""
    port = free_port()
    with serve(EKIBEN_GRPC_PORT=str(port), **SETTINGS) as server:
        yield server, f"127.0.0.1:{port}"


def features():
    tensor = triton.InferInput("features", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.array([[5.1, 3.5, 1.4, 0.2]], np.float32))
    return tensor


def test_all_workers_listen_on_one_port_and_calls_are_answered(served):
    server, address = served
    port, children = int(address.split(":")[1]), psutil.Process(server.process.pid).children(recursive=True)
    assert sum(any(c.laddr.port == port for c in child.net_connections()) for child in children) == 2
    for _ in range(4):
        with triton.InferenceServerClient(address) as client:
            assert client.infer("iris", [features()]).as_numpy("label").tolist() == [0]


def request(tmp_path):
    """The file of a ModelInferRequest in its frame."""
    message = service_pb2.ModelInferRequest(model_name="iris")
    message.inputs.add(name="features", datatype="FP32", shape=[1, 4])
    message.raw_input_contents.append(np.array([5.1, 3.5, 1.4, 0.2], np.float32).tobytes())
    body = message.SerializeToString()
    (file := tmp_path / "request").write_bytes(b"\0" + len(body).to_bytes(4) + body)
    return str(file)


@pytest.mark.skipif(
    not (shutil.which("h2load") or os.environ.get("CI")), reason="needs h2load and nghttp: Debian's nghttp2-client"
)
def test_h2load_and_nghttp_find_nothing_wrong(served, tmp_path):
    url = f"http://{served[1]}/inference.GRPCInferenceService/ModelInfer"
    head = [*HEADERS, "-d", request(tmp_path)]
    out = subprocess.run(
        ["h2load", "-n", "2000", "-c", "4", "-m", "20", *head, url], capture_output=True, text=True, timeout=300
    ).stdout
    assert "2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout" in out
    for more in (["-m", "5"], ["--window-bits=1"], ["--header-table-size=0"], ["--padding=20"]):
        done = subprocess.run(
            ["nghttp", "-v", *more, *head, url], capture_output=True, text=True, errors="replace", timeout=300
        )
        statuses = re.findall(r"grpc-status: (\d+)", done.stdout)
        assert set(statuses) == {"0"}, done.stdout
        assert "GOAWAY" not in re.sub(r"send GOAWAY.*", "", done.stdout)


@pytest.mark.skipif(not os.access(PERF_ANALYZER, os.X_OK), reason="needs make perf-analyzer")
@pytest.mark.parametrize("streaming", [[], ["--streaming", "--async"]])
def test_perf_analyzer_measures_it(served, streaming):
    words = [str(PERF_ANALYZER), "-i", "grpc", "-u", served[1], "-m", "iris", "--shape", "features:1,4", *streaming]
    load = ["--concurrency-range", "4", "--request-count", "500"]
    done = subprocess.run([*words, *load], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(re.search(r"Throughput: ([\d.]+) infer/sec", done.stdout)[1]) > 0


SLICES, WARM_UP, CLIENTS, ROUNDS = 20, 6, 4, 100
CALLS = 6 * CLIENTS * ROUNDS  # of a slice
BYTES_A_CALL = 512  # memory comes and goes by so much; tests/serving/grpc counts the calls that are kept


@pytest.mark.long
def test_many_calls_leave_nothing_behind(served):
    """Of every kind of them, in slices, each over connections of its own: growth is that after the warm-up."""
    server, address = served
    workers = [child for child in psutil.Process(server.process.pid).children() if child.num_fds() > 0]

    def ask():
        with triton.InferenceServerClient(address) as client:
            client.start_stream(lambda result, error: None)
            for _ in range(ROUNDS):
                for compression in (None, "gzip", "deflate"):
                    client.infer("iris", [features()], compression_algorithm=compression)
                client.async_stream_infer("iris", [features()])
                client.async_infer("iris", [features()], lambda result, error: None).cancel()
                with pytest.raises(triton.InferenceServerException, match="no model"):
                    client.infer("nope", [features()])
            client.stop_stream()

    samples = []
    for _ in range(SLICES):
        with ThreadPoolExecutor(CLIENTS) as threads:
            for each in [threads.submit(ask) for _ in range(CLIENTS)]:
                each.result()
        wait(lambda: not any(c.status == "ESTABLISHED" for w in workers for c in w.net_connections("tcp")))
        samples.append((sum(w.memory_info().rss for w in workers), sum(w.num_fds() for w in workers)))
    memory, files = zip(*samples[WARM_UP:], strict=True)
    half = len(memory) // 2
    assert min(memory[half:]) - min(memory[:half]) < BYTES_A_CALL * CALLS * half, memory
    assert files[-1] <= files[0], files


def wait(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.long
def test_no_call_is_lost_while_the_workers_are_replaced(serve):
    port = free_port()
    with serve(EKIBEN_GRPC_PORT=str(port), EKIBEN_DRAIN_S="1", **SETTINGS) as server:
        counts, ended = {"answered": 0}, threading.Event()

        def ask():
            with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
                while not ended.is_set():
                    try:
                        client.infer("iris", [features()])
                        counts["answered"] += 1
                    except triton.InferenceServerException as error:
                        counts[str(error)] = counts.get(str(error), 0) + 1

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        before = {child.pid for child in psutil.Process(server.process.pid).children()}
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            now = {child.pid for child in psutil.Process(server.process.pid).children()}
            if len(now) == 2 and not now & before and counts["answered"] > 2000:
                break
            time.sleep(0.2)
        ended.set()
        for thread in threads:
            thread.join()
        assert not now & before
        assert set(counts) == {"answered"} and counts["answered"] > 2000, counts
