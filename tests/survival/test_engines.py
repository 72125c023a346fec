"""An engine that throws, hangs or gives something else: its request fails in words, and no other's."""

import re
from types import SimpleNamespace

import httpx
import pytest

from serving.api.health import routes
from serving.errors import NotReady
from serving.lifecycle import Lifecycle
from serving.process.vitals import stuck
from tests.survival.conftest import IRIS, wait, workers
from tests.survival.hostile import LONG

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def hostile(serve, hostile_home):
    with serve(home=hostile_home, EKIBEN_HANG_S="5", EKIBEN_MAX_LATENCY_MS="2000") as server:
        yield server


@pytest.fixture
def url(hostile):
    return hostile.url


def infer(url, model, *values):
    tensor = {"name": "x", "shape": [len(values), 1], "datatype": "FP32", "data": list(values)}
    return httpx.post(f"{url}/v2/models/{model}/infer", json={"inputs": [tensor]}, timeout=300)


def test_an_engine_that_throws_fails_its_request_in_words(url):
    assert infer(url, "throwing", 0).json()["outputs"][0]["data"] == [7.0]
    failed = infer(url, "throwing", 1000)
    assert failed.status_code == 400
    assert failed.json()["error"].startswith("the model does not compute with these values: ")
    assert infer(url, "throwing", 1).json()["outputs"][0]["data"] == [8.0]


def test_an_engine_that_gives_another_shape_fails_its_request_in_words(url):
    assert infer(url, "shrinking", 2, 3).json()["outputs"][0]["data"] == [2.0, 3.0]
    failed = infer(url, "shrinking", 2, 300)
    assert failed.status_code == 500
    assert "the engine gave y as float32 [1, 1], the signature says FP32 [2, 1]" in failed.json()["error"]
    assert httpx.post(f"{url}/iris/classify", json=IRIS).status_code == 200


def test_an_engine_that_hangs_in_its_thread_holds_up_nobody_else_and_its_worker_is_replaced(hostile):
    (before,) = workers(hostile)
    late = infer(hostile.url, "steady", LONG)
    assert (late.status_code, late.headers["retry-after"]) == (503, "1")
    assert httpx.post(f"{hostile.url}/iris/classify", json=IRIS).status_code == 200
    assert replaced(hostile, before).startswith("SIGTERM: the engine of steady-onnx has held one batch for")


def test_an_engine_that_hangs_on_the_event_loop_takes_its_worker_with_it_for_a_while(hostile):
    (before,) = workers(hostile)
    with pytest.raises(httpx.RemoteProtocolError):
        infer(hostile.url, "quick", LONG)
    assert replaced(hostile, before) == "SIGKILL: its event loop has stood still for 5 s"


def replaced(server, worker):
    """Why the supervisor ended a worker, once another answers in its place."""
    wait(lambda: worker.pid not in [p.pid for p in workers(server)], 120, "the worker that hangs is still there")
    assert httpx.post(f"{server.url}/iris/classify", json=IRIS, timeout=300).json()["label"] == "setosa"
    (why,) = re.findall(rf"process {worker.pid}\) is ended with (SIG\w+: .*)", server.log)
    return why


def serving(held=0.0):
    """A repository whose runner's engine has held a batch for so many seconds."""
    served = SimpleNamespace(runner=SimpleNamespace(held=held), stored=SimpleNamespace(name="m-onnx"))
    return SimpleNamespace(every_form=lambda: [served], served={"m": served}, refused={}, ready=True)


def test_an_engine_that_holds_a_batch_for_too_long_is_named():
    assert stuck(serving(10.0), 9) == "the engine of m-onnx has held one batch for 10 s"
    assert stuck(serving(5.0), 9) == ""


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_worker_that_is_sick_says_so_to_probes(path):
    lifecycle = Lifecycle(sick="the engine of m-onnx has held one batch for 10 s")
    probe = routes(serving(), lifecycle)[path]["GET"]
    with pytest.raises(NotReady, match="held one batch"):
        probe.handle(SimpleNamespace(method="GET", path=path))
