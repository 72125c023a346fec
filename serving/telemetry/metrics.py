"""What the service counts. The hot path only appends to lists; they are binned when full, and at each flush: once a
second, and at each scrape.

Everything is a counter or a histogram in base units, so that workers and replicas add up exactly. Labels are model,
form and version (and a reason or an interface, of few words), never a path or a client's word. prometheus_client keeps
the values in files that all workers share, so any worker can answer for all.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.values import ValueClass

from bentos.certificate import Certificate
from serving.errors import ServingError
from serving.telemetry.buffers import CounterBuffer, HistogramBuffer
from serving.telemetry.dead import scraping
from serving.telemetry.resources import Resources

SERVED = ("model", "form", "version")
# Between 0.1 ms and 1 s the preferred numbers of ISO 3, R20: neighbours differ by 14.3 % at most, so that a quantile is
# no further from the true one, however Prometheus interpolates.
REQUEST_SECONDS = (
    5e-05, 7.1e-05,
    0.0001, 0.000112, 0.000125, 0.00014, 0.00016, 0.00018, 0.0002, 0.000224, 0.00025, 0.00028,
    0.000315, 0.000355, 0.0004, 0.00045, 0.0005, 0.00056, 0.00063, 0.00071, 0.0008, 0.0009,
    0.001, 0.00112, 0.00125, 0.0014, 0.0016, 0.0018, 0.002, 0.00224, 0.0025, 0.0028,
    0.00315, 0.00355, 0.004, 0.0045, 0.005, 0.0056, 0.0063, 0.0071, 0.008, 0.009,
    0.01, 0.0112, 0.0125, 0.014, 0.016, 0.018, 0.02, 0.0224, 0.025, 0.028,
    0.0315, 0.0355, 0.04, 0.045, 0.05, 0.056, 0.063, 0.071, 0.08, 0.09,
    0.1, 0.112, 0.125, 0.14, 0.16, 0.18, 0.2, 0.224, 0.25, 0.28,
    0.315, 0.355, 0.4, 0.45, 0.5, 0.56, 0.63, 0.71, 0.8, 0.9,
    1.0, 1.6, 2.5, 5.0, 10.0,
)  # fmt: skip
# Stages are read as means and shares: coarser, for there are four of each form.
STAGE_SECONDS = (
    1e-05, 2.5e-05, 5e-05, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
CONFIDENCE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)
ENTROPY = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REASONS = ("bad_input", "cancelled", "engine", "not_ready", "shed", "timeout")
# Requests that are held before they are binned: a third of a millisecond.
MAX_BUFFERED_REQUESTS = 1000
STAGES = ("queue", "preprocess", "infer", "postprocess")
INTERFACES = ("native", "v2", "grpc")


class Metrics:
    """The metric families of one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._resources = CollectorRegistry()
        self._resources.register(Resources())

        def counter(name: str, doc: str, *labels: str) -> Counter:
            return Counter(name, doc, labels, registry=registry)

        def histogram(name: str, doc: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, doc, (*SERVED, *labels), buckets=buckets, registry=registry)

        def gauge(name: str, doc: str, *labels: str) -> Gauge:
            return Gauge(name, doc, labels, registry=registry, multiprocess_mode="max")

        self.request = histogram(
            "ekiben_request_seconds",
            "Answered requests, from the first byte to the answer written",
            REQUEST_SECONDS,
        )
        self.requests = counter("ekiben_requests_total", "Answered requests, by interface", *SERVED, "interface")
        self.stages = {
            "queue": histogram("ekiben_queue_seconds", "Time of a request in the batch queue", STAGE_SECONDS),
            "preprocess": histogram("ekiben_preprocess_seconds", "Body to tensors, per request", STAGE_SECONDS),
            "infer": histogram("ekiben_infer_seconds", "Engine time, per batch", STAGE_SECONDS),
            "postprocess": histogram("ekiben_postprocess_seconds", "Tensors to body, per request", STAGE_SECONDS),
        }
        self.batch = histogram("ekiben_batch_rows", "Rows of an engine call", ROWS)
        self.depth = histogram("ekiben_queue_depth_rows", "Rows found waiting when a batch was formed", ROWS)
        self.last = gauge(
            "ekiben_last_answer_timestamp_seconds", "When a request was last answered, in seconds since 1970", *SERVED
        )
        self.failures = counter("ekiben_failures_total", "Requests answered with an error", *SERVED, "reason")

        self.predictions = counter("ekiben_predictions_total", "Rows by the class predicted", *SERVED, "class")
        self.confidence = histogram(
            "ekiben_prediction_confidence_ratio", "Probability of the class predicted, per row", CONFIDENCE
        )
        self.entropy = histogram(
            "ekiben_prediction_entropy_ratio", "Doubt between the classes, per row: 0 none, 1 all alike", ENTROPY
        )
        self.value = histogram(
            "ekiben_prediction_value", "Value predicted, per row, in the model's unit", (0.0,)
        )  # boundaries: `bounded`
        quantity, bins = ("model", "version", "quantity"), ("model", "version", "quantity", "bin")
        self.inputs = Summary("ekiben_input_value", "Value of an input that is there", quantity, registry=registry)
        self.out_of_range = counter(
            "ekiben_input_out_of_range_total", "Values of an input outside what the model's page allows", *quantity
        )
        self.unwatched = counter(
            "ekiben_unwatched_rows_total", "Rows answered that predictions, inputs and drift leave out", *SERVED
        )
        self.drift_observed = counter(
            "ekiben_drift_observed_total", "Rows whose quantity fell into this bin of training", *bins
        )
        self.drift_reference = gauge("ekiben_drift_reference_ratio", "Share of training's rows in this bin", *bins)
        self.drift_rows = gauge("ekiben_drift_reference_rows", "Rows that the reference was taken from", *quantity)

        self.info = gauge("ekiben_model_info", "1 for a form that is served", *SERVED, "framework", "sha256")
        self.created = gauge(
            "ekiben_model_created_timestamp_seconds", "When the certificate was issued, in seconds since 1970", *SERVED
        )
        self.refused = gauge("ekiben_form_refused", "1 for a form whose certificate or file was refused", *SERVED)
        self.faults = gauge("ekiben_faults", "Faults on purpose that are in force", "kind")
        self.workers = gauge("ekiben_workers", "Worker processes that this service is set to run")
        self.heartbeats = counter(
            "ekiben_worker_heartbeats_total", "Seconds that a worker's event loop has turned", "worker"
        )
        self.loop_lag = Histogram(
            "ekiben_loop_lag_seconds",
            "How late a timer comes that an event loop is due to call every 20 ms",
            buckets=LAG_SECONDS,
            registry=registry,
        )
        self.recording = counter(
            "ekiben_recording_seconds_total",
            "CPU time of binning what these metrics are made of, as far as they can know",
        )

    def describe(self, certificate: Certificate) -> None:
        """Export which form of which version is served, and when it was made."""
        labels = [certificate.model, certificate.form, certificate.version]
        self.info.labels(*labels, certificate.framework, certificate.file.sha256[:12]).set(1)
        self.created.labels(*labels).set(datetime.fromisoformat(certificate.issued).timestamp())

    def totals(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """(sample name, (model, form, version, further label if any)) → value, over all workers."""
        totals: dict[tuple[str, tuple[str, ...]], float] = {}
        with self._undisturbed():
            families = list(self._everything().collect())
        for family in families:
            for sample in family.samples:
                if family.name.startswith("ekiben_") and "le" not in sample.labels:
                    further = [sample.labels[name] for name in ("interface", "reason") if name in sample.labels]
                    key = (sample.name, (*(sample.labels.get(name, "") for name in SERVED), *further))
                    totals[key] = totals.get(key, 0.0) + sample.value
        return totals

    def text(self) -> bytes:
        """Prometheus text: ours, BentoML's own, and of the processes."""
        with self._undisturbed():
            ours = generate_latest(self._everything())
        return ours + generate_latest(self._resources)

    def _undisturbed(self) -> contextlib.AbstractContextManager[None]:
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        return scraping(Path(folder)) if folder and ValueClass.__name__ == "MmapedValue" else contextlib.nullcontext()

    def _everything(self) -> CollectorRegistry:
        """All workers' metrics where BentoML started a fleet, else this process's."""
        if ValueClass.__name__ != "MmapedValue":
            return self.registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry


@dataclass
class Recorder:
    """The lists that one served form appends to, in seconds and rows."""

    families: Metrics
    labels: tuple[str, str, str]
    v2: list[float] = field(default_factory=list)
    native: list[float] = field(default_factory=list)
    grpc: list[float] = field(default_factory=list)
    queue: list[float] = field(default_factory=list)
    preprocess: list[float] = field(default_factory=list)
    infer: list[float] = field(default_factory=list)
    postprocess: list[float] = field(default_factory=list)
    batch: list[float] = field(default_factory=list)
    depth: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        families, labels = self.families, self.labels
        # From the start: a rate misses the first value of a series.
        self._failures = {reason: families.failures.labels(*labels, reason) for reason in REASONS}
        self._failed = dict.fromkeys(REASONS, 0)
        self._binned_since = False  # whether buffers hold what is not written
        self._answered = CounterBuffer([families.requests.labels(*labels, name) for name in INTERFACES])
        self._request = HistogramBuffer(families.request.labels(*labels))
        self._last = families.last.labels(*labels)
        histograms = [
            *((getattr(self, stage), families.stages[stage].labels(*labels)) for stage in STAGES),
            (self.batch, families.batch.labels(*labels)),
            (self.depth, families.depth.labels(*labels)),
        ]
        self._binned = [(values, HistogramBuffer(histogram)) for values, histogram in histograms]

    def failed(self, error: Exception) -> None:
        """Count an error by its reason; one that nobody foresaw is the engine's."""
        self._failed[error.reason if isinstance(error, ServingError) else ServingError.reason] += 1

    @property
    def full(self) -> bool:
        """Whether so much is held that binning it begins to hold requests up."""
        return len(self.queue) >= MAX_BUFFERED_REQUESTS

    @property
    def holds(self) -> bool:
        """Whether anything is counted that is not written."""
        answered = self.v2 or self.native or self.grpc
        return bool(self._binned_since or self.queue or answered or any(self._failed.values()))

    def bin(self) -> None:
        """Count what the lists hold by bucket."""
        self._binned_since = True
        answered = [_taken(getattr(self, name)) for name in INTERFACES]
        self._answered.add(np.array([len(seconds) for seconds in answered]))
        for seconds in answered:
            self._request.add(seconds)
        for values, binned in self._binned:
            if values:
                binned.add(_taken(values))

    def flush(self) -> None:
        """Bring the histograms up to now."""
        self.bin()
        self._binned_since = False
        if self._answered.any():
            self._last.set(datetime.now(UTC).timestamp())
        self._answered.flush()
        self._request.flush()
        for _, binned in self._binned:
            binned.flush()
        for reason, count in self._failed.items():
            if count:
                self._failures[reason].inc(count)
                self._failed[reason] = 0


def _taken(values: list[float]) -> np.ndarray:
    """What the list held, which is empty then. (n,) float64"""
    snapshot = values[:]
    del values[: len(snapshot)]
    return np.fromiter(snapshot, np.float64, len(snapshot))
