"""Faults on purpose: felt by every worker, seen in health and metrics, ended by one call."""

import re
import time

import httpx
import pytest

from serving.inference.faults import READ_SECONDS

IRIS = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}


@pytest.fixture(scope="module")
def url(serve):
    with serve(EKIBEN_FAULTS="1", EKIBEN_WORKERS="2", EKIBEN_MODELS="iris,wine", EKIBEN_FORMS="onnx") as server:
        yield server.url


@pytest.fixture(autouse=True)
def ended(url):
    yield
    assert httpx.delete(f"{url}/faults").json() == []


def begin(url, kind, asked):
    httpx.post(f"{url}/faults/{kind}", params=asked).raise_for_status()
    time.sleep(2 * READ_SECONDS)  # until each worker has looked, whatever else it does


def statuses(url, path="/iris/classify", count=20):
    """Each over a connection of its own, so that both workers answer."""
    return [httpx.post(f"{url}{path}", json=IRIS).status_code for _ in range(count)]


def failed(url):
    """How many requests to iris the engine has failed."""
    text = httpx.get(f"{url}/metrics").text
    found = re.findall(r'ekiben_failures_total{form="onnx",model="iris",reason="engine",.*} (\S+)', text)
    return sum(map(float, found))


def test_errors_begin_are_counted_and_end(url):
    begin(url, "errors", {"share": 1})
    assert set(statuses(url)) == {500}
    told = httpx.post(f"{url}/iris/classify", json=IRIS).json()["error"]
    assert told == "a fault on purpose: 1 of the requests fail"
    assert httpx.get(f"{url}/health").json()["faults"][0]["kind"] == "errors"
    assert re.search(r'ekiben_faults{kind="errors"} 1.0', httpx.get(f"{url}/metrics").text)
    deadline = time.monotonic() + 120
    while failed(url) < 21 and time.monotonic() < deadline:  # another worker counts once in a while
        time.sleep(0.1)
    assert failed(url) == 21
    httpx.delete(f"{url}/faults")
    assert set(statuses(url)) == {200}


def test_a_fault_falls_on_its_route_only(url):
    begin(url, "errors", {"share": 1, "route": "/iris"})
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": list(IRIS.values())}
    assert statuses(url, count=1) == [500]
    assert httpx.post(f"{url}/v2/models/iris/infer", json={"inputs": [tensor]}).status_code == 200


def test_latency_is_added(url):
    asked = {"seconds": 0.2, "distribution": "constant"}
    begin(url, "latency", asked)
    assert httpx.post(f"{url}/iris/classify", json=IRIS).elapsed.total_seconds() >= 0.2


def test_drift_changes_what_the_model_sees(url):
    begin(url, "drift", {"factor": 3})
    assert httpx.post(f"{url}/iris/classify", json=IRIS).json()["label"] != "setosa"


def test_a_fault_ends_by_itself(url):
    begin(url, "errors", {"share": 1, "for": 3})
    began = time.monotonic()
    assert statuses(url, count=1) == [500] or time.monotonic() - began > 2.5
    deadline = began + 120
    while httpx.get(f"{url}/faults").json() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert set(statuses(url)) == {200}
    assert httpx.get(f"{url}/faults").json() == []


def test_sleep_sleeps(url):
    assert httpx.get(f"{url}/faults/sleep", params={"seconds": 0.2}).elapsed.total_seconds() >= 0.2


@pytest.mark.parametrize(
    ("path", "asked", "words"),
    [
        ("errors", {}, "share is None: it must be a number from 0 to 1"),
        ("errors", {"share": 2}, "share is 2: it must be a number from 0 to 1"),
        ("latency", {"seconds": 1, "distribution": "normal"}, "it must be one of constant, exponential, uniform"),
        ("latency", {"second": 1}, "'second' is unknown; there is seconds, route, for and distribution"),
    ],
)
def test_a_fault_that_cannot_be_is_told(url, path, asked, words):
    answer = httpx.post(f"{url}/faults/{path}", params=asked)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_without_the_setting_there_are_none(server):
    assert httpx.get(f"{server.url}/faults").status_code == 404
    assert "faults" not in httpx.get(f"{server.url}/health").json()
