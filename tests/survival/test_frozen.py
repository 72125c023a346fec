"""What the latency that is counted sees of a worker that stands still: SIGSTOP for a second of every two and a half."""

import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import orjson
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.survival.conftest import wait, workers

CYCLES, FROZEN_SECONDS, RUNNING_SECONDS = 3, 1.0, 1.5
SLOW_SECONDS = 0.25  # a boundary of both histograms
EVERY_SECONDS = 0.02
LEAST = 300  # requests
CLOCK_SECONDS = 0.05  # the kernel says in steps of up to 10 ms when bytes came
REQUESTS, LAGS = "ekiben_request_seconds", "ekiben_loop_lag_seconds"
FEATURES = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}
BODY = orjson.dumps({"inputs": [FEATURES]})


def counted(url, histogram):
    """(observations, those within SLOW_SECONDS) over all series."""
    text = httpx.get(f"{url}/metrics", timeout=300).text
    count = within = 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"{histogram}_count":
                count += sample.value
            elif sample.name == f"{histogram}_bucket" and float(sample.labels["le"]) == SLOW_SECONDS:
                within += sample.value
    return count, within


def ask(port, connection=None):
    """When it began to connect or to send, when all was sent, and when the answer was read."""
    connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    began = time.perf_counter()
    connection.request("POST", "/v2/models/iris/infer", BODY, {"content-type": "application/json"})
    sent = time.perf_counter()
    assert connection.getresponse().read()[:1] == b"{"
    return began, sent, time.perf_counter()


def freeze(worker, frozen, over):
    """Adds (since when it stood still, until when it surely did)."""
    while not over.is_set():
        worker.suspend()
        while worker.status() != psutil.STATUS_STOPPED:
            time.sleep(0.001)
        began = time.perf_counter()
        time.sleep(FROZEN_SECONDS)
        frozen.append((began, time.perf_counter()))
        worker.resume()
        time.sleep(RUNNING_SECONDS)


@pytest.fixture(scope="module")
def one_worker(serve):
    with serve(EKIBEN_WORKERS="1", EKIBEN_MODELS="iris", EKIBEN_FORMS="onnx", EKIBEN_HANG_S="600") as server:
        server.asked = 0
        yield server


@pytest.mark.long
@pytest.mark.parametrize("kept", [True, False], ids=["open connections", "new connections"])
def test_a_frozen_workers_requests_are_counted_as_slow_as_clients_find_them(one_worker, record_property, kept):
    url, port = one_worker.url, int(one_worker.url.rsplit(":", 1)[1])
    (worker,) = workers(one_worker)
    idle = [http.client.HTTPConnection("127.0.0.1", port, timeout=300) for _ in range(64)] if kept else []
    for connection in idle:
        ask(port, connection)
    one_worker.asked += len(idle)
    wait(lambda: counted(url, REQUESTS)[0] == one_worker.asked, 120, "not all requests are counted")
    before, lags_before = counted(url, REQUESTS), counted(url, LAGS)

    def one():
        connection = idle.pop() if idle else None
        times = ask(port, connection)
        if connection is not None:
            idle.append(connection)
        return times

    over, frozen = threading.Event(), []
    freezer = threading.Thread(target=freeze, args=(worker, frozen, over))
    freezer.start()
    with ThreadPoolExecutor(64) as pool:
        asked = []
        while len(frozen) < CYCLES or len(asked) < LEAST:
            asked.append(pool.submit(one))
            time.sleep(EVERY_SECONDS)
        over.set()
        times = [each.result() for each in asked]
    freezer.join()
    one_worker.asked += len(times)
    wait(lambda: counted(url, REQUESTS)[0] == one_worker.asked, 120, "not all requests are counted")
    wait(lambda: slow(url, LAGS, lags_before) >= CYCLES, 120, "that the loop stood still is not counted")
    # Whatever this machine did meanwhile: no client saw it quicker, and who was there in the midst of it had to wait.
    most = sum(read - began > SLOW_SECONDS - CLOCK_SECONDS for began, _, read in times)
    needed = SLOW_SECONDS + CLOCK_SECONDS
    least = sum(any(since <= began and sent + needed <= until for since, until in frozen) for began, sent, _ in times)
    service = slow(url, REQUESTS, before)
    record_property("slow", f"{least} to {most} of {len(times)} as clients saw, {service:.0f} as counted")
    assert least >= LEAST / 10
    assert least <= service <= most


def slow(url, histogram, before):
    """How many observations were slow since it stood at `before`."""
    count, within = counted(url, histogram)
    return (count - before[0]) - (within - before[1])
