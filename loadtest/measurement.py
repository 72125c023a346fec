"""One measurement: a load on one form of the service, with what it cost and what the service counted meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.stats import kendalltau

from loadtest.openloop.load import Load, LoadResult, quantile
from loadtest.stages import Stages

BLOCKS = 20  # of consecutive time: requests in one queue are not independent, blocks longer than a queue nearly are
KEPT_UP = 0.97  # of the offered rate


@dataclass(frozen=True)
class Limit:
    """`percentile` (a share, 0.99) of requests within `seconds`."""

    percentile: float
    seconds: float

    @property
    def generator_seconds(self) -> float:
        """What the generator may be late at its own p99 before its run is thrown away."""
        return max(1e-3, self.seconds / 10)


@dataclass(frozen=True)
class Run:
    """The figures of one load; times in ms. An unanswered request is inf ms late, which JSON writes as Infinity.

    rate: offered, requests a second, 0 in a closed loop. slow: requests over the limit or not answered, of `count`.
    slow_shares: the share of them in each block of time. trend: the chance that latencies which do not grow would seem
    to grow so; growth: by how many ms they do, from the first quarter to the last. queue, request: per request; infer:
    per batch. cpu_cores: used by the service; background_cores: by programs that are neither service nor generator.
    rejected: why this run counts for nothing; empty if it counts.
    """

    rate: float
    achieved: float
    seconds: float
    count: int
    slow: int
    p50: float
    p95: float
    p99: float
    mean: float
    at_percentile: float
    late_p99: float
    batch_rows: float
    batches: float
    queue: float
    infer: float
    request: float
    engine_cores: float
    cpu_cores: float
    cpu_us: float
    memory_mb: float
    background_cores: float
    slow_shares: list[float] = field(default_factory=list)
    trend: float = 1.0
    growth: float = 0.0
    failed: int = 0
    rejected: str = ""

    @property
    def kept_up(self) -> bool:
        """Whether as much was answered as was offered; always in a closed loop."""
        return self.achieved >= KEPT_UP * self.rate


def figures(
    load: Load, limit: Limit, result: LoadResult, stages: Stages, cpu: float, memory: int, background: float = 0.0
) -> Run:
    """A load's result and the service's own figures as one Run.

    cpu: seconds of the service; memory: bytes; background: cores.
    """
    latency = result.latency
    slow, finite = ~(latency <= limit.seconds), latency[np.isfinite(latency)]
    trend, growth = latency_trend(result.due, latency, result.seconds) if load.rate else (1.0, 0.0)
    return Run(
        rate=load.rate,
        achieved=result.achieved,
        seconds=result.seconds,
        count=len(latency),
        slow=int(slow.sum()),
        p50=1e3 * result.quantile(0.5),
        p95=1e3 * result.quantile(0.95),
        p99=1e3 * result.quantile(0.99),
        mean=1e3 * float(finite.mean()) if len(finite) else float("inf"),
        at_percentile=1e3 * result.quantile(limit.percentile),
        late_p99=1e3 * quantile(result.late, 0.99),
        batch_rows=stages.rows,
        batches=stages.batches / result.elapsed,
        queue=1e3 * stages.mean("queue"),
        infer=1e3 * stages.mean("infer"),
        request=1e3 * stages.mean("request"),
        engine_cores=stages.infer_seconds / result.elapsed,
        cpu_cores=cpu / result.elapsed,
        cpu_us=1e6 * cpu / max(1, sum(result.statuses.values())),
        memory_mb=memory / 2**20,
        background_cores=background,
        slow_shares=[float(block.mean()) for block in blocks(result.due, slow, result.seconds)],
        trend=trend,
        growth=1e3 * growth,
        failed=len(latency) - result.answered,
        rejected=_rejected(result, limit, load.rate),
    )


def blocks(due: np.ndarray, values: np.ndarray, seconds: float) -> list[np.ndarray]:
    """The values of the requests due in each of the blocks of time; those in which none was due are left out."""
    edges = np.searchsorted(due, np.linspace(0, seconds, BLOCKS + 1)[1:-1])
    return [block for block in np.split(values, edges) if len(block)]


def latency_trend(due: np.ndarray, latency: np.ndarray, seconds: float) -> tuple[float, float]:
    """Whether latencies grow within a load, as a queue's do that never gets empty.

    The p-value of Kendall's test of the blocks' medians against their order, one-sided (H. B. Mann, Econometrica 13,
    1945); and the growth in seconds, from the median of the first quarter to that of the last.
    """
    medians = np.array([np.median(block) for block in blocks(due, latency, seconds)])
    if len(medians) < 4:
        return 1.0, 0.0
    quarter = len(medians) // 4
    growth = float(np.median(medians[-quarter:])) - float(np.median(medians[:quarter]))
    trend = float(kendalltau(range(len(medians)), medians, alternative="greater").pvalue)
    return (1.0 if np.isnan(trend) else trend), (0.0 if np.isnan(growth) else growth)


def _rejected(result: LoadResult, limit: Limit, rate: float) -> str:
    if result.wrong:
        return f"{result.wrong} of {result.checked} checked answers are wrong: {result.first_wrong}"
    if rate and (late := quantile(result.late, 0.99)) > limit.generator_seconds:
        return f"the generator was late: p99 of {1e3 * late:.1f} ms, {1e3 * limit.generator_seconds:g} ms is allowed"
    return ""
