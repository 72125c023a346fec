"""From a fault of the real service to the phone: real Prometheus, real Alertmanager; an hour takes 30 seconds."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import httpx
import numpy as np
import psutil
import pytest
from tritonclient import http as triton

from tests.conftest import Serve, Server, copied_home, end
from tests.deploy.stack import RUNBOOK, Stack, watching

pytestmark = pytest.mark.long

# A hung worker is left alone, so that somebody has to be told; a queue that a few callers can fill.
SETTINGS = {"EKIBEN_FAULTS": "1", "EKIBEN_WORKERS": "2", "EKIBEN_HANG_S": "600", "EKIBEN_MAX_QUEUE_ROWS": "128"}


@pytest.fixture(scope="module")
def home(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a few models, in which one form was changed after it was certified."""
    copy = copied_home(store, tmp_path_factory.mktemp("home"), "iris-onnx", "digits-onnx", "digits-int8")
    (file,) = (copy / "models" / "digits-int8").rglob("*.onnx")
    file.write_bytes(file.read_bytes() + b"\0")
    return copy


@pytest.fixture(scope="module")
def service(serve: Serve, home: Path) -> Iterator[Server]:
    with serve(home, **SETTINGS) as server:
        yield server


@pytest.fixture(scope="module")
def stack(service: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with watching(tmp_path_factory.mktemp("stack"), port(service), scale=120, scrape="500ms") as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def traffic(service: Server, stack: Stack) -> Iterator[None]:
    """Some callers who want one prediction after the other, whatever happens."""
    with calling(service.url, "iris", np.array([[5.1, 3.5, 1.4, 0.2]], np.float32), callers=4):
        yield


@contextmanager
def calling(url: str, model: str, rows: np.ndarray, callers: int) -> Iterator[None]:
    tensor = triton.InferInput("image" if rows.ndim == 4 else "features", list(rows.shape), "FP32")
    body, length = triton.InferenceServerClient.generate_request_body([tensor.set_data_from_numpy(rows)])
    headers = {"inference-header-content-length": str(length), "content-type": "application/octet-stream"}
    over = Event()

    def call() -> None:
        with httpx.Client(base_url=url, headers=headers, timeout=5) as client:
            while not over.wait(0.05):
                with suppress(httpx.TransportError):  # the service is down, or a worker stands still
                    client.post(f"/v2/models/{model}/infer", content=body)

    threads = [Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def port(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def pages(stack: Stack, words: str, after: int = 0) -> list[str]:
    return [text for text in stack.telegram.shown()[after:] if "🔥" in text and words in text]


def test_a_form_that_is_refused_is_told_without_a_sound(stack: Stack, service: Server) -> None:
    assert httpx.get(f"{service.url}/health").json()["status"] == "degraded"
    message = stack.telegram.wait("🎫", "<b>ekiben digits: form int8 is refused</b>", "does not match its file")
    assert message["disable_notification"] == "true"


def test_faults_wake_by_the_cause_that_leads_on_and_are_over_when_they_end(stack: Stack, service: Server) -> None:
    """Half of the requests fail and the others are slow: pages of the cause that leads on alone; then their end."""
    stack.wait('ekiben:slo_requests:rate5m{slo="availability"} > 0')
    for kind, amount in (("errors", {"share": 0.5}), ("latency", {"seconds": 1.2})):
        parameters: dict[str, str | float] = {**amount, "route": "/v2/models/iris"}
        httpx.post(f"{service.url}/faults/{kind}", params=parameters).raise_for_status()
    message = stack.telegram.wait("🔥", "<b>ekiben: too many requests fail</b>")
    assert re.search(r"Over the last (1h|6h), [\d.]+% of requests fail; the objective allows 0.1%", message["text"])
    assert f'href="{RUNBOOK}#availabilitybudgetburn"' in message["text"]
    assert message["parse_mode"] == "HTML" and not message.get("disable_notification")
    stack.inhibited("LatencyBudgetBurn")
    assert stack.query("ekiben_faults == 1")
    assert httpx.delete(f"{service.url}/faults").json() == []
    stack.telegram.wait("✅ resolved", "<b>ekiben: too many requests fail</b>")
    # Windows are seconds here: where the machine stands still for one, an alert ends and begins again, or all is down.
    burning = pages(stack, "BudgetBurn")
    assert burning and not [page for page in burning if "LatencyBudgetBurn" in page]


def test_a_full_queue_is_told(stack: Stack, service: Server) -> None:
    """Each of some callers asks for as many rows as the queue of a worker holds."""
    with calling(service.url, "digits", np.zeros((128, 1, 28, 28), np.float32), callers=6):
        stack.telegram.wait("🎫", ">Shedding</a>", "<b>ekiben digits: ", "find the queue full")


def test_a_worker_that_stands_still_is_told(stack: Stack, service: Server) -> None:
    files = service.home / "prometheus_multiproc_dir"
    worker = next(w for w in psutil.Process(service.process.pid).children() if (files / f"counter_{w.pid}.db").exists())
    stack.wait('absent(ALERTS{alertname="WorkerLost"})')  # however slow this machine is
    before = len(stack.telegram.messages)
    worker.send_signal(signal.SIGSTOP)
    try:
        stack.telegram.wait("🎫", ">WorkerLost</a>", "for 5 minutes: ", after=before)
    finally:
        worker.send_signal(signal.SIGCONT)
    stack.telegram.wait("✅ resolved", ">WorkerLost</a>", after=before)


def test_a_service_that_is_gone_wakes_once_and_comes_back_repaired(
    stack: Stack, service: Server, serve: Serve, home: Path
) -> None:
    stack.wait('absent(ALERTS{alertname="ServiceDown"})')
    before = len(stack.telegram.messages)
    end(service.process)
    message = stack.telegram.wait("🔥", "<b>ekiben is down</b>", after=before)
    assert f'href="{RUNBOOK}#servicedown"' in message["text"]
    stack.inhibited("ReplicaDown")
    assert not [text for text in stack.telegram.shown()[before:] if "ReplicaDown" in text]
    (file,) = (home / "models" / "digits-int8").rglob("*.onnx")
    file.write_bytes(file.read_bytes()[:-1])
    with serve(home, **SETTINGS) as repaired:
        stack.watch(port(repaired))
        stack.telegram.wait("✅ resolved", "<b>ekiben is down</b>", after=before)
        assert httpx.get(f"{repaired.url}/health").json()["status"] == "ok"
        stack.telegram.wait("✅ resolved", "form int8 is refused")
