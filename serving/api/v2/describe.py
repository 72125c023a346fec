"""What V2 says of a served model: metadata, Triton's configuration, and statistics over all workers."""

from __future__ import annotations

from typing import Any

from bentos.contract import Tensor
from serving.inference.dataplane import LoadedForm
from serving.inference.repository import Repository
from serving.telemetry.metrics import REASONS

_PLATFORMS = {"pytorch": "pytorch", "sklearn": "sklearn"}


def metadata(name: str, served: LoadedForm) -> dict[str, Any]:
    """As V2 has it: name, versions, platform, and inputs and outputs with −1 for open dimensions."""
    return {
        "name": name,
        "versions": [served.version],
        "platform": _PLATFORMS.get(served.form, "onnxruntime_onnx"),
        **served.signature.as_dict(),
    }


def configuration(name: str, served: LoadedForm, repository: Repository) -> dict[str, Any]:
    """As Triton has it. Of requests that are never joined, and of a batch that does not come first, max_batch_size is 0
    and the shapes are whole; so Triton says it, and its clients then send whole shapes.
    """
    signature, settings = served.signature, repository.settings
    batch_first = all(axis == 0 for axis in (*signature.input_axes, *signature.output_axes))
    queue_policy = {
        "timeout_action": "REJECT",
        "default_timeout_microseconds": int(settings.latency_ms(served.model.name) * 1000),
        "max_queue_size": settings.max_queue_rows,
    }
    batching = {
        "max_queue_delay_microseconds": settings.queue_delay_us,
        "default_queue_policy": queue_policy,
    }
    return {
        "name": name,
        "platform": _PLATFORMS.get(served.form, "onnxruntime_onnx"),
        "backend": "onnxruntime" if served.form not in _PLATFORMS else served.form,
        "max_batch_size": served.max_batch_size if batch_first else 0,
        "input": [_tensor(tensor, batch_first) for tensor in signature.inputs],
        "output": [_tensor(tensor, batch_first) for tensor in signature.outputs],
        **({"dynamic_batching": batching} if signature.batched else {}),
        "instance_group": [{"kind": "KIND_CPU", "count": settings.workers}],
        "parameters": {
            "form": {"string_value": served.form},
            "tag": {"string_value": served.stored.tag},
            "batched": {"string_value": str(signature.batched).lower()},
        },
    }


def _tensor(tensor: Tensor, batch_first: bool) -> dict[str, Any]:
    dims = list(tensor.sizes[1:] if batch_first else tensor.sizes)
    kind = "STRING" if tensor.datatype == "BYTES" else tensor.datatype
    reshape: dict[str, Any] = {} if dims else {"reshape": {"shape": []}}
    return {"name": tensor.name, "data_type": f"TYPE_{kind}", "dims": dims or [1], **reshape}


def all_statistics(repository: Repository) -> list[dict[str, Any]]:
    """`statistics` of every name that is served, in alphabetical order."""
    return [statistics(name, served, repository) for name, served in sorted(repository.served.items())]


def statistics(name: str, served: LoadedForm, repository: Repository) -> dict[str, Any]:
    """What Triton's statistics extension counts, over all workers; durations in nanoseconds."""
    repository.flush()
    totals = repository.families.totals()
    key = (served.stored.model, served.form, served.version)

    def total(sample: str, *further: str) -> float:
        return totals.get((sample, (*key, *further)), 0.0)

    def duration(family: str) -> dict[str, int]:
        return {"count": int(total(f"{family}_count")), "ns": int(total(f"{family}_sum") * 1e9)}

    answered = duration("ekiben_postprocess_seconds")
    engine_calls = total("ekiben_infer_seconds_count")
    # Triton counts an engine call once for each request in it.
    per_call = total("ekiben_infer_seconds_sum") / engine_calls if engine_calls else 0.0
    failures = {reason: int(total("ekiben_failures_total", reason)) for reason in REASONS}
    return {
        "name": name,
        "version": served.version,
        "last_inference": int(total("ekiben_last_answer_timestamp_seconds") * 1e3),
        "inference_count": int(total("ekiben_batch_rows_sum")),
        "execution_count": int(total("ekiben_batch_rows_count")),
        "inference_stats": {
            "success": duration("ekiben_request_seconds"),
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
