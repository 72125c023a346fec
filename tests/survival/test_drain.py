"""SIGTERM: what was accepted is answered, and a rolling restart under load loses nothing."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import grpc
import httpx
import numpy as np
import psutil
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.conftest import LATENCY_MS, ROOT, Server, copied_home, end, free_port, wait_for
from tests.survival.balancer import balancer
from tests.survival.conftest import IRIS, Load, wait

pytestmark = pytest.mark.long

MANY, CHANNELS = 10_000, 8


def test_a_rolling_restart_under_load_loses_none_of_10_000_requests(store, tmp_path):
    instances = [Instance(copied_home(store, tmp_path / name, "iris-onnx")) for name in ("one", "other")]
    try:
        for instance in instances:
            instance.start()
        with balancer(*(instance.port for instance in instances)) as url, Load(url, 8) as load:
            for instance in instances:
                enough = load.answered + MANY // 3
                wait(lambda: load.answered > enough, 300, f"hardly anything is answered: {load.seen}")  # noqa: B023
                instance.end()
                instance.start()
            wait(lambda: load.answered > MANY, 300, f"not enough is answered: {load.seen}")
    finally:
        for instance in instances:
            instance.end()
    assert load.seen.pop(200) > MANY
    assert not load.seen


def test_a_rolling_restart_loses_none_of_10_000_calls_of_8_channels(store, tmp_path):
    """Channels of grpcio that share their calls among both replicas; either ends with all of them connected to it."""
    instances = [Instance(copied_home(store, tmp_path / name, "iris-onnx")) for name in ("one", "other")]
    try:
        for instance in instances:
            instance.start()
        with Calls("ipv4:" + ",".join(f"127.0.0.1:{instance.grpc_port}" for instance in instances)) as calls:
            for instance in instances:
                enough = calls.seen["OK"] + MANY // 3
                wait(lambda: calls.seen["OK"] > enough, 300, f"hardly anything is answered: {calls.seen}")  # noqa: B023
                wait(lambda: instance.clients() == CHANNELS, 300, "not all channels came back")  # noqa: B023
                instance.end()
                instance.start()
            wait(lambda: calls.seen["OK"] > MANY, 300, f"not enough is answered: {calls.seen}")
    finally:
        for instance in instances:
            instance.end()
    assert calls.seen.pop("OK") > MANY
    assert not calls.seen


class Calls:
    """Threads that call ModelInfer one after the other, each by a channel of its own, and count what becomes of it."""

    OPTIONS = (
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
    )

    def __init__(self, address):
        self.seen, self._address, self._ended = Counter(), address, threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CHANNELS)]
        self._counting = threading.Lock()
        self._request = service_pb2.ModelInferRequest(model_name="iris")
        self._request.inputs.add(name="features", datatype="FP32", shape=[1, 4])
        self._request.raw_input_contents.append(np.array([5.1, 3.5, 1.4, 0.2], np.float32).tobytes())

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _call(self):
        with grpc.insecure_channel(self._address, self.OPTIONS) as channel:
            infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
            while not self._ended.is_set():
                try:
                    answer = infer(self._request, timeout=120)
                    told = "OK" if answer.raw_output_contents[0] == bytes(8) else "wrong"
                except grpc.RpcError as error:
                    told = f"{error.code().name}: {error.details()}"
                with self._counting:
                    self.seen[told] += 1


class Instance:
    """A server that is started and ended on the same ports again and again."""

    def __init__(self, home):
        self.home, self.port, self.grpc_port = home, free_port(), free_port()
        self.process = None

    def clients(self):
        """Connections to its port of gRPC."""
        processes = psutil.Process(self.process.pid).children(recursive=True)
        connections = [each for process in processes for each in process.net_connections("tcp")]
        return sum(each.status == "ESTABLISHED" and each.laddr.port == self.grpc_port for each in connections)

    def start(self):
        log_file = self.home / "serve.log"
        with log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bentoml", "serve", ".", "--host", "127.0.0.1", "--port", str(self.port)],
                cwd=ROOT,
                env=os.environ
                | {"BENTOML_HOME": str(self.home), "EKIBEN_DRAIN_S": "1", "EKIBEN_GRPC_PORT": str(self.grpc_port)}
                | {"EKIBEN_MAX_LATENCY_MS": LATENCY_MS},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(Server(f"http://127.0.0.1:{self.port}", self.home, log_file, self.process), 200)

    def end(self):
        if self.process is not None:
            end(self.process)


PATIENT = """
import sys
if "_bentoml_impl.worker.service" in sys.orig_argv:
    from serving.process import drain
    drain.LINGER_SECONDS = 120
"""


def test_while_it_drains_it_answers_for_the_last_time_and_once_its_port_is_closed_what_is_on_its_way(serve, tmp_path):
    """A client that the machine gives no time is waited for longer here than the half second that it has."""
    (tmp_path / "sitecustomize.py").write_text(PATIENT)
    with serve(
        EKIBEN_MODELS="iris", EKIBEN_FORMS="onnx", EKIBEN_DRAIN_S="8", PYTHONPATH=f"{tmp_path}:{ROOT}"
    ) as server:
        port = int(server.url.rsplit(":", 1)[1])
        kept, idle = (http.client.HTTPConnection("127.0.0.1", port, timeout=120) for _ in range(2))
        for connection in (kept, idle):
            connection.request("GET", "/readyz")
            assert connection.getresponse().read() == b'{"ready":true}'
        server.process.terminate()
        wait(lambda: httpx.get(f"{server.url}/readyz").status_code == 503, 120, "/readyz never says 503")
        assert httpx.get(f"{server.url}/livez").status_code == 200
        assert httpx.get(f"{server.url}/health").json()["status"] == "draining"
        answered_for_the_last_time(kept)
        wait(lambda: refused(port), 120, "the port stays open")
        answered_for_the_last_time(idle)
        assert server.process.wait(120) == 0


def answered_for_the_last_time(connection):
    connection.request("POST", "/iris/classify", json.dumps(IRIS), {"content-type": "application/json"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert b"setosa" in answer.read()


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    time.sleep(0.01)
    return False


def test_a_request_under_way_is_answered_although_the_drain_takes_no_time(serve):
    with (
        serve(EKIBEN_MODELS="iris", EKIBEN_FORMS="onnx", EKIBEN_FAULTS="1") as server,
        httpx.Client(base_url=server.url) as client,
    ):
        client.post("/faults/latency", params={"seconds": 3})
        with Load(server.url, 4) as load:
            wait(lambda: load.sent >= 4, 120, "not all have sent a request")
            server.process.terminate()
            assert server.process.wait(120) == 0
    assert load.seen.pop(200) >= 4
    assert set(load.seen) <= {"refused"}
