"""Runs as measurements would give them, for tests that need no service."""

from typing import Any

from loadtest.measurement import Run

PLAIN = Run(
    rate=100.0, achieved=100.0, seconds=2.0, count=1000, slow=0, p50=1.0, p95=2.0, p99=3.0, mean=1.2,
    at_percentile=3.0, late_p99=0.1, batch_rows=2.0, batches=50.0, queue=0.1, infer=0.02, request=0.4,
    engine_cores=0.1, cpu_cores=0.5, cpu_us=50.0, memory_mb=150.0, background_cores=0.0, slow_shares=[0.0] * 20,
)  # fmt: skip


def run(**more: Any) -> Run:
    return Run(**{**vars(PLAIN), **more})
