"""What V2 says of a served model: metadata, Triton's configuration, and statistics over all workers."""

from __future__ import annotations

from typing import Any

from serving.inference.dataplane import LoadedForm
from serving.inference.repository import Repository
from serving.telemetry.metrics import REASONS

_PLATFORMS = {"pytorch": "pytorch", "sklearn": "sklearn"}


def metadata(name: str, served: LoadedForm) -> dict[str, Any]:
    return {
        "name": name,
        "versions": [served.version],
        "platform": _PLATFORMS.get(served.form, "onnxruntime_onnx"),
        **served.signature.as_dict(),
    }


def configuration(name: str, served: LoadedForm, repository: Repository) -> dict[str, Any]:
    def tensors(described: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": t.name,
                "data_type": f"TYPE_{t.datatype}",
                "dims": list(t.shape[1:]) or [1],
                **({} if t.shape[1:] else {"reshape": {"shape": []}}),
            }
            for t in described
        ]

    settings = repository.settings
    return {
        "name": name,
        "platform": _PLATFORMS.get(served.form, "onnxruntime_onnx"),
        "backend": "onnxruntime" if served.form not in _PLATFORMS else served.form,
        "max_batch_size": settings.max_batch_size,
        "input": tensors(served.signature.inputs),
        "output": tensors(served.signature.outputs),
        "dynamic_batching": {
            "max_queue_delay_microseconds": settings.queue_delay_us,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": int(settings.max_latency_ms * 1000),
                "max_queue_size": settings.max_queue_rows,
            },
        },
        "instance_group": [{"kind": "KIND_CPU", "count": settings.workers}],
        "parameters": {"form": {"string_value": served.form}, "tag": {"string_value": served.stored.tag}},
    }


def all_statistics(repository: Repository) -> list[dict[str, Any]]:
    return [statistics(name, served, repository) for name, served in sorted(repository.served.items())]


def statistics(name: str, served: LoadedForm, repository: Repository) -> dict[str, Any]:
    """What Triton's statistics extension counts, over all workers; durations in nanoseconds."""
    repository.flush()
    totals = repository.families.totals()
    key = (served.stored.model, served.form, served.version)

    def total(sample: str, *further: str) -> float:
        return totals.get((sample, (*key, *further)), 0.0)

    def duration(family: str, *further: str) -> dict[str, int]:
        return {
            "count": int(sum(total(f"{family}_count", *f) for f in _each(further))),
            "ns": int(sum(total(f"{family}_sum", *f) for f in _each(further)) * 1e9),
        }

    answered = duration("ekiben_postprocess_seconds")
    engine_calls = total("ekiben_infer_seconds_count")
    # Triton counts an engine call once for each request in it.
    per_call = total("ekiben_infer_seconds_sum") / engine_calls if engine_calls else 0.0
    failures = {reason: int(total("ekiben_failures_total", reason)) for reason in REASONS}
    return {
        "name": name,
        "version": served.version,
        "last_inference": 0,
        "inference_count": int(total("ekiben_batch_rows_sum")),
        "execution_count": int(total("ekiben_batch_rows_count")),
        "inference_stats": {
            "success": duration("ekiben_request_seconds", "v2", "native", "grpc"),
            "fail": {"count": sum(failures.values()), "ns": 0},
            "queue": duration("ekiben_queue_seconds"),
            # As many as were answered: perf_analyzer has the three counts be one, also while requests are under way.
            "compute_input": {**duration("ekiben_preprocess_seconds"), "count": answered["count"]},
            "compute_infer": {"count": answered["count"], "ns": int(answered["count"] * per_call * 1e9)},
            "compute_output": answered,
            "cache_hit": {"count": 0, "ns": 0},
            "cache_miss": {"count": 0, "ns": 0},
        },
        "batch_stats": [],
        # Beside what Triton says: why requests failed, and the rows that wait in the worker that answers this.
        "failures": failures,
        "pending_rows": served.runner.pending,
    }


def _each(further: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [(label,) for label in further] or [()]
