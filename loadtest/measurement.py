"""A load on one form of a service: what it cost, what the service counted meanwhile, and the service that is asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from scipy.stats import kendalltau

from loadtest.machine import BackgroundLoad, Cores
from loadtest.openloop import Load, LoadResult, quantile, run_load
from loadtest.service import ServiceError, ServiceProcess, serve
from loadtest.workload import RequestSet, Workload

BLOCKS = 20  # of consecutive time: requests in one queue are not independent, blocks longer than a queue nearly are
KEPT_UP = 0.97  # of the offered rate
SETTLE_SECONDS = 2.5  # the workers that are not scraped themselves write what they counted once a second


@dataclass(frozen=True)
class Limit:
    """`percentile` (a share, 0.99) of requests within `seconds`."""

    percentile: float
    seconds: float

    @property
    def generator_seconds(self) -> float:
        """What the generator may be late at its own p99 before its run is thrown away."""
        return max(1e-3, self.seconds / 10)


ANY = Limit(0.99, 10.0)  # where there is no objective


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


# What the service counts

Totals = Counter[str]  # by sample name; 0 for one that is not there


def samples(text: str) -> Iterator[Sample]:
    """Every sample of a text exposition."""
    for family in text_string_to_metric_families(text):
        yield from family.samples


def sum_samples(service: ServiceProcess, wanted: Callable[[Mapping[str, str]], bool]) -> Totals:
    """Each sample's sum over the labels that are wanted. ServiceError"""
    totals: Totals = Counter()
    for sample in samples(service.request("/metrics")[1].decode()):
        if wanted(sample.labels):
            totals[sample.name] += sample.value  # type: ignore[assignment] # Counter adds floats as well
    return totals


def scrape(service: ServiceProcess, model: str, form: str) -> Totals:
    """Of one form: all interfaces, versions and reasons together. ServiceError"""
    return sum_samples(service, lambda labels: (labels.get("model"), labels.get("form")) == (model, form))


def since(before: Totals, service: ServiceProcess, model: str, form: str, answered: int) -> Totals:
    """What was counted since, once the count has reached the answers that the generator saw."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        totals = scrape(service, model, form)
        totals.subtract(before)
        if totals["ekiben_request_seconds_count"] >= answered or time.monotonic() > deadline:
            return totals
        time.sleep(0.1)


def mean(totals: Totals, histogram: str) -> float:
    """Of one observation; 0 where there was none."""
    count = totals[f"ekiben_{histogram}_count"]
    return totals[f"ekiben_{histogram}_sum"] / count if count else 0.0


def figures(
    load: Load, limit: Limit, result: LoadResult, totals: Totals, cpu: float, memory: int, background: float = 0.0
) -> Run:
    """A load's result and what the service counted as one Run.

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
        batch_rows=mean(totals, "batch_rows"),
        batches=totals["ekiben_batch_rows_count"] / result.elapsed,
        queue=1e3 * mean(totals, "queue_seconds"),
        infer=1e3 * mean(totals, "infer_seconds"),
        request=1e3 * mean(totals, "request_seconds"),
        engine_cores=totals["ekiben_infer_seconds_sum"] / result.elapsed,
        cpu_cores=cpu / result.elapsed,
        cpu_us=1e6 * cpu / max(1, result.statuses.total()),
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


# Who is asked


@dataclass
class Target:
    """A form of a running service, and what it is asked."""

    service: ServiceProcess
    model: str
    form: str
    workload: RequestSet
    cores: Cores

    def send(self, load: Load, check: bool = True) -> LoadResult:
        """What came of a load, its answers held against the expected ones. ServiceError"""
        expected = self.workload.expected if check else []
        return run_load(self.service.port, load, self.workload.requests, expected, self.cores.generator)

    def capacity(self, loads: int = 3) -> float:
        """Requests a second that 32 connections get which ask once they are answered; the median. ServiceError"""
        closed = [Load(0, 32, seconds=3, seed=seed) for seed in range(loads)]
        return sorted(self.send(load).achieved for load in closed)[loads // 2]

    def run(self, load: Load, limit: Limit = ANY) -> Run:
        """One load on it, with what it cost. ServiceError"""
        before = scrape(self.service, self.model, self.form)
        background, spent = BackgroundLoad(), self.service.cpu_seconds()
        result = self.send(load)
        spent = self.service.cpu_seconds() - spent
        cores = background.cores(spent)
        totals = since(before, self.service, self.model, self.form, result.statuses[200])
        return figures(load, limit, result, totals, spent, self.service.memory_bytes(), cores)

    def run_closed(self, connections: int, seconds: float, warmup: float = 0.5) -> Run:
        """One closed loop. ServiceError also if it counts for nothing"""
        run = self.run(Load(0.0, connections, seconds, warmup))
        if run.rejected:
            raise ServiceError(f"{self.model}-{self.form}: {run.rejected}")
        return run


class ServicePool(ExitStack):
    """The one service that runs at a time: `target` gives a form under these settings, and another setting ends it.

    rows, binary: of the V2 requests that a target is asked.
    """

    def __init__(self, model: str, log: Path, rows: int = 1, binary: bool = False, cores: Cores | None = None) -> None:
        super().__init__()
        self.workload, self.cores = Workload(model, binary, rows), cores or Cores.split()
        self._log = log
        self._settings: Mapping[str, str] | None = None
        self._targets: dict[str, Target] = {}

    def service(self, settings: Mapping[str, str]) -> ServiceProcess:
        """The service of this model with these EKIBEN_ variables, ready. ServiceError if it does not start"""
        if self._settings != settings:
            self.close()
            variables = {"EKIBEN_MODELS": self.workload.model, **settings}
            self._service = self.enter_context(serve(".", variables, self._log, self.cores.pin).wait_ready())
            self._settings = dict(settings)
        return self._service

    def target(self, settings: Mapping[str, str], form: str) -> Target:
        """One form of that service. ServiceError"""
        service = self.service(settings)
        if form not in self._targets:
            model = self.workload.model
            requests = self.workload.requests(service, f"{model}-{form}")
            self._targets[form] = Target(service, model, form, requests, self.cores)
        return self._targets[form]

    def close(self) -> None:
        """Ends the service that runs."""
        self._settings, self._targets = None, {}
        super().close()
