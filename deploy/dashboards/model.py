"""One model: what is asked of it, how long it takes and where the time goes, how it batches, what it predicts."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.page import FORM, INSTANCE, MODEL, page
from deploy.dashboards.panels import heat, lines
from deploy.dashboards.promql import OF_A_MODEL, buckets, mean, quantile, quantiles, total
from deploy.objectives import Slo

STAGES = ("preprocess", "queue", "infer", "postprocess")
REGRESSOR, CLASSIFIER = "a regressor predicts no class", "a classifier predicts no value"


def dashboard(slo: Slo) -> Dashboard:
    """The dashboard of one model."""
    rows = {
        "Traffic": traffic(),
        "Latency": latency(slo),
        "Where the time goes": stages(),
        "Batches": batches(),
        "What a classifier predicts": classes(),
        "What a regressor predicts": values(),
    }
    answers = "What is asked of this model, how fast is it and why not faster, does it batch, what does it predict?"
    return page("model", "model", answers, rows, (MODEL, FORM, INSTANCE), slo.runbook)


def traffic() -> list[Any]:
    """What it is asked, and what fails."""
    return [
        lines(
            "Requests answered",
            "Per second, by form and interface: native is the model's own route, v2 the Open Inference Protocol over"
            " REST, grpc over gRPC.",
            [(total("ekiben_requests_total", OF_A_MODEL, "form, interface"), "{{form}} {{interface}}")],
            "reqps",
            8,
            stacked=True,
        ),
        lines(
            "Requests failed",
            "Per second, by reason. All reasons are exported from the start, at 0.",
            [(total("ekiben_failures_total", OF_A_MODEL, "reason"), "{{reason}}")],
            "reqps",
            8,
            stacked=True,
        ),
        lines(
            "Rows and engine calls",
            "Rows predicted per second, and the engine calls that took them (Triton: inference and execution count). "
            "The wider the gap, the larger the batches.",
            [
                (total("ekiben_batch_rows_sum", OF_A_MODEL), "rows"),
                (total("ekiben_batch_rows_count", OF_A_MODEL), "engine calls"),
            ],
            "ops",
            8,
        ),
    ]


def latency(slo: Slo) -> list[Any]:
    """How long requests take."""
    objective = slo.service_wide("latency")
    return [
        heat(
            "Latency",
            "Answered requests by how long they took; darker is more. Two bands are two kinds of requests, which a "
            "quantile would blur into one.",
            buckets("ekiben_request_seconds", OF_A_MODEL),
            "s",
        ),
        lines(
            "Latency quantiles",
            f"Of all forms chosen, and p95 of each. The line is the service's objective, {objective.within:g} s. "
            f"From 0.1 ms to 1 s they are within 15 % of the true ones.",
            [
                *quantiles("ekiben_request_seconds", OF_A_MODEL, 0.5, 0.95, 0.99),
                (quantile(0.95, "ekiben_request_seconds", OF_A_MODEL, "form"), "p95 {{form}}"),
            ],
            "s",
            log=True,
            limit=objective.within,
        ),
    ]


def stages() -> list[Any]:
    """Where that time goes."""
    return [
        lines(
            "Mean time of each stage",
            "Of a request, stacked: body to tensors, waiting for its batch, the engine's call for the whole batch, "
            "tensors to body. What is missing to the latency above is HTTP and waiting for the event loop.",
            [(mean(f"ekiben_{stage}_seconds", OF_A_MODEL), stage) for stage in STAGES],
            "s",
            8,
            stacked=True,
        ),
        lines(
            "Queue",
            "How long requests wait for their batch. It is near the time of one engine call when requests queue behind "
            "one another, and many times that when the model is saturated.",
            quantiles("ekiben_queue_seconds", OF_A_MODEL, 0.5, 0.95, 0.99),
            "s",
            8,
            log=True,
        ),
        lines(
            "Engine call",
            "Median and p95 of one call, by form. It grows with the rows of a batch; if it grows without, the cores "
            "are shared with something else.",
            [
                (quantile(0.5, "ekiben_infer_seconds", OF_A_MODEL, "form"), "median {{form}}"),
                (quantile(0.95, "ekiben_infer_seconds", OF_A_MODEL, "form"), "p95 {{form}}"),
            ],
            "s",
            8,
            log=True,
        ),
    ]


def batches() -> list[Any]:
    """How many rows an engine call takes."""
    return [
        heat(
            "Batch sizes",
            "Engine calls by their rows. All at 1 is a model with time to spare; all at the top is one whose "
            "EKIBEN_MAX_BATCH_SIZE holds it back.",
            buckets("ekiben_batch_rows", OF_A_MODEL),
            "none",
            8,
        ),
        lines(
            "Rows per engine call",
            "On average, by form: how much batching saves.",
            [(mean("ekiben_batch_rows", OF_A_MODEL, "form"), "{{form}}")],
            "none",
            8,
        ),
        lines(
            "Queue depth",
            "Rows found waiting when a batch was formed (Triton: pending). EKIBEN_MAX_QUEUE_ROWS of them, and requests "
            "are shed.",
            quantiles("ekiben_queue_depth_rows", OF_A_MODEL, 0.5, 0.95),
            "none",
            8,
        ),
    ]


def classes() -> list[Any]:
    """What it predicts, if that is a class."""
    share = (
        f"{total('ekiben_predictions_total', OF_A_MODEL, 'class')}"
        f" / scalar({total('ekiben_predictions_total', OF_A_MODEL)})"
    )
    return [
        lines(
            "Classes predicted",
            "Share of rows by class.",
            [(share, "{{class}}")],
            "percentunit",
            8,
            stacked=True,
            none=REGRESSOR,
        ),
        lines(
            "Confidence",
            "Probability of the class that was predicted: of half the rows it is below the median, of one in ten below "
            "p10. It sinks when pictures or measurements come that training has not seen.",
            quantiles("ekiben_prediction_confidence_ratio", OF_A_MODEL, 0.1, 0.5),
            "percentunit",
            8,
            none=REGRESSOR,
        ),
        lines(
            "Doubt",
            "Entropy of the probabilities over the highest that it can be: 0 % is no doubt, 100 % all classes alike.",
            quantiles("ekiben_prediction_entropy_ratio", OF_A_MODEL, 0.5, 0.9),
            "percentunit",
            8,
            none=REGRESSOR,
        ),
    ]


def values() -> list[Any]:
    """What it predicts, if that is a number."""
    return [
        heat(
            "Values predicted",
            "Rows by the value predicted, in the model's unit; the boundaries lie around those of training.",
            buckets("ekiben_prediction_value", OF_A_MODEL),
            "short",
            none=CLASSIFIER,
        ),
        lines(
            "Value quantiles",
            "Of half the rows the value is below the median.",
            [
                *quantiles("ekiben_prediction_value", OF_A_MODEL, 0.1, 0.5, 0.9),
                (mean("ekiben_prediction_value", OF_A_MODEL), "mean"),
            ],
            "short",
            none=CLASSIFIER,
        ),
    ]
