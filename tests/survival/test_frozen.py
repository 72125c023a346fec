"""What the latency that is counted sees of a worker that stands still: SIGSTOP for a second of every two and a half."""

import http.client
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.survival.conftest import workers

CYCLES, FROZEN_SECONDS, RUNNING_SECONDS = 3, 1.0, 1.5
SLOW_SECONDS = 0.25  # a boundary of both histograms
EVERY_SECONDS = 0.02
FEATURES = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}
BODY = orjson.dumps({"inputs": [FEATURES]})


def counted(url, histogram):
    """(observations, those within SLOW_SECONDS) over all series."""
    text = httpx.get(f"{url}/metrics", timeout=30).text
    count = within = 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"{histogram}_count":
                count += sample.value
            elif sample.name == f"{histogram}_bucket" and float(sample.labels["le"]) == SLOW_SECONDS:
                within += sample.value
    return count, within


def ask(port, connection=None):
    """Seconds from the start of connecting (or sending) to the whole answer."""
    began = time.perf_counter()
    connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v2/models/iris/infer", BODY, {"content-type": "application/json"})
    assert connection.getresponse().read()[:1] == b"{"
    return time.perf_counter() - began


def freeze(worker, over):
    while not over.is_set():
        os.kill(worker.pid, signal.SIGSTOP)
        time.sleep(FROZEN_SECONDS)
        os.kill(worker.pid, signal.SIGCONT)
        time.sleep(RUNNING_SECONDS)


@pytest.fixture(scope="module")
def one_worker(serve):
    with serve(EKIBEN_WORKERS="1", EKIBEN_MODELS="iris") as server:
        yield server


@pytest.mark.long
@pytest.mark.parametrize("kept", [True, False], ids=["open connections", "new connections"])
def test_a_frozen_workers_requests_are_counted_as_slow_as_clients_find_them(one_worker, record_property, kept):
    url, port = one_worker.url, int(one_worker.url.rsplit(":", 1)[1])
    (worker,) = workers(one_worker)
    idle = [http.client.HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(64)] if kept else []
    for connection in idle:
        ask(port, connection)
    time.sleep(1.5)  # the worker's figures are written
    before, lags_before = counted(url, "ekiben_request_seconds"), counted(url, "ekiben_loop_lag_seconds")

    def one():
        connection = idle.pop() if idle else None
        seconds = ask(port, connection)
        if connection is not None:
            idle.append(connection)
        return seconds

    over = threading.Event()
    freezer = threading.Thread(target=freeze, args=(worker, over))
    freezer.start()
    with ThreadPoolExecutor(64) as pool:
        asked = []
        for _ in range(int(CYCLES * (FROZEN_SECONDS + RUNNING_SECONDS) / EVERY_SECONDS)):
            asked.append(pool.submit(one))
            time.sleep(EVERY_SECONDS)
        seconds = [each.result() for each in asked]
    over.set()
    freezer.join()
    time.sleep(1.5)
    count, within = counted(url, "ekiben_request_seconds")
    ticks, punctual = counted(url, "ekiben_loop_lag_seconds")
    clients = sum(second > SLOW_SECONDS for second in seconds)
    service = (count - before[0]) - (within - before[1])
    record_property("slow", f"{clients} of {len(seconds)} as clients saw, {service:.0f} as counted")
    assert count - before[0] == len(seconds)
    assert clients > 0.15 * len(seconds)
    assert 0.9 * clients <= service <= clients + 3
    assert ticks - punctual - (lags_before[0] - lags_before[1]) >= CYCLES
