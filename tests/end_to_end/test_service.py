"""What an operator does to the service, and what it does then."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.conftest import ROOT, command, copied_home, free_port

IRIS = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
WINE = json.loads((ROOT / "bentos" / "wine" / "examples.json").read_text())[0]


def edit(home, form, old, new):
    (file,) = (home / "models" / form).glob("*/model.yaml")
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_a_certificate_edited_by_hand_refuses_its_form_and_no_other(serve, store, tmp_path):
    home = copied_home(store, tmp_path, "iris-onnx", "iris-sklearn", "wine-onnx")
    edit(home, "iris-onnx", "rows: 120", "rows: 121")
    with serve(home=home) as server, httpx.Client(base_url=server.url) as http:
        health = http.get("/health").json()
        assert health["status"] == "degraded"
        assert "edited after it was issued" in health["models"]["iris"]["forms"]["onnx"]["reason"]
        assert "REFUSED iris-onnx" in server.log
        assert http.post("/iris/classify", json=IRIS).json()["form"] == "sklearn"
        refused = http.post("/iris/classify", params={"form": "onnx"}, json=IRIS)
        assert refused.status_code == 503
        assert "edited after it was issued" in refused.json()["error"]
        assert http.post("/v2/models/iris-onnx/infer", json={}).status_code == 503
        assert http.get("/v2/models/iris-onnx/ready").status_code == 503
        index = {row["name"]: row["state"] for row in http.post("/v2/repository/index").json()}
        assert index["iris-onnx"] == "UNAVAILABLE"
        assert index["iris"] == index["wine"] == "READY"


def test_a_file_that_is_not_the_certified_one_is_refused_and_the_service_is_not_ready(serve, store, tmp_path):
    home = copied_home(store, tmp_path, "iris-onnx")
    (file,) = (home / "models" / "iris-onnx").glob("*/model.onnx")
    file.write_bytes(file.read_bytes() + b"\0")
    with serve(home=home, ready=503) as server, httpx.Client(base_url=server.url) as http:
        assert "model.onnx does not match its certificate" in http.get("/health").text
        assert http.get("/health").status_code == 503
        assert http.get("/livez").status_code == 200
        assert http.get("/v2/health/ready").status_code == 503
        for path in ("/iris/classify", "/v2/models/iris-onnx/infer", "/v2/models/iris/infer"):
            refused = http.post(path, json=IRIS)
            assert refused.status_code == 503
            assert "does not match its certificate" in refused.json()["error"]
        assert http.get("/v2/models/iris/ready").status_code == 503
        text = http.get("/metrics").text
        assert 'ekiben_form_refused{form="onnx",model="iris"' in text
        assert re.search(r'ekiben_failures_total{form="onnx",model="iris",reason="not_ready",version="\w+"} 3.0', text)


@pytest.mark.parametrize(
    ("forms", "words"),
    [
        ("", "there is no model to serve: `make models` trains"),
        ("pytorch", "there is no such form here; there is onnx"),
    ],
)
def test_a_service_without_what_it_is_asked_for_says_so_and_ends(forms, words, store, tmp_path):
    home = copied_home(store, tmp_path, *(["iris-onnx"] if forms else []))
    (home / "models").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", ".", "--host=127.0.0.1", f"--port={free_port()}"],
        cwd=ROOT, env={**os.environ, "BENTOML_HOME": str(home), "EKIBEN_FORMS": forms}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_that_is_wrong_is_named(store):
    done = subprocess.run(
        [sys.executable, "-c", "import service"],
        cwd=ROOT, env={"EKIBEN_WORKERS": "two", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "EKIBEN_WORKERS=two must be a whole number" in done.stderr


def test_a_version_is_pinned_and_rolled_back(serve, store, tmp_path):
    home = copied_home(store, tmp_path, "iris-onnx", "iris-sklearn")
    (first,) = (path.name for path in (home / "models" / "iris-onnx").iterdir() if path.is_dir())
    artifacts = tmp_path / "artifacts"
    shutil.copytree(ROOT / "artifacts" / "iris", artifacts / "iris")
    command([sys.executable, "-m", "train", "iris", "--seed", "1", "--out", str(artifacts)], home)
    command([sys.executable, "-m", "convert", "iris", "--artifacts", str(artifacts)], home)
    with serve(home=home, EKIBEN_FORMS="onnx") as server:
        second = httpx.post(f"{server.url}/iris/classify", json=IRIS).json()["version"]
    assert second != first
    with serve(home=home, EKIBEN_FORMS="onnx", EKIBEN_VERSIONS=f"iris={first}") as server:
        assert httpx.post(f"{server.url}/iris/classify", json=IRIS).json()["version"] == first
        assert httpx.get(f"{server.url}/v2/models/iris").json()["versions"] == [first]


WITHOUT_TRAINING = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "sklearn", "skops", "safetensors", "onnx", "skl2onnx", "matplotlib"):
            raise ModuleNotFoundError(f"blocked: {name}", name=name.split(".")[0])
sys.meta_path.insert(0, Blocked())
"""


def test_the_onnx_forms_are_served_without_torch_and_scikit_learn(serve, store, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_TRAINING)
    with serve(PYTHONPATH=str(tmp_path)) as server, httpx.Client(base_url=server.url) as http:
        health = http.get("/health").json()
        assert health["status"] == "ok"
        assert set(health["models"]["iris"]["forms"]) == {"onnx"}
        assert set(health["models"]["digits"]["forms"]) == {"optimized", "onnx", "int8"}
        assert http.post("/iris/classify", json=IRIS).json()["label"] == "setosa"
        assert "iris-sklearn:" in server.log
        assert "its engine is not installed" in server.log


@pytest.fixture(scope="module")
def two_workers(serve):
    """Each of its two models is asked by one test."""
    with serve(EKIBEN_MODELS="iris,wine", EKIBEN_FORMS="onnx", EKIBEN_WORKERS="2") as server:
        yield server


def test_metrics_and_statistics_add_up_over_workers(two_workers):
    server = two_workers

    def ask(_):
        return httpx.post(f"{server.url}/iris/classify", json=IRIS).json()["label"]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(100))) == {"setosa"}
    deadline = time.monotonic() + 120
    while counted(server) < 100 and time.monotonic() < deadline:  # another worker counts once in a while
        time.sleep(0.2)
    assert counted(server) == 100
    stats = httpx.get(f"{server.url}/v2/models/iris/stats").json()["model_stats"][0]
    assert stats["inference_stats"]["success"]["count"] == 100
    assert stats["inference_count"] == 100
    assert (stats["pending_rows"], sum(stats["failures"].values())) == (0, 0)


def counted(server):
    text = urllib.request.urlopen(f"{server.url}/metrics").read().decode()  # noqa: S310
    lines = [line for line in text.splitlines() if line.startswith("ekiben_requests_total")]
    native = [line for line in lines if 'interface="native"' in line and 'model="iris"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in native)


def test_what_was_asked_is_counted_for_drift_over_all_workers(two_workers):
    with httpx.Client(base_url=two_workers.url) as http:
        assert "ekiben_workers 2.0" in http.get("/metrics").text
        for _ in range(20):
            httpx.post(f"{two_workers.url}/wine/classify", json=[WINE] * 5).raise_for_status()
        deadline = time.monotonic() + 120
        while min(observed(http).values()) < 100 and time.monotonic() < deadline:
            time.sleep(0.2)  # a worker counts once a second
        assert observed(http) == {"input:alcohol": 100, "prediction:class": 100, "prediction:confidence": 100}
        assert re.search(r'ekiben_worker_heartbeats_total{worker="2"} [1-9]', http.get("/metrics").text)


def observed(http):
    """quantity of wine → how many values the workers have counted."""
    text = http.get("/metrics").text
    pattern = r'ekiben_drift_observed_total{{.*model="wine",quantity="{}".*}} (\S+)'
    quantities = ("input:alcohol", "prediction:class", "prediction:confidence")
    return {quantity: sum(map(float, re.findall(pattern.format(quantity), text))) for quantity in quantities}


def test_promtool_has_nothing_to_say_of_the_metrics(server):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    text = urllib.request.urlopen(f"{server.url}/metrics").read().decode()  # noqa: S310
    ours = "".join(line + "\n" for line in text.splitlines() if "ekiben_" in line)
    done = subprocess.run(["promtool", "check", "metrics"], input=ours, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
