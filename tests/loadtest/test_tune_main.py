"""The tuner against the real service: what it measures, an interruption and its resumption, and that nothing stays."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from loadtest.machine import Cores
from loadtest.measurement import Limit, ServicePool, Target, scrape, since
from loadtest.openloop import Load
from loadtest.service import ServiceError, run_command, serve
from loadtest.workload import RequestSet, Workload
from serving.settings import Settings
from tests.conftest import ROOT

# So lenient that a machine which is busy with other tests meets it: what is tested is the measuring, not the speed.
LENIENT = Limit(0.9, 5.0)
CORES = Cores.split()


@pytest.fixture(scope="module")
def pool(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServicePool]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BENTOML_HOME", str(store))
        with ServicePool("iris", tmp_path_factory.mktemp("tune") / "log") as open_pool:
            yield open_pool


SETTINGS = {"EKIBEN_FORMS": "onnx", "EKIBEN_WORKERS": "2", "EKIBEN_MAX_BATCH_SIZE": "16"}


@pytest.fixture(scope="module")
def target(pool: ServicePool) -> Target:
    return pool.target(SETTINGS, "onnx")


def load(rate: float = 200.0) -> Load:
    return Load(rate, 8, 1.0, 0.2, 5.0)


@pytest.mark.parametrize("rate", [200.0, 0.0])
def test_a_run_knows_what_the_service_counted(target: Target, rate: float) -> None:
    before = scrape(target.service, "iris", "onnx")
    found = target.run(load(rate), LENIENT)
    counted = since(before, target.service, "iris", "onnx", 0)
    assert found.rejected == "" and found.failed == 0 and found.count <= counted["ekiben_request_seconds_count"]
    assert 1 <= found.batch_rows <= 16 and found.batches * found.batch_rows > 0.5 * found.achieved
    assert 0 < found.infer < found.request < 1e3 * LENIENT.seconds and found.queue < found.request
    assert 0 < found.cpu_cores < 2 * CORES.count and found.memory_mb > 50
    assert found.p50 <= found.p95 <= found.p99


def test_the_service_runs_on_its_cores_with_its_settings(target: Target) -> None:
    processes = [psutil.Process(target.service.process.pid), *psutil.Process(target.service.process.pid).children(True)]
    if CORES.service:
        assert all(set(process.cpu_affinity()) == set(CORES.service) for process in processes)
    assert len(processes) >= 3  # two workers and who started them
    said = target.service.json("/v2/models/iris-onnx/config")
    assert said["max_batch_size"] == 16
    assert "iris" in target.service.json("/health")["models"]


def test_wrong_answers_throw_a_run_away(target: Target) -> None:
    asked = target.workload
    shifted = RequestSet(asked.requests, asked.expected[1:] + asked.expected[:1])
    found = Target(target.service, "iris", "onnx", shifted, CORES).run(load(), LENIENT)
    assert re.match(r"\d+ of \d+ checked answers are wrong: (probabilities|label)", found.rejected)


@pytest.mark.parametrize("binary", [False, True])
def test_questions_are_whole_requests_with_the_models_own_payloads(target: Target, binary: bool) -> None:
    asked = Workload("iris", binary, rows=3).requests(target.service, "iris-onnx")
    head, _, body = asked.requests[0].partition(b"\r\n\r\n")
    assert (
        head.startswith(b"POST /v2/models/iris-onnx/infer HTTP/1.1\r\n")
        and f"Content-Length: {len(body)}".encode() in head
    )
    assert len(set(asked.requests)) == len(asked.requests) > 10
    if not binary:
        tensor = json.loads(body)["inputs"][0]
        assert tensor["shape"] == [3, 4] and len(tensor["data"]) == 12 and max(tensor["data"]) > 1  # cm, not noise


def test_another_setting_ends_the_service_and_starts_the_next(pool: ServicePool, target: Target) -> None:
    first = target.service.process
    again = pool.target({"EKIBEN_FORMS": "onnx"}, "onnx")
    assert first.poll() is not None and again.service.json("/v2/models/iris-onnx/config")["max_batch_size"] == 64
    assert pool.target({"EKIBEN_FORMS": "onnx"}, "onnx") is again


def test_a_service_that_does_not_start_says_why(pool: ServicePool, tmp_path: Path) -> None:
    with (
        pytest.raises(ServiceError, match="EKIBEN_WORKERS=0 must be at least 1"),
        serve(".", {"EKIBEN_WORKERS": "0"}, tmp_path / "log", CORES.pin) as service,
    ):
        service.wait_ready()


def test_a_command_that_cannot_measure_says_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def command() -> None:
        raise ServiceError("nobody is there")

    with pytest.raises(SystemExit, match="2"):
        run_command(command)
    assert capsys.readouterr().err == "nobody is there\n"


def tune(store: Path, out: Path) -> subprocess.Popen[str]:
    words = ["--model", "iris", "--form", "onnx", "--slo", "p90=500ms", "--budget", "90s", "--seconds", "0.4"]
    return subprocess.Popen(
        [sys.executable, "-m", "loadtest.tune", *words, "--out", str(out)],
        cwd=ROOT,
        env={**os.environ, "BENTOML_HOME": str(store)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs these tests in the background has it ignored.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.long
def test_an_interrupted_search_leaves_nothing_running_and_goes_on(store: Path, tmp_path: Path) -> None:
    journal = tmp_path / "iris-p90=500ms" / "runs.jsonl"
    search = tune(store, tmp_path)
    while search.poll() is None and not (journal.exists() and len(journal.read_text().splitlines()) > 2):
        time.sleep(0.1)
    assert search.poll() is None, search.communicate()[1]
    started = psutil.Process(search.pid).children(recursive=True)
    search.send_signal(signal.SIGINT)
    _, said = search.communicate(timeout=300)
    assert search.returncode == 1 and "the same command goes on" in said
    assert started and not psutil.wait_procs(started, timeout=120)[1]
    interrupted = journal.read_text()

    report, said = tune(store, tmp_path).communicate(timeout=600)
    assert journal.read_text().startswith(interrupted) and "runs found" in said and "going on" in said
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert lines[-1]["ended"] and len({tuple(line["key"]) for line in lines[1:-1]}) == len(lines) - 2
    assert journal.with_name("report.md").exists()
    title, settings = report.partition("\n")[0], journal.with_name("ekiben.env")
    if "Not usable" in title:  # other programs held the generator up: it says so, and writes nothing
        assert not settings.exists()
        return
    assert "p90=500ms" in title and "| **defaults** |" in report and "round 1" in said
    assert Settings.read({"EKIBEN_SETTINGS": str(settings)}).workers >= 1
    assert journal.with_name("latency.png").exists()
