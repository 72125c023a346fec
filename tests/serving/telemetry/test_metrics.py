"""What the service counts: predictions, inputs, which form is served, processes; exactly, and in a bounded number."""

import asyncio
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, fields, replace

import httpx
import numpy as np
import psutil
import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from bentos.certificate import FormFile
from bentos.certificate import Histogram as Reference
from bentos.contract import Field, Fields, Model, Signature, Tensor
from serving.telemetry.buffers import HistogramBuffer, bounded
from serving.telemetry.drift import ELEMENTS, FULL_ELEMENTS, FULL_ROWS, DriftMonitor
from serving.telemetry.flusher import MetricsFlusher
from serving.telemetry.metrics import INTERFACES, MAX_BUFFERED_REQUESTS, Metrics, Recorder
from serving.telemetry.predictions import CLASSES, OTHER, boundaries, entropy
from serving.telemetry.resources import Resources
from tests.certificates import certificate

FEATURES = Tensor("x", "FP32", (-1, 2))
CLASSIFIER = Model(
    name="m",
    title="M",
    doc="",
    verb="v",
    payload=Fields((Field("a", "", 0, 9, 1), Field("b", "", 0, 9, 1, nullable=True))),
    signature=Signature((FEATURES,), (Tensor("probabilities", "FP32", (-1, 2)),)),
    labels=("no", "yes"),
)
REGRESSOR = replace(CLASSIFIER, labels=(), signature=Signature((FEATURES,), (Tensor("price", "FP32", (-1, 1)),)))
HALVES = Reference((0.5, 0.5), edges=(1.0,))
CERTIFICATE = certificate(
    file=FormFile("model.onnx", "0123456789ab" + "0" * 52, 753),
    reference={
        "input:a": HALVES,
        "input:b": HALVES,
        "prediction:class": Reference((0.7, 0.3), classes=("no", "yes")),
        "prediction:confidence": HALVES,
    },
)
PRICED = {"input:a": HALVES, "prediction:value": Reference((0.25,) * 4, edges=(100.0, 150.0, 200.0))}


def samples(families):
    """(sample name, labels beyond model, form and version, as sorted text) → value"""
    found = {}
    for family in text_string_to_metric_families(families.text().decode()):
        for sample in family.samples:
            further = {k: v for k, v in sample.labels.items() if k not in ("model", "form", "version")}
            found[(sample.name, " ".join(f"{k}={v}" for k, v in sorted(further.items())))] = sample.value
    return found


def watched(model, certificate, inputs, outputs):
    families = Metrics()
    watch = DriftMonitor(model, certificate, families)
    watch.add([np.array(inputs, np.float32)], [np.array(outputs, np.float32)])
    watch.flush()
    return samples(families)


def test_predictions_are_counted_by_class_and_by_how_sure_they_are():
    found = watched(CLASSIFIER, CERTIFICATE, [[1, 1]] * 4, [[1, 0], [0.5, 0.5], [0.04, 0.96], [0.3, 0.7]])
    assert found["ekiben_predictions_total", "class=no"] == 2
    assert found["ekiben_predictions_total", "class=yes"] == 2
    confident = {le: found["ekiben_prediction_confidence_ratio_bucket", f"le={le}"] for le in ("0.5", "0.7", "0.95")}
    assert confident == {"0.5": 1, "0.7": 2, "0.95": 2}
    assert found["ekiben_prediction_confidence_ratio_sum", ""] == pytest.approx(3.16)
    assert found["ekiben_prediction_entropy_ratio_bucket", "le=0.001"] == 1  # the one that is certain
    assert found["ekiben_prediction_entropy_ratio_count", ""] == 4


def test_entropy_is_0_for_a_certain_class_and_1_for_classes_all_alike():
    rows = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
    assert entropy(rows) == pytest.approx([0, 1, 0.5], abs=1e-9)


def test_classes_beyond_the_limit_share_one_series():
    labels = tuple(f"c{i}" for i in range(CLASSES + 50))
    model = replace(CLASSIFIER, labels=labels)
    shares = Reference((1 / len(labels),) * len(labels), classes=labels)
    many = replace(CERTIFICATE, reference={**CERTIFICATE.reference, "prediction:class": shares})
    found = watched(model, many, [[1, 1]] * len(labels), np.eye(len(labels)))
    counted = {further: value for (name, further), value in found.items() if name == "ekiben_predictions_total"}
    assert len(counted) == CLASSES + 1 and counted[f"class={OTHER}"] == 50


def test_a_regressors_values_have_boundaries_around_those_of_training():
    found = watched(REGRESSOR, replace(CERTIFICATE, reference=PRICED), [[1, 1]] * 3, [[90.0], [160.0], [1000.0]])
    buckets = {
        further.removeprefix("le="): value
        for (name, further), value in found.items() if name == "ekiben_prediction_value_bucket"
    }  # fmt: skip
    assert [buckets[le] for le in ("87.5", "100.0", "150.0", "162.0", "350.0", "+Inf")] == [0, 1, 1, 2, 2, 3]


def test_boundaries_of_a_price_are_not_negative_and_a_constant_has_some():
    assert min(boundaries([1.0, 2.0, 9.0])) >= 0
    assert min(boundaries([-1.0, 9.0])) < -1
    assert len(boundaries([5.0])) > 10 and len(boundaries([])) == 1


def test_two_models_of_one_histogram_have_each_their_own_boundaries():
    registry = CollectorRegistry()
    histogram = Histogram("value", "", ["model"], buckets=(0.0,), registry=registry)
    for model, buckets in {"a": [1.0, 2.0], "b": [1e6, 2e6]}.items():
        binned = HistogramBuffer(bounded(histogram, (model,), buckets))
        binned.add(np.array([1.5, 1.5e6]))
        binned.flush()
    assert registry.get_sample_value("value_bucket", {"model": "a", "le": "2.0"}) == 1
    assert registry.get_sample_value("value_bucket", {"model": "b", "le": "1e+06"}) == 1
    assert registry.get_sample_value("value_bucket", {"model": "b", "le": "2e+06"}) == 2
    assert registry.get_sample_value("value_bucket", {"model": "a", "le": "1e+06"}) is None


def test_observing_many_is_observing_each():
    values = np.random.default_rng(0).choice([0.5, 1.0, 1.5, 2.0, 7.0], 100)
    families = [Histogram("h", "", buckets=(1.0, 2.0), registry=CollectorRegistry()) for _ in range(2)]
    binned = HistogramBuffer(families[0])
    binned.add(values[:30])
    binned.add(values[30:])
    binned.flush()
    for value in values:
        families[1].observe(value)
    one, other = ([s.value for s in f.collect()[0].samples if not s.name.endswith("_created")] for f in families)
    assert one == pytest.approx(other)


def test_inputs_are_summed_and_what_no_page_would_take_is_counted():
    inputs = [[1, np.nan], [9, 4], [-0.5, 100], [30, np.nan]]
    found = watched(CLASSIFIER, CERTIFICATE, inputs, [[1, 0]] * 4)
    assert (
        found["ekiben_input_value_count", "quantity=input:a"] == 4
        and found["ekiben_input_value_sum", "quantity=input:a"] == 39.5
    )
    assert (
        found["ekiben_input_value_count", "quantity=input:b"] == 2
        and found["ekiben_input_value_sum", "quantity=input:b"] == 104
    )
    assert found["ekiben_input_out_of_range_total", "quantity=input:a"] == 2
    assert found["ekiben_input_out_of_range_total", "quantity=input:b"] == 1
    assert found["ekiben_drift_observed_total", "bin=missing quantity=input:b"] == 2


def test_rows_that_are_left_out_are_said():
    families = Metrics()
    watch = DriftMonitor(CLASSIFIER, CERTIFICATE, families)
    for _ in range(4):
        watch.add([np.ones((ELEMENTS // 4, 2), np.float32)], [np.ones((ELEMENTS // 4, 2), np.float32)])
    watch.flush()
    assert samples(families)["ekiben_unwatched_rows_total", ""] == 2 * (ELEMENTS // 4)


@pytest.mark.parametrize("rows, columns", [(FULL_ROWS // 4, 2), (4, FULL_ELEMENTS // 16)])
def test_what_is_full_is_binned_between_two_turns_of_the_loop_and_counted_once(rows, columns):
    families = Metrics()
    watch = DriftMonitor(CLASSIFIER, CERTIFICATE, families)

    async def observed():
        binning = MetricsFlusher(Recorder(families, ("m", "onnx", "1")), watch)
        seen = []
        for _ in range(5):
            binning.observe([np.ones((rows, columns), np.float32)], [np.ones((rows, 2), np.float32)])
            before = watch.full
            await asyncio.sleep(0)
            seen.append((before, watch.full))
        return seen

    assert asyncio.run(observed()) == [(False, False)] * 3 + [(True, False), (False, False)]
    watch.flush()
    assert samples(families)["ekiben_drift_observed_total", "bin=00 quantity=input:a"] == 5 * rows


def test_a_full_recorder_and_a_full_watch_are_binned_in_turns_of_their_own():
    async def observed():
        families = Metrics()
        recorder, watch = Recorder(families, ("m", "onnx", "1")), DriftMonitor(CLASSIFIER, CERTIFICATE, families)
        binning = MetricsFlusher(recorder, watch)
        recorder.queue.extend([1e-3] * MAX_BUFFERED_REQUESTS)
        seen = []
        for rows in (FULL_ROWS, 1):
            binning.observe([np.ones((rows, 2), np.float32)], [np.ones((rows, 2), np.float32)])
            before = watch.full, recorder.full
            await asyncio.sleep(0)
            seen.append((before, (watch.full, recorder.full)))
        return seen

    both, one, none = (True, True), (False, True), (False, False)
    assert asyncio.run(observed()) == [(both, one), (one, none)]


@pytest.mark.parametrize("interface", INTERFACES)
def test_an_answer_over_any_interface_is_written_at_the_next_count(interface):
    families = Metrics()
    recorder = Recorder(families, ("m", "onnx", "1"))
    assert not recorder.holds
    getattr(recorder, interface).append(1e-3)
    assert recorder.holds
    recorder.flush()
    assert samples(families)["ekiben_requests_total", f"interface={interface}"] == 1 and not recorder.holds


def test_batches_that_differ_in_shape_are_watched_all_the_same():
    @dataclass(frozen=True)
    class Means(Model):
        def watched(self, inputs):
            return {"a": inputs["x"].mean(1), "b": inputs["x"].mean(1)}

    described = {field.name: getattr(CLASSIFIER, field.name) for field in fields(CLASSIFIER)}
    signature = Signature((Tensor("x", "FP32", (-1, "n")),), CLASSIFIER.signature.outputs)
    families = Metrics()
    watch = DriftMonitor(Means(**{**described, "signature": signature}), CERTIFICATE, families)
    for length in (2, 3, 2):
        watch.add([np.ones((4, length), np.float32)], [np.full((4, 2), 0.5, np.float32)])
    watch.flush()
    assert samples(families)["ekiben_drift_observed_total", "bin=00 quantity=input:a"] == 12


def test_which_form_is_served_and_since_when():
    families = Metrics()
    DriftMonitor(CLASSIFIER, CERTIFICATE, families)
    found = samples(families)
    assert found["ekiben_model_info", "framework=sklearn sha256=0123456789ab"] == 1
    assert found["ekiben_model_created_timestamp_seconds", ""] == 1767225600


def test_the_cost_of_recording_is_recorded():
    families = Metrics()
    before = samples(families)["ekiben_recording_seconds_total", ""]

    async def observed():
        binning = MetricsFlusher(
            Recorder(families, ("m", "onnx", "1")), DriftMonitor(CLASSIFIER, CERTIFICATE, families)
        )
        binning.observe([np.ones((10_000, 2), np.float32)], [np.ones((10_000, 2), np.float32)])
        binning.flush()

    asyncio.run(observed())
    assert samples(families)["ekiben_recording_seconds_total", ""] > before == 0


def resources():
    return {(s.name, *s.labels.values()): s.value for family in Resources().collect() for s in family.samples}


def test_a_process_alone_is_worker_0(monkeypatch):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    found, me = resources(), psutil.Process()
    assert {key[1] for key in found if key[0].startswith("process_")} == {"worker-0"}
    assert found["process_start_time_seconds", "worker-0"] == pytest.approx(me.create_time())
    assert found["process_resident_memory_bytes", "worker-0"] == pytest.approx(me.memory_info().rss, rel=0.2)
    with open(os.devnull) as _:
        assert resources()["process_open_fds", "worker-0"] == found["process_open_fds", "worker-0"] + 1
    assert found["ekiben_network_receive_bytes_total", "loopback"] >= 0


def test_a_fleet_is_its_living_workers_and_their_supervisor(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "worker-7.pid").write_text(str(gone.pid))
    (tmp_path / "worker-8.pid").write_text("1")  # a stranger that has a dead worker's number
    (tmp_path / "worker-9.pid").write_text("")  # is being written
    found = resources()
    assert {key[1] for key in found if key[0] == "process_cpu_seconds_total"} == {"supervisor", "worker-0"}
    assert found["process_start_time_seconds", "supervisor"] == pytest.approx(psutil.Process().parent().create_time())
    disk = shutil.disk_usage(tmp_path)
    for holds in ("models", "metrics"):
        assert found["ekiben_disk_size_bytes", holds] == disk.total
        assert 0 < found["ekiben_disk_free_bytes", holds] <= disk.total


def test_the_running_service_exports_them_all_and_no_client_mints_a_series(service_url):
    def series(text):
        return {line.rpartition(" ")[0] for line in text.splitlines() if line and line[0] != "#"}

    with httpx.Client(base_url=service_url) as client:
        client.get("/iris/random")
        before = client.get("/metrics").text
        for i in range(20):
            client.get(f"/strange/{i}")
            client.post(f"/v2/models/strange{i}/infer", json={"inputs": []})
            client.post("/iris/classify", json={f"strange{i}": i})
        after = client.get("/metrics").text
    assert series(after) == series(before)
    exported = {name.partition("{")[0] for name in series(after)}
    for family in Metrics().registry.collect():
        assert family.name == "ekiben_faults" or any(name.startswith(family.name) for name in exported), family.name
    if promtool := shutil.which("promtool"):
        done = subprocess.run([promtool, "check", "metrics"], input=after, text=True, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    elif os.environ.get("CI") == "true":
        pytest.fail("CI=true, but promtool is not installed")
