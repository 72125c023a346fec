"""One measurement: a load on one form of the service, with what it cost and what the service said of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadtest.openloop.loads import Load, Shot
from loadtest.openloop.shooting import shoot
from loadtest.others import Others
from loadtest.service.cores import Cores
from loadtest.service.process import Service
from loadtest.service.questions import Questions
from loadtest.service.stages import Stages, scrape, since

BLOCKS = 10  # of consecutive time, to see how slow requests keep together


@dataclass(frozen=True)
class Run:
    """The figures of one shot; times in ms. An unanswered request is inf ms late, which JSON writes as Infinity.

    rate: offered, requests a second, 0 in a closed loop. slow: requests over the limit or not answered, of `count`.
    effect: the design effect, by which slow ones keep together. queue, request: per request; infer: per batch.
    cpu_cores: used by the service; other_cores: by programs that are neither service nor generator.
    rejected: why this run counts for nothing; empty if it counts.
    """

    rate: float
    achieved: float
    seconds: float
    count: int
    slow: int
    effect: float
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
    other_cores: float
    failed: int = 0
    rejected: str = ""


@dataclass(frozen=True)
class Limit:
    """`percentile` (a share, 0.99) of requests within `seconds`."""

    percentile: float
    seconds: float

    @property
    def latest(self) -> float:
        """Seconds that the generator may be late at its own p99 before its run is thrown away."""
        return max(1e-3, self.seconds / 10)


@dataclass
class Target:
    """A form of a running service, and what it is asked."""

    service: Service
    model: str
    form: str
    questions: Questions
    cores: Cores

    def run(self, load: Load, limit: Limit) -> Run:
        before = scrape(self.service, self.model, self.form)
        others, spent = Others(), self.service.cpu_seconds()
        shot = shoot(load, self.questions.requests, self.questions.right, self.cores.generator)
        spent = self.service.cpu_seconds() - spent
        taken = others.cores(spent)
        stages = since(before, self.service, self.model, self.form, shot.statuses.get("200", 0))
        return figures(load, limit, shot, stages, spent, self.service.memory_bytes(), taken)


def figures(load: Load, limit: Limit, shot: Shot, stages: Stages, cpu: float, memory: int, others: float = 0.0) -> Run:
    """A shot and the service's own figures as one Run. cpu: seconds of the service; memory: bytes; others: cores."""
    slow = ~(shot.latency <= limit.seconds)
    finite = shot.latency[np.isfinite(shot.latency)]
    return Run(
        rate=load.rate,
        achieved=shot.achieved,
        seconds=shot.seconds,
        count=len(shot.latency),
        slow=int(slow.sum()),
        effect=design_effect(shot.due, slow, shot.seconds),
        p50=1e3 * shot.quantile(0.5),
        p95=1e3 * shot.quantile(0.95),
        p99=1e3 * shot.quantile(0.99),
        mean=1e3 * float(finite.mean()) if len(finite) else float("inf"),
        at_percentile=1e3 * shot.quantile(limit.percentile),
        late_p99=_late(shot),
        batch_rows=stages.rows,
        batches=stages.batches / shot.elapsed,
        queue=1e3 * stages.mean("queue"),
        infer=1e3 * stages.mean("infer"),
        request=1e3 * stages.mean("request"),
        engine_cores=stages.infer_seconds / shot.elapsed,
        cpu_cores=cpu / shot.elapsed,
        cpu_us=1e6 * cpu / max(1, sum(shot.statuses.values())),
        memory_mb=memory / 2**20,
        other_cores=others,
        failed=len(shot.latency) - shot.answered,
        rejected=_rejected(shot, limit, load.rate),
    )


def design_effect(due: np.ndarray, slow: np.ndarray, seconds: float) -> float:
    """How many times more the share of slow requests varies than if each were slow for itself; at least 1.

    In a queue slow requests come together, so that n of them say less than n: the variance over blocks of time against
    the binomial's (L. Kish, Survey Sampling, 1965, on clusters).
    """
    share = float(slow.mean()) if len(slow) else 0.0
    if not 0 < share < 1:
        return 1.0
    places = np.minimum((due / seconds * BLOCKS).astype(int), BLOCKS - 1)
    sizes = np.bincount(places, minlength=BLOCKS)
    shares = np.bincount(places, weights=slow, minlength=BLOCKS)[sizes > 0] / sizes[sizes > 0]
    if len(shares) < 2:
        return 1.0
    return max(1.0, float(shares.var(ddof=1) * sizes.mean() / (share * (1 - share))))


def _late(shot: Shot) -> float:
    return 1e3 * float(np.quantile(shot.late, 0.99, method="inverted_cdf")) if len(shot.late) else 0.0


def _rejected(shot: Shot, limit: Limit, rate: float) -> str:
    if shot.wrong:
        return f"{shot.wrong} of {shot.checked} checked answers are wrong: {shot.first_wrong}"
    if rate and (late := _late(shot)) > 1e3 * limit.latest:
        return f"the generator was late: p99 of {late:.1f} ms, {1e3 * limit.latest:g} ms is allowed"
    return ""
