"""The load test: what it sends and when, what it takes for an answer, and what it says in the end."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import httpx
import numpy as np
import pytest

from loadtest.load import requests
from loadtest.load.plan import NAMED, Plan, PlanError, schedule
from loadtest.load.report import Records, read_thresholds, verdicts
from loadtest.load.requests import Native, ServedModel, WrongAnswer, describe, drawn
from tests.conftest import ROOT, free_port

SIGMAS = 5


def load(url, out, *further):
    words = [sys.executable, "-m", "loadtest.load", "--host", url, "--out", str(out), *map(str, further)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)


# When requests are sent


@pytest.mark.parametrize("seed", range(5))
def test_poisson_arrivals_have_their_rate_and_their_spread(seed):
    due = schedule(Plan.of({"rate": 200, "seconds": 50, "seed": seed}))
    assert abs(len(due) - 10_000) < SIGMAS * 100
    gaps = np.diff(due)
    assert gaps.min() >= 0
    assert due[-1] <= 50
    # Exponential gaps: deviation = mean, and e⁻¹ of them are longer than it.
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.1)
    assert (gaps > gaps.mean()).mean() == pytest.approx(np.exp(-1), abs=0.03)


def test_arrivals_follow_the_shape():
    due = schedule(Plan.of({"rate": 1000, "shape": "spike"}))
    for start, end, expected in ((0, 20, 4000), (20, 30, 10_000), (30, 60, 6000)):
        assert abs(((start <= due) & (due < end)).sum() - expected) < SIGMAS * expected**0.5


def test_constant_arrivals_are_evenly_spaced_and_shared_between_processes():
    plan = Plan.of({"rate": 10, "seconds": 6, "arrival": "constant"})
    assert np.diff(schedule(plan)) == pytest.approx(0.1)
    shared = np.sort(np.concatenate([schedule(plan, each, 3) for each in range(3)]))
    assert len(shared) == 60
    assert np.diff(shared) == pytest.approx(0.1)


def test_processes_draw_different_arrivals_that_add_up_to_the_rate():
    plan = Plan.of({"rate": 100, "seconds": 60})
    first, second = (schedule(plan, each, 2) for each in range(2))
    assert abs(len(first) + len(second) - 6000) < SIGMAS * 6000**0.5
    assert not np.array_equal(first[:10], second[:10])


# What is planned


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rate": 0}, "--rate is 0: it must be above 0"),
        ({"clients": -1}, "--clients is -1: it must be at least 1"),
        ({"rows": "many"}, "--rows is 'many': it must be a whole number"),
        ({"seconds": "0"}, "--seconds is 0: it must be above 0"),
        ({"shape": "wave"}, "no shape 'wave': there is steady, steps, spike, soak, day"),
    ],
)
def test_a_plan_that_cannot_be_is_told(options, words):
    with pytest.raises(PlanError, match=words):
        Plan.of(options)


@pytest.mark.parametrize("scenario", NAMED["scenarios"])
@pytest.mark.parametrize("shape", NAMED["shapes"])
def test_every_scenario_and_shape_is_a_plan(scenario, shape):
    plan = Plan.of({"scenario": scenario, "shape": shape})
    assert max(plan.level(second) for second, _ in plan.points) == 1
    assert ("CLOSED LOOP" in str(plan)) == (not plan.open)


def test_what_is_given_comes_before_the_scenario():
    plan = Plan.of({"scenario": "single-stream", "clients": "3", "seconds": "30", "rate": "", "mix": None})
    assert (plan.clients, plan.seconds, plan.tells) == (3, 30, "p90")


def test_a_models_share_is_spread_over_the_interfaces_that_it_has():
    kinds = [("a", "native"), ("a", "v2"), ("a", "binary"), ("b", "native")]
    assert Plan.of({}).shares(kinds) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])


# What is asked and what is an answer

INTERFACES = ("native", "v2", "binary")

KETTLE = ServedModel(
    "kettle",
    ({"name": "features", "datatype": "FP32", "shape": [-1, 3]},),
    ({"name": "seconds", "datatype": "FP32", "shape": [-1, 1]},),
    Native(
        "/kettle/time",
        {"properties": {"seconds": {"type": "number"}, "model": {"type": "string"}}},
        ("litres", "start", "power"),
        "",
    ),
)


@pytest.fixture
def bentos(tmp_path):
    """A folder with one model that nobody has heard of."""
    (tmp_path / "kettle").mkdir()
    payloads = [{"litres": 1.0, "start": 15, "power": 2200}, {"litres": 0.3, "start": None, "power": 1500}]
    (tmp_path / "kettle" / "examples.json").write_text(json.dumps(payloads))
    return tmp_path


def test_words_of_choices_are_sent_as_tensors_by_their_codes():
    one = {
        "properties": {"litres": {"type": "number"}, "tea": {"oneOf": [{"enum": ["green", "red"]}, {"enum": [4, 9]}]}}
    }
    content = {"application/json": {"schema": {"oneOf": [one, {"type": "array"}]}}}
    answers = {"200": {"content": {"application/json": {"schema": {"type": "object"}}}}}
    native = requests._native_route("/kettle/time", {"responses": answers, "requestBody": {"content": content}})
    model = ServedModel("kettle", ({**KETTLE.inputs[0], "shape": [-1, 2]},), KETTLE.outputs, native)
    payloads = [{"litres": 1, "tea": "red"}, {"litres": None, "tea": 4}]
    rows = requests.tensor_rows(model, payloads)
    assert np.array_equal([row["features"] for row in rows], [[1, 9], [np.nan, 4]], equal_nan=True)


def test_fields_go_into_the_inputs_that_the_schema_says_and_texts_stay_texts():
    inputs = (
        {"name": "numbers", "datatype": "FP32", "shape": [-1, 1]},
        {"name": "texts", "datatype": "BYTES", "shape": [-1, 2]},
    )
    route = Native("/bikes/price", {}, ("brand", "age", "city"), "", inputs={"brand": "texts", "city": "texts"})
    model = ServedModel("bikes", inputs, KETTLE.outputs, route)
    payloads = [{"brand": "Gitane", "age": None, "city": "Ōsaka"}, {"brand": "", "age": 2, "city": "Lyon"}]
    first, second = requests.tensor_rows(model, payloads)
    assert np.isnan(first["numbers"]) and first["texts"].tolist() == ["Gitane", "Ōsaka"]
    assert second["numbers"] == [2] and second["texts"].tolist() == ["", "Lyon"]
    native, v2, binary = (
        [r for r in requests.requests(model, payloads, 1) if r.interface == how] for how in INTERFACES
    )
    assert (len(native), len(v2), len(binary)) == (2, 1, 2)  # JSON has no NaN
    assert [tensor["data"] for tensor in json.loads(v2[0].body(1))["inputs"]] == [[2.0], ["", "Lyon"]]
    assert binary[0].body(1).endswith(b"\x06\0\0\0Gitane\x06\0\0\0" + "Ōsaka".encode())
    assert requests.tensor_rows(replace(model, native=replace(route, inputs={})), payloads) is None


def test_a_fifth_model_needs_only_its_folder(bentos):
    assert requests.folders(bentos) == ["kettle"]
    made = requests.requests(KETTLE, requests.examples("kettle", bentos), 1)
    assert [request.kind for request in made] == [
        *[("kettle", "native")] * 2, *[("kettle", "binary")] * 2, ("kettle", "v2"),
    ]  # fmt: skip
    body = json.loads(made[-1].body(7))
    assert body["id"] == "000000000007"
    assert body["inputs"][0]["data"] == [1.0, 15, 2200]


def test_named_fields_are_drawn_by_the_service_and_files_are_not(monkeypatch):
    monkeypatch.setenv("EKIBEN_API_KEY", "lunch")
    with slow_service() as url:
        (model,) = describe(url, ["iris"])
        assert drawn(url, model, 3) == [{"x": 1}] * 3
        assert drawn(url, replace(model, native=Native("/iris/classify", {}, (), "image")), 3) == []
        assert drawn(url, replace(model, native=None), 3) == []


def answered(**changed):
    answer = {
        "id": "000000000001",
        "model_name": "kettle",
        "outputs": [{"name": "seconds", "datatype": "FP32", "shape": [1, 1], "data": [190.0]}],
    }
    return json.dumps(answer | changed).encode()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (answered(id="000000000002"), "id '000000000002' of 'kettle', not '000000000001'"),
        (answered(model_name="pot"), "'pot'"),
        (answered(outputs=[{"name": "s", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]), r"outputs are"),
        (answered(outputs=[{"name": "seconds", "datatype": "FP32", "shape": [2, 1], "data": [1, 2]}]), "has shape"),
        (answered(outputs=[{"name": "seconds", "datatype": "FP32", "shape": [1, 1], "data": []}]), "unreadable"),
        (b"<html>", "unreadable"),
        (answered(outputs=[{"name": "seconds", "datatype": "FP32", "shape": [1, 1], "data": [95.0]}]), "first answer"),
    ],
)
def test_an_answer_that_is_not_the_right_one_is_wrong(bentos, body, words):
    request = requests.requests(KETTLE, requests.examples("kettle", bentos), 1)[-1]
    request.judge(1, answered(), {})
    with pytest.raises(WrongAnswer, match=words):
        request.judge(1, body, {})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"label": "c"}, "label is 'c', none of a, b"),
        ({"probabilities": {"a": 0.9, "b": 0.2}}, "probabilities are .* in sum"),
        ({"probabilities": {"a": 1.0}}, "not of a, b"),
        ({"model": "another"}, "model is 'another'"),
        ({"label": "b"}, "label is .* as in the first answer"),
    ],
)
def test_a_native_answer_is_held_against_its_schema(changed, words):
    probabilities = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}}
    schema = {"properties": {"label": {"type": "string", "enum": ["a", "b"]}, "probabilities": probabilities}}
    model = ServedModel("pick", (), (), Native("/pick/one", schema, ("x",), ""))
    (request,) = requests.requests(model, [{"x": 1}], 1)
    right = {"label": "a", "probabilities": {"a": 0.8, "b": 0.2}, "model": "pick"}
    request.judge(1, json.dumps(right).encode(), {})
    with pytest.raises(WrongAnswer, match=words):
        request.judge(2, json.dumps(right | changed).encode(), {})


@pytest.mark.parametrize("rows", [1, 5])
def test_the_service_answers_every_question_of_every_model(service_url, rows):
    models = describe(service_url, requests.folders())
    assert [model.name for model in models] == requests.folders()
    asked = [each for model in models for each in requests.requests(model, requests.examples(model.name), rows)]
    assert {each.kind for each in asked} == {(m.name, how) for m in models for how in ("native", "v2", "binary")}
    with httpx.Client(base_url=service_url) as http:
        for number, request in enumerate(asked):
            answer = http.post(request.path, content=request.body(number), headers=request.headers)
            assert answer.status_code == 200, answer.text
            request.judge(number, answer.content, answer.headers)


# What comes of it


def test_thresholds_are_held_against_all_requests_and_a_models_own():
    promised = {
        "service": {"availability": {"failed_ratio": 0.3}, "latency": {"percentile": 50, "seconds": 0.2}},
        "models": {"a": {"availability": {"failed_ratio": 0.3}}, "unasked": {"latency": {}}},
    }
    records = Records()
    for model, latency, reason in [("a", 0.1, ""), ("a", 9.0, "503"), ("b", 0.1, ""), ("b", 0.3, "")]:
        records.add((model, "v2"), 0, latency, 0, reason)
    told = [(v.whose, v.value, v.met) for v in verdicts(promised, records)]
    assert told == [("service", 25, True), ("service", 0.1, True), ("a", 50, False)]


def test_where_nothing_was_answered_nothing_is_met():
    assert not any(verdict.met for verdict in verdicts(read_thresholds(), Records()))


def test_records_of_other_processes_are_taken_in():
    here, there = Records(), Records()
    here.add(("a", "v2"), 1, 0.1, 0)
    there.add(("b", "v2"), 2, 0.2, 0, "503")
    there.add(("a", "v2"), 3, 0.3, 0)
    here.merge(there.message())
    assert [list(here.kinds)[place][0] for place in here.column("kind")] == ["a", "b", "a"]
    assert here.column("latency").tolist() == [0.1, 0.2, 0.3]
    assert here.reasons == {"503": 1}


def test_a_short_load_on_the_service_is_within_the_objectives(service_url, tmp_path):
    done = load(service_url, tmp_path, "--seconds", 3, "--rate", 40)
    missed = [line for line in done.stdout.splitlines() if line.startswith("MISSED")]
    # How quick it is, is this machine's business; that nothing fails is the service's.
    assert done.returncode == bool(missed) and not [line for line in missed if "failed requests" in line], done.stdout
    assert "open loop, poisson arrivals at 40 requests/s" in done.stdout
    assert "left" in done.stderr and "req/s" in done.stderr
    summary = json.loads((tmp_path / "load.json").read_text())
    rows = {row["name"]: row for row in summary["rows"]}
    assert {f"{model} native" for model in requests.folders()} < rows.keys()
    assert abs(rows["all"]["requests"] - 120) < SIGMAS * 120**0.5
    assert rows["all"]["failed"] == 0
    written = {path.name for path in tmp_path.iterdir()}
    assert {"load.png", "seconds.csv", "locust_stats.csv", "locust.html"} <= written
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")


def test_a_missed_threshold_is_named_and_fails(serve, tmp_path):
    with serve(EKIBEN_FAULTS="1", EKIBEN_MODELS="iris", EKIBEN_FORMS="onnx") as server:
        httpx.post(f"{server.url}/faults/errors", params={"share": 0.5}).raise_for_status()
        done = load(server.url, tmp_path, "--seconds", 2, "--clients", 2)
    assert done.returncode == 1, done.stdout + done.stderr
    (missed,) = [line for line in done.stdout.splitlines() if line.startswith("MISSED  service failed requests")]
    assert "limit 0.1 %" in missed
    assert "× 500: " in done.stdout
    assert "a fault on purpose" in done.stdout
    assert "CLOSED LOOP" in done.stdout


def test_without_a_service_it_says_so(tmp_path):
    done = load(f"http://127.0.0.1:{free_port()}", tmp_path)
    assert done.returncode == 2
    assert "Connection refused" in done.stderr
    assert "make serve" in done.stderr


class OneAtATime(BaseHTTPRequestHandler):
    """A service that takes 50 ms for each request, and all others wait."""

    protocol_version = "HTTP/1.1"
    turn = threading.Lock()
    keys: ClassVar[set[str | None]] = set()
    synthetic: ClassVar[set[str | None]] = set()

    def do_GET(self):
        if self.path == "/iris/random":
            return self.send({"payload": {"x": 1}})
        answer = {"type": "object", "properties": {"label": {"type": "string", "enum": ["a"]}}}
        content = {"application/json": {"schema": {"oneOf": [{"properties": {"x": {}}}]}}}
        route = {"responses": {"200": {"content": {"application/json": {"schema": answer}}}}}
        paths = {"/iris/classify": {"post": {**route, "requestBody": {"content": content}}}}
        self.send({"name": "iris", "inputs": [], "outputs": []} if "/v2" in self.path else {"paths": paths})

    def do_POST(self):
        self.keys.add(self.headers["Authorization"])
        self.synthetic.add(self.headers["X-Ekiben-Synthetic"])
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v2/repository/index":
            return self.send([{"name": "iris", "state": "READY"}])
        with self.turn:
            time.sleep(0.05)
        self.send({"label": "a", "model": "iris"})

    def send(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Patient(ThreadingHTTPServer):
    request_queue_size = 128  # connections that wait, so that none is tried again a second later


@contextlib.contextmanager
def slow_service():
    server = Patient(("127.0.0.1", 0), OneAtATime)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_requests_that_wait_for_a_slow_service_are_all_sent_and_count_from_when_they_were_due(tmp_path, monkeypatch):
    monkeypatch.setenv("EKIBEN_API_KEY", "lunch")
    asked = ("--seconds", 1, "--rate", 60, "--arrival", "constant")
    with slow_service() as url:
        done = load(url, tmp_path, *asked)
    assert done.returncode == 1
    everything = json.loads((tmp_path / "load.json").read_text())["rows"][-1]
    assert everything["requests"] == 60
    # 60 of 50 ms each, due within a second: the last cannot be answered before two more have gone by.
    assert everything["percentiles"][-1] > 1.9
    assert OneAtATime.keys == {"Bearer lunch"}
    assert OneAtATime.synthetic == {"1"}


def test_it_starts_from_locusts_own_page(service_url, tmp_path):
    port = free_port()
    words = ["-m", "locust", "--locustfile", "loadtest/locustfile.py", "--host", service_url, "--web-host", "127.0.0.1"]
    locust = subprocess.Popen(
        [sys.executable, *words, "--web-port", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        page = wait_for_page(f"http://127.0.0.1:{port}")
        assert "single-stream" in page
        form = {"host": service_url, "seconds": "1", "clients": "2", "scenario": "", "out": str(tmp_path)}
        assert httpx.post(f"http://127.0.0.1:{port}/swarm", data=form).json()["success"]
        deadline = time.monotonic() + 120
        while not (tmp_path / "load.png").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert json.loads((tmp_path / "load.json").read_text())["rows"][-1]["requests"] > 0
    finally:
        locust.terminate()
        locust.wait(120)


def wait_for_page(url):
    deadline = time.monotonic() + 120
    while True:
        try:
            return httpx.get(url).text
        except httpx.TransportError:
            assert time.monotonic() < deadline, "no page"
            time.sleep(0.1)
