"""SIGTERM: what was accepted is answered, and a rolling restart under load loses nothing."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time

import httpx
import pytest

from tests.conftest import ROOT, Server, copied_home, end, free_port, wait_for
from tests.survival.balancer import balancer
from tests.survival.conftest import IRIS, Load, wait

pytestmark = pytest.mark.long

MANY = 10_000


def test_a_rolling_restart_under_load_loses_none_of_10_000_requests(store, tmp_path):
    instances = [Instance(copied_home(store, tmp_path / name, "iris-onnx")) for name in ("one", "other")]
    try:
        for instance in instances:
            instance.start()
        with balancer(*(instance.port for instance in instances)) as url, Load(url, 8) as load:
            for instance in instances:
                enough = load.answered + MANY // 3
                wait(lambda: load.answered > enough, 60, f"hardly anything is answered: {load.seen}")  # noqa: B023
                instance.end()
                instance.start()
            wait(lambda: load.answered > MANY, 60, f"not enough is answered: {load.seen}")
    finally:
        for instance in instances:
            instance.end()
    assert load.seen.pop(200) > MANY
    assert not load.seen


class Instance:
    """A server that is started and ended on the same port again and again."""

    def __init__(self, home):
        self.home, self.port = home, free_port()
        self.process = None

    def start(self):
        log_file = self.home / "serve.log"
        with log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bentoml", "serve", ".", "--host", "127.0.0.1", "--port", str(self.port)],
                cwd=ROOT,
                env={**os.environ, "BENTOML_HOME": str(self.home), "EKIBEN_DRAIN_S": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(Server(f"http://127.0.0.1:{self.port}", self.home, log_file, self.process), 200)

    def end(self):
        if self.process is not None:
            end(self.process)


def test_while_it_drains_it_answers_for_the_last_time_and_once_its_port_is_closed_what_is_on_its_way(serve):
    with serve(EKIBEN_MODELS="iris", EKIBEN_DRAIN_S="2") as server:
        port = int(server.url.rsplit(":", 1)[1])
        kept, idle = (http.client.HTTPConnection("127.0.0.1", port, timeout=10) for _ in range(2))
        for connection in (kept, idle):
            connection.request("GET", "/readyz")
            assert connection.getresponse().read() == b'{"ready":true}'
        server.process.terminate()
        wait(lambda: httpx.get(f"{server.url}/readyz").status_code == 503, 2, "/readyz never says 503")
        assert httpx.get(f"{server.url}/livez").status_code == 200
        assert httpx.get(f"{server.url}/health").json()["status"] == "draining"
        answered_for_the_last_time(kept)
        wait(lambda: refused(port), 6, "the port stays open")
        answered_for_the_last_time(idle)
        assert server.process.wait(10) == 0


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
    with serve(EKIBEN_MODELS="iris", EKIBEN_FAULTS="1") as server, httpx.Client(base_url=server.url) as client:
        client.post("/faults/latency", params={"seconds": 1.5})
        with Load(server.url, 4) as load:
            time.sleep(0.5)
            server.process.terminate()
            assert server.process.wait(15) == 0
    assert load.seen.pop(200) >= 4
    assert set(load.seen) <= {"refused"}
