"""Which models must answer for the process to be ready, and when what forms have counted is written."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from serving.errors import SettingsError
from serving.inference.repository import COUNT_SECONDS, COUNTS_A_FLUSH, Repository
from serving.settings import Settings
from serving.telemetry.drift import DriftMonitor
from serving.telemetry.flusher import MetricsFlusher
from serving.telemetry.metrics import INTERFACES, REASONS, Metrics, Recorder
from tests.serving.telemetry.test_metrics import CERTIFICATE, CLASSIFIER, samples

LABELS = ("m", "onnx", "1")


class Form:
    """A served form as far as the repository's timer knows it."""

    def __init__(self, families):
        self.recorder = Recorder(families, LABELS)
        binning = MetricsFlusher(self.recorder, DriftMonitor(CLASSIFIER, CERTIFICATE, families))
        self.flush, self.count = binning.flush, binning.count


def answer(recorder):
    recorder.v2.append(1e-3)
    recorder.queue.append(1e-4)


async def test_what_was_answered_is_written_ten_times_a_second(monkeypatch):
    repository = Repository(Settings(), Metrics())
    form = Form(repository.families)
    monkeypatch.setattr(repository, "every_form", lambda: [form])
    pauses = []

    class Loop:
        def call_later(self, seconds, callback, *arguments):
            pauses.append(seconds)
            self.due = lambda: callback(*arguments)

    loop = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    repository.keep_flushing(1)
    for turn in range(1, COUNTS_A_FLUSH + 1):
        answer(form.recorder)
        form.recorder.failed(ValueError())
        loop.due()
        counted = samples(repository.families)
        assert counted["ekiben_requests_total", "interface=v2"] == turn
        assert counted["ekiben_request_seconds_count", ""] == turn
        assert counted["ekiben_failures_total", "reason=engine"] == turn
        assert counted["ekiben_worker_heartbeats_total", "worker=1"] == 1 + turn // COUNTS_A_FLUSH
    assert set(pauses) == {COUNT_SECONDS} == {0.1}


def test_a_recorder_knows_whether_anything_is_not_written():
    recorder = Recorder(Metrics(), LABELS)
    assert not recorder.holds
    answer(recorder)
    assert recorder.holds
    recorder.bin()
    assert recorder.holds  # in buffers, which die with the process
    recorder.flush()
    assert not recorder.holds
    recorder.failed(ValueError())
    assert recorder.holds


def test_all_series_of_a_form_are_there_at_0_before_its_first_request():
    families = Metrics()
    Recorder(families, LABELS)
    counted = samples(families)
    assert [counted["ekiben_requests_total", f"interface={name}"] for name in INTERFACES] == [0] * len(INTERFACES)
    assert [counted["ekiben_failures_total", f"reason={reason}"] for reason in REASONS] == [0] * len(REASONS)
    assert counted["ekiben_request_seconds_bucket", "le=1.0"] == 0 == counted["ekiben_request_seconds_count", ""]


def test_when_it_was_last_answered_is_known_once_something_was():
    families = Metrics()
    recorder = Recorder(families, LABELS)
    recorder.failed(ValueError())
    recorder.flush()
    assert samples(families)["ekiben_last_answer_timestamp_seconds", ""] == 0
    began = datetime.now(UTC).timestamp()
    answer(recorder)
    recorder.flush()
    last = samples(families)["ekiben_last_answer_timestamp_seconds", ""]
    assert last >= began
    recorder.failed(ValueError())
    recorder.flush()
    assert samples(families)["ekiben_last_answer_timestamp_seconds", ""] == last
    assert families.totals()["ekiben_last_answer_timestamp_seconds", LABELS] == last


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)


def repository(ready):
    """One in which iris answers and wine is refused."""
    box = Repository(Settings(ready=ready), Metrics())
    box.served["iris"] = SimpleNamespace(model=SimpleNamespace(name="iris", verb="classify", routes=()))
    box.refused["wine-onnx"] = SimpleNamespace(model="wine")
    return box


@pytest.mark.parametrize(
    ("setting", "ready"), [("all", False), ("any", True), ("iris", True), ("wine", False), ("iris, wine", False)]
)
def test_a_refused_model_counts_as_is_set(setting, ready):
    assert repository(setting).ready is ready


def test_nothing_served_is_never_ready():
    box = repository("any")
    box.served.clear()
    assert not box.ready


def test_a_model_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("serving.inference.repository.stored_forms", lambda *_: [])
    with pytest.raises(SettingsError, match="EKIBEN_READY names digit; there is all, any, iris, wine"):
        repository("digit").load()
